//! Signing out: by the button, and by identity over the back channel.

use domain::{TimeDelta, UserId};
use serde_json::json;

use crate::{
    browser::Form,
    outside::Change,
    world::{ORIGIN, World},
};

async fn back_channel(world: &World, token: &str) -> u16 {
    let form = Form::from([("logout_token".to_owned(), token.to_owned())]);
    world.browser().post_from("/portal/backchannel-logout", &form, &[]).await.status
}

#[tokio::test]
async fn one_button_ends_the_session_here_and_leads_to_identity() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let stolen = browser.cookies.clone();
    let page = browser.get("/my").await;
    let out = browser.submit(&page, "/portal/logout", &[]).await;
    assert_eq!(out.status, 303);
    let url: url::Url = out.location().parse().unwrap();
    assert_eq!(url.path(), "/logout");
    let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query["post_logout_redirect_uri"], format!("{ORIGIN}/portal/"));
    assert_eq!(query["client_id"], "portal");
    assert_eq!(query["id_token_hint"].split('.').count(), 3);
    assert_eq!((browser.session(), world.sessions().await), (None, 0));
    let mut thief = world.browser();
    thief.cookies = stolen;
    assert_eq!(thief.get("/my").await.status, 303, "the cookie is worth nothing any more");
    assert_eq!(thief.get("/portal/logout").await.status, 405, "a link signs nobody out");
    let again = thief.submit(&page, "/portal/logout", &[]).await;
    assert_eq!((again.status, again.location()), (303, "/portal/"));
    world.app.stop().await;
}

#[tokio::test]
async fn identity_ends_a_session_and_no_other() {
    let world = World::start().await;
    let mut first = world.alice().await;
    world.outside.user(world.alice, "session-2");
    let mut second = world.browser();
    second.sign_in("/my").await;
    let token = world.outside.logout_token(world.alice, "session-1", |_| {});
    assert_eq!(back_channel(&world, &token).await, 200);
    assert_eq!((first.get("/my").await.status, second.get("/my").await.status), (303, 200));
    assert_eq!(back_channel(&world, &token).await, 200, "a token that comes again is taken");
    assert_eq!(second.get("/my").await.status, 200, "and ends nothing more");
    world.app.stop().await;
}

#[tokio::test]
async fn without_a_session_id_every_session_from_before_ends() {
    let world = World::start().await;
    let mut before = world.alice().await;
    let bob = UserId::new();
    world.outside.user(bob, "session-3");
    let mut other = world.browser();
    other.sign_in("/my").await;
    let without: Change = |claims| {
        claims.others.remove("sid");
    };
    let token = world.outside.logout_token(world.alice, "", without);
    world.app.clock.advance(TimeDelta::seconds(5));
    world.outside.user(world.alice, "session-4");
    let mut after = world.browser();
    after.sign_in("/my").await;
    for _ in 0..2 {
        assert_eq!(back_channel(&world, &token).await, 200);
        assert_eq!(before.get("/my").await.status, 303);
        assert_eq!(after.get("/my").await.status, 200, "a replay ends no session that began later");
        assert_eq!(other.get("/my").await.status, 200);
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_logout_token_that_does_not_hold_ends_nothing() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let changes: [(&str, Change); 10] = [
        ("another audience", |claims| claims.audiences = vec!["shop".to_owned()]),
        ("another issuer", |claims| claims.issuer = "https://evil.example".to_owned()),
        ("no events", |claims| {
            claims.others.remove("events");
        }),
        ("other events", |claims| {
            claims.others.insert("events".to_owned(), json!({ "http://schemas.openid.net/event/other": {} }));
        }),
        ("an event that is no object", |claims| {
            claims.others.insert(
                "events".to_owned(),
                json!({ "http://schemas.openid.net/event/backchannel-logout": true }),
            );
        }),
        ("a nonce", |claims| {
            claims.others.insert("nonce".to_owned(), "x".into());
        }),
        ("neither user nor session", |claims| {
            claims.subject = "nobody".to_owned();
            claims.others.remove("sid");
        }),
        ("expired", |claims| {
            claims.issued_at -= TimeDelta::seconds(200);
            claims.expires_at = claims.issued_at + TimeDelta::seconds(120);
        }),
        ("from the future", |claims| claims.issued_at += TimeDelta::seconds(61)),
        ("an access token", |claims| claims.typ = "at+jwt".to_owned()),
    ];
    for (name, change) in changes {
        let token = world.outside.logout_token(world.alice, "session-1", change);
        assert_eq!(back_channel(&world, &token).await, 400, "{name}");
    }
    let right = world.outside.logout_token(world.alice, "session-1", |_| {});
    let (head, rest) = right.split_once('.').unwrap();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", rest.split('.').next().unwrap());
    for garbage in
        [format!("{right}x"), format!("{head}.{rest}.x"), unsigned, String::new(), "'; --".to_owned()]
    {
        assert_eq!(back_channel(&world, &garbage).await, 400, "{garbage}");
    }
    let twice = Form::from([("logout_token".to_owned(), right.clone()), ("logout_token".to_owned(), right)]);
    assert_eq!(world.browser().post_from("/portal/backchannel-logout", &twice, &[]).await.status, 400);
    let huge = Form::from([("logout_token".to_owned(), "x".repeat(70_000))]);
    assert_eq!(world.browser().post_from("/portal/backchannel-logout", &huge, &[]).await.status, 400);
    assert_eq!(browser.get("/my").await.status, 200);
    world.app.stop().await;
}
