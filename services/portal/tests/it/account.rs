//! The account page: what is sent reaches profile, what is wrong comes back with the rest, and no field becomes markup.

use proto::profile::v1::{StringSet, trait_value::Kind};

use crate::{
    browser::{Form, filled},
    world::World,
};

const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(1)> {{ 7 * 7 }} '; drop table";
const TEXTS: [&str; 9] = [
    "given_name",
    "family_name",
    "given_name_kana",
    "family_name_kana",
    "country",
    "postal_code",
    "address_1",
    "address_2",
    "phone",
];

#[tokio::test]
async fn what_the_form_says_reaches_profile() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let page = browser.get("/account").await;
    assert_eq!(page.texts("select[name=prefecture] option").len(), 48);
    assert!(page.texts("dd").contains(&"alice@example.org".to_owned()));
    let saved = browser
        .submit(
            &page,
            "/account",
            &[
                ("prefecture", &["JP-13"]),
                ("birth_date", &["1990-02-28"]),
                ("locale", &["ja"]),
                ("phone", &["+81 (3) 1234-5678"]),
                ("favourite_olympic_sports", &["ATH", "JUD"]),
            ],
        )
        .await;
    assert_eq!((saved.status, saved.location()), (303, "/account?saved=1"));
    {
        let held = world.peers.held();
        assert_eq!(held.traits["prefecture"], Kind::Text("JP-13".to_owned()));
        assert_eq!(held.traits["birth_date"], Kind::Date("1990-02-28".to_owned()));
        assert_eq!(held.traits["phone"], Kind::Text("+81312345678".to_owned()));
        let sports = StringSet { values: vec!["ATH".to_owned(), "JUD".to_owned()] };
        assert_eq!(held.traits["favourite_olympic_sports"], Kind::Set(sports));
        assert_eq!(held.locale, "ja");
        assert_eq!(held.updates[0].traits.len(), 4, "what was left empty is not sent");
    }
    let page = browser.get("/account?saved=1").await;
    assert_eq!(page.attributes("html", "lang"), ["ja"], "pages follow the language that was saved");
    assert!(page.texts(".done")[0].contains("保存しました"));
    let kept = page.form("/account");
    assert!(kept.contains(&("prefecture".to_owned(), "JP-13".to_owned())));
    assert!(kept.contains(&("favourite_olympic_sports".to_owned(), "JUD".to_owned())));
    let cleared =
        browser.submit(&page, "/account", &[("prefecture", &[""]), ("favourite_olympic_sports", &[])]).await;
    assert_eq!(cleared.status, 303);
    assert!(!world.peers.held().traits.contains_key("prefecture"));
    world.app.stop().await;
}

#[tokio::test]
async fn what_is_wrong_comes_back_with_everything_that_was_typed() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let page = browser.get("/account").await;
    let changes: [(&str, &[&str]); 4] = [
        ("birth_date", &["1990-02-30"]),
        ("phone", &["0312345678"]),
        ("address_1", &["Ginza 1-2-3"]),
        ("favourite_olympic_sports", &["ATH", "judo"]),
    ];
    let refused = browser.submit(&page, "/account", &changes).await;
    assert_eq!(refused.status, 422);
    assert!(refused.texts("title")[0].starts_with("Error"));
    let mut links = refused.attributes(".errors a", "href");
    links.sort_unstable();
    assert_eq!(links, ["#birth_date", "#favourite_olympic_sports", "#phone"]);
    for link in links {
        assert_eq!(refused.texts(&link).len(), 1, "{link} is on the page");
    }
    for field in ["birth_date", "phone"] {
        assert_eq!(refused.attributes(&format!("#{field}"), "aria-invalid"), ["true"]);
        let described = refused.attributes(&format!("#{field}"), "aria-describedby")[0].clone();
        assert!(described.contains(&format!("{field}-error")), "{described}");
        assert_eq!(refused.texts(&format!("#{field}-error")).len(), 1);
    }
    let kept = refused.form("/account");
    for (name, value) in [("birth_date", "1990-02-30"), ("phone", "0312345678"), ("address_1", "Ginza 1-2-3")]
    {
        assert!(kept.contains(&(name.to_owned(), value.to_owned())), "{name}");
    }
    assert!(kept.contains(&("favourite_olympic_sports".to_owned(), "ATH".to_owned())));
    assert!(world.peers.held().traits.is_empty(), "nothing is half-written");
    let wrong_language = browser.submit(&page, "/account", &[("locale", &["<script>"])]).await;
    assert_eq!(
        (wrong_language.status, wrong_language.attributes(".errors a", "href")),
        (422, vec!["#locale".to_owned()])
    );
    world.app.stop().await;
}

#[tokio::test]
async fn no_field_becomes_markup() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    for field in TEXTS {
        let page = browser.get("/account").await;
        let long = HOSTILE.repeat(2);
        let refused = browser.submit(&page, "/account", &[(field, &[&long])]).await;
        assert_eq!(refused.status, 422, "{field}");
        assert_clean(&refused.body);
        // As profile would hold it, had it come by another way.
        world.peers.held().traits.insert(field.to_owned(), Kind::Text(HOSTILE.to_owned()));
        let page = browser.get("/account").await;
        assert_clean(&page.body);
        assert!(page.form("/account").contains(&(field.to_owned(), HOSTILE.to_owned())), "{field}");
        assert_clean(&browser.get("/my").await.body);
        world.peers.held().traits.clear();
    }
    for (field, value) in
        [("prefecture", HOSTILE), ("birth_date", HOSTILE), ("favourite_paralympic_sports", HOSTILE)]
    {
        let page = browser.get("/account").await;
        let refused = browser.submit(&page, "/account", &[(field, &[value])]).await;
        assert_eq!(refused.status, 422, "{field}");
        assert_clean(&refused.body);
    }
    {
        let mut held = world.peers.held();
        held.email = HOSTILE.to_owned();
        let codes = StringSet { values: vec![HOSTILE.to_owned()] };
        held.traits.insert("favourite_olympic_sports".to_owned(), Kind::Set(codes));
    }
    for path in
        ["/account", "/my", "/my/favourites", "/my/results", "/%3Cscript%3E", "/my/results/%3Cscript%3E"]
    {
        assert_clean(&browser.get(path).await.body);
    }
    world.app.stop().await;
}

fn assert_clean(html: &str) {
    assert!(!html.contains("<script>alert") && !html.contains("<img"), "{html}");
    assert!(!html.contains("49 '; drop"), "{html}");
}

#[tokio::test]
async fn a_form_that_did_not_come_from_our_page_changes_nothing() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let form = browser.get("/account").await.form("/account");
    let foreign = Form::from([("csrf".to_owned(), "x".to_owned()), ("locale".to_owned(), "ja".to_owned())]);
    let mut other = world.alice().await;
    let stolen = other.get("/account").await.form("/account");
    let without = filled(form.clone(), &[("csrf", &[])]);
    for forged in [&foreign, &without, &stolen] {
        assert_eq!(browser.post("/account", forged).await.status, 403);
    }
    let headers: [&[(&str, &str)]; 4] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "https://my.example"), ("sec-fetch-site", "same-site")],
    ];
    for headers in headers {
        for path in ["/account", "/account/consents", "/account/sessions", "/my/favourites", "/portal/logout"]
        {
            assert_eq!(browser.post_from(path, &form, headers).await.status, 403, "{path} {headers:?}");
        }
    }
    assert_eq!(world.peers.held().updates.len(), 0);
    assert_eq!(world.sessions().await, 2);
    assert_eq!(
        browser.post_from("/account", &form, &[]).await.status,
        303,
        "an old browser says nothing of itself"
    );
    world.app.stop().await;
}

#[tokio::test]
async fn what_is_larger_than_any_form_is_refused() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let page = browser.get("/account").await;
    let huge = "x".repeat(70_000);
    for path in ["/account", "/account/consents", "/my/favourites", "/account/sessions", "/portal/logout"] {
        let form = filled(page.form("/account"), &[("given_name", &[&huge])]);
        let refused = browser.post(path, &form).await;
        assert_eq!(refused.status, 413, "{path}");
        assert!(refused.texts("h1")[0].contains("too large"));
    }
    let many: Vec<(String, String)> = (0..5_000).map(|at| (format!("a{at}"), String::new())).collect();
    assert_eq!(
        browser.post("/account", &many).await.status,
        403,
        "more fields than are read, and none of them ours"
    );
    let sports: Vec<&str> = std::iter::repeat_n("ATH", 250).collect();
    let refused = browser.submit(&page, "/account", &[("favourite_olympic_sports", &sports)]).await;
    assert_eq!(refused.status, 303, "profile has the rule; the form has room");
    assert_eq!(world.sessions().await, 1);
    world.app.stop().await;
}

#[tokio::test]
async fn a_new_fans_profile_is_waited_for() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    world.peers.held().unborn = 3;
    assert_eq!(browser.get("/account").await.status, 200);
    world.peers.held().unborn = usize::MAX;
    let late = browser.get("/account").await;
    assert_eq!((late.status, late.headers["retry-after"].to_str().unwrap()), (503, "2"));
    assert!(late.texts("h1")[0].contains("being prepared"));
    world.app.stop().await;
}

#[tokio::test]
async fn the_same_form_sent_twice_is_one_write() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    let page = browser.get("/account").await;
    for _ in 0..2 {
        browser.submit(&page, "/account", &[("prefecture", &["JP-13"])]).await;
    }
    browser.submit(&page, "/account", &[("prefecture", &["JP-27"])]).await;
    let next = browser.get("/account").await;
    browser.submit(&next, "/account", &[("prefecture", &["JP-13"])]).await;
    let ids: Vec<String> =
        world.peers.held().updates.iter().map(|update| update.request_id.clone()).collect();
    assert_eq!(ids[0], ids[1]);
    assert!(ids[1] != ids[2] && ids[2] != ids[3] && ids[0] != ids[3], "{ids:?}");
    world.app.stop().await;
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let world = World::start().await;
    let mut browser = world.alice().await;
    world.peers.held().sessions = ["session-1", "session-2"]
        .map(|id| proto::identity::v1::Session {
            session_id: id.to_owned(),
            authenticated_at: Some(prost_types::Timestamp { seconds: 1_912_078_200, nanos: 0 }),
            client_ids: vec!["portal".to_owned(), "second-rp".to_owned()],
            ..proto::identity::v1::Session::default()
        })
        .to_vec();
    let page = browser.get("/account/sessions").await;
    assert_eq!(page.texts("main h2"), ["Session 1 (this one)", "Session 2"]);
    assert!(page.body.contains("2030-08-04 21:50 JST") && page.body.contains("portal, second-rp"));
    let ended = browser.submit(&page, "/account/sessions", &[("session_id", &["session-2"])]).await;
    assert_eq!((ended.status, ended.location()), (303, "/account/sessions?ended=1"));
    assert_eq!(world.peers.held().sessions.len(), 1);
    let again = browser.submit(&page, "/account/sessions", &[("session_id", &["session-2"])]).await;
    assert_eq!(again.status, 303, "one that is gone has ended");
    world.app.stop().await;
}
