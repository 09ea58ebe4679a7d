//! Garbage, floods and tricks at the endpoints of the protocol: an answer of the right form each time, nothing written.

use reqwest::StatusCode;

use crate::world::{ALICE, World, basic};

const ENDPOINTS: [&str; 3] = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];

const SQL: &str = "'; drop table identity.user; --";

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let world = World::start().await;
    let many: String = (0..70).map(|n| format!("p{n}=1&")).collect();
    let broken: [&[u8]; 6] =
        [b"token=%00", b"token=%ff", b"\xff\xfe=1", b"a%00=1", many.as_bytes(), b"token=a&token=b"];
    for path in ENDPOINTS {
        for body in broken {
            let answer = world.post_raw(path, basic("shop").as_deref(), body.to_vec()).await;
            answer.refused_with(400, "invalid_request");
        }
        let json = world.app.http().post(world.app.http_url(path)).header("content-type", "application/json");
        let answer = crate::world::answer(json.body(r#"{"token":"x"}"#).send().await.unwrap()).await;
        answer.refused_with(400, "invalid_request");
        let untyped = world.app.http().post(world.app.http_url(path)).body("token=x").send().await.unwrap();
        crate::world::answer(untyped).await.refused_with(400, "invalid_request");
    }
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let world = World::start().await;
    for path in ENDPOINTS {
        let body = format!("token={}", "x".repeat(70_000)).into_bytes();
        let answer = world.post_raw(path, basic("shop").as_deref(), body).await;
        assert_eq!((answer.status, answer.text("error")), (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"));
    }
}

#[tokio::test]
async fn no_parameter_of_the_token_endpoint_may_come_twice() {
    let world = World::start().await;
    for name in
        ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "refresh_token", "scope", "x"]
    {
        let form = [("grant_type", "refresh_token"), (name, "a"), (name, "b")];
        world
            .post("/oauth2/token", basic("shop").as_deref(), &form)
            .await
            .refused_with(400, "invalid_request");
    }
}

#[tokio::test]
async fn any_text_in_any_parameter_gets_a_right_answer() {
    let world = World::start().await;
    let long = "x".repeat(60_000);
    let texts =
        [SQL, "\r\nSet-Cookie: a=b", "<script>alert(1)</script>", "..//..", "🏅", "{{ 7 * 7 }}", "%", &long];
    let names = [
        "grant_type",
        "code",
        "code_verifier",
        "redirect_uri",
        "refresh_token",
        "scope",
        "resource",
        "token",
    ];
    for text in texts {
        for name in names {
            for grant_type in ["authorization_code", "refresh_token"] {
                let mut form =
                    vec![("grant_type", grant_type), ("code", "x"), ("refresh_token", "x"), ("token", "x")];
                form.retain(|(own, _)| *own != name);
                form.push((name, text));
                let answer = world.post("/oauth2/token", basic("shop").as_deref(), &form).await;
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
                assert!(
                    !answer.text("error").is_empty() && !answer.body.to_string().contains(text),
                    "{name}"
                );
            }
        }
        for path in &ENDPOINTS[1..] {
            let answer = world.post(path, basic("shop").as_deref(), &[("token", text)]).await;
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn any_text_as_a_client_gets_a_right_answer() {
    let world = World::start().await;
    let long = "x".repeat(5_000);
    for text in [SQL, "\"", "🏅", "01890a5d-ac96-774b-bcce-b302099a8057", &long, "a b", "\r\nx: y"] {
        let form = [("grant_type", "client_credentials"), ("client_id", text), ("client_secret", text)];
        let answer = world.post("/oauth2/token", None, &form).await;
        // Their failures count together: in the end they wait.
        assert!(matches!(answer.status.as_u16(), 401 | 429), "{}", answer.status);
    }
    for header in ["Basic", "Basic =", "Basic %%%", "Digest x", "Bearer x", "Basic Og==", " "] {
        let answer = world.post("/oauth2/token", Some(header), &[("grant_type", "client_credentials")]).await;
        assert!(matches!(answer.status.as_u16(), 401 | 429), "{header}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_changed_handle_opens_nothing() {
    let world = World::start().await;
    let (_, tokens) = world.tokens(ALICE).await;
    let refresh_token = tokens.text("refresh_token");
    for at in [4, 20, 40, refresh_token.len() - 1] {
        let mut changed = refresh_token.as_bytes().to_vec();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        world.refresh("portal", &changed).await.refused_with(400, "invalid_grant");
    }
    for other in [
        refresh_token.replacen("krt_", "kac_", 1),
        format!("{refresh_token}A"),
        refresh_token[4..].to_owned(),
    ] {
        world.refresh("portal", &other).await.refused_with(400, "invalid_grant");
        world.redeem("portal", &other).await.refused_with(400, "invalid_grant");
    }
    assert_eq!(world.refresh("portal", refresh_token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_refused_is_not_written() {
    let world = World::start().await;
    let count = async || {
        let rows = "select (select count(*) from identity.authorization_code) + (select count(*) from identity.token_family)
                    + (select count(*) from identity.browser_session) + (select count(*) from identity.throttle)";
        sqlx::query_scalar::<_, i64>(rows).fetch_one(&world.app.pool).await.unwrap()
    };
    let before = count().await;
    for path in
        ["/.well-known/openid-configuration", "/oauth2/keys.json", "/oauth2/userinfo", "/oauth2/token"]
    {
        world.get(path, &[("authorization", "Bearer x"), ("origin", "https://evil.example")]).await;
    }
    let form = [("grant_type", "authorization_code"), ("code", "x"), ("client_id", "portal")];
    world.post("/oauth2/token", None, &form).await.refused_with(400, "invalid_grant");
    assert_eq!(count().await, before);
}
