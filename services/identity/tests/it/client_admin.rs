//! Clients and signing keys as administrators see them.

use domain::TimeDelta;
use proto::identity::v1::{
    Client, CreateClientRequest, DeleteClientRequest, GetClientRequest, Key, ListClientsRequest,
    ListKeysRequest, PromoteKeyRequest, RetireKeyRequest, RotateClientSecretRequest, StageKeyRequest,
    UpdateClientRequest, client_service_client::ClientServiceClient, key_service_client::KeyServiceClient,
};
use reqwest::StatusCode;
use tonic::Code;

use crate::world::{ALICE, World};

fn kiosk() -> Client {
    Client {
        client_id: "kiosk".to_owned(),
        name: "Kiosk".to_owned(),
        kind: "partner".to_owned(),
        token_endpoint_auth_method: "client_secret_basic".to_owned(),
        grant_types: vec!["client_credentials".to_owned()],
        scopes: vec!["openid".to_owned()],
        ..Client::default()
    }
}

async fn token(world: &World, secret: &str) -> StatusCode {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let basic = format!("Basic {}", STANDARD.encode(format!("kiosk:{secret}")));
    world.post("/oauth2/token", Some(&basic), &[("grant_type", "client_credentials")]).await.status
}

fn id() -> String {
    domain::new_id().to_string()
}

#[tokio::test]
async fn a_client_is_created_once_changed_with_its_version_and_deleted() {
    let world = World::start().await;
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let request = CreateClientRequest { request_id: id(), client: Some(kiosk()) };
    let created = clients.create_client(request.clone()).await.unwrap().into_inner();
    let again = clients.create_client(request).await.unwrap().into_inner();
    assert_eq!(created, again, "the same request gives the same secret");
    assert_eq!(token(&world, &created.client_secret).await, StatusCode::OK);
    let other = CreateClientRequest { request_id: id(), client: Some(kiosk()) };
    assert_eq!(clients.create_client(other).await.unwrap_err().code(), Code::AlreadyExists);

    let listed = clients.list_clients(ListClientsRequest::default()).await.unwrap().into_inner();
    let ids: Vec<&str> = listed.clients.iter().map(|client| client.client_id.as_str()).collect();
    assert!(ids.contains(&"kiosk") && ids.is_sorted(), "{ids:?}");
    let page = ListClientsRequest { page_size: 4, page_token: ids[0].to_owned() };
    let page = clients.list_clients(page).await.unwrap().into_inner();
    assert_eq!((page.clients.as_slice(), page.next_page_token.as_str()), (&listed.clients[1..5], ids[4]));

    let mut changed = created.client.clone().unwrap();
    changed.name = "Kiosk at the gate".to_owned();
    changed.id_token_signed_response_alg = "PS256".to_owned();
    let stale = UpdateClientRequest { client: Some(changed.clone()), expected_version: 7 };
    assert_eq!(clients.update_client(stale).await.unwrap_err().code(), Code::FailedPrecondition);
    let update = UpdateClientRequest { client: Some(changed), expected_version: 1 };
    let updated = clients.update_client(update).await.unwrap().into_inner().client.unwrap();
    assert_eq!((updated.version, updated.name.as_str()), (2, "Kiosk at the gate"));
    assert_eq!(token(&world, &created.client_secret).await, StatusCode::OK, "the secret stays");

    let rotate =
        RotateClientSecretRequest { client_id: "kiosk".to_owned(), request_id: id(), expected_version: 2 };
    let rotated = clients.rotate_client_secret(rotate.clone()).await.unwrap().into_inner();
    assert_eq!(clients.rotate_client_secret(rotate).await.unwrap().into_inner(), rotated);
    assert_eq!(token(&world, &created.client_secret).await, StatusCode::UNAUTHORIZED);
    assert_eq!(token(&world, &rotated.client_secret).await, StatusCode::OK);
    let public =
        RotateClientSecretRequest { client_id: "portal".to_owned(), request_id: id(), expected_version: 0 };
    assert_eq!(clients.rotate_client_secret(public).await.unwrap_err().code(), Code::FailedPrecondition);

    let delete = DeleteClientRequest { client_id: "kiosk".to_owned(), expected_version: 3 };
    clients.delete_client(delete.clone()).await.unwrap();
    assert_eq!(clients.delete_client(delete).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(token(&world, &rotated.client_secret).await, StatusCode::UNAUTHORIZED);
    let get = GetClientRequest { client_id: "kiosk".to_owned() };
    assert_eq!(clients.get_client(get).await.unwrap_err().code(), Code::NotFound);
    // No secret stands in the audit.
    let audited: Vec<(String, String)> = sqlx::query_as(
        "select action, detail::text from identity.audit_record where subject = 'kiosk' order by audit_id",
    )
    .fetch_all(&world.app.pool)
    .await
    .unwrap();
    let actions: Vec<&str> = audited.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["create_client", "update_client", "rotate_client_secret", "delete_client"]);
    assert!(audited.iter().all(|(_, detail)| !detail.contains(&rotated.client_secret)));
}

#[tokio::test]
async fn what_a_caller_does_not_know_of_a_client_stays() {
    let world = World::start().await;
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let strict = Client {
        profile: Some("oauth".to_owned()),
        require_pushed_authorization_requests: Some(true),
        dpop_bound_access_tokens: Some(true),
        access_token_format: Some("reference".to_owned()),
        access_token_seconds: Some(60),
        refresh_grace_seconds: Some(0),
        ..kiosk()
    };
    let create = CreateClientRequest { request_id: id(), client: Some(strict) };
    let created = clients.create_client(create).await.unwrap().into_inner();
    // As a caller of before would change its name.
    let update = UpdateClientRequest {
        client: Some(Client { name: "Another".to_owned(), ..kiosk() }),
        expected_version: 0,
    };
    let updated = clients.update_client(update).await.unwrap().into_inner().client.unwrap();
    let mut expected = created.client.unwrap();
    expected.name = "Another".to_owned();
    expected.version = 2;
    expected.updated_at = updated.updated_at;
    assert_eq!(updated, expected);
    assert_eq!(token(&world, &created.client_secret).await, StatusCode::BAD_REQUEST, "without a proof");

    let back = Client {
        dpop_bound_access_tokens: Some(false),
        access_token_seconds: Some(0),
        jwks_uri: Some(String::new()),
        ..updated
    };
    let update = UpdateClientRequest { client: Some(back), expected_version: 2 };
    let relaxed = clients.update_client(update).await.unwrap().into_inner().client.unwrap();
    assert_eq!((relaxed.dpop_bound_access_tokens, relaxed.access_token_seconds), (Some(false), Some(0)));
    assert_eq!(relaxed.access_token_format.as_deref(), Some("reference"));
    assert_eq!(token(&world, &created.client_secret).await, StatusCode::OK);
    let fapi2 = UpdateClientRequest {
        client: Some(Client { profile: Some("fapi2".to_owned()), ..relaxed }),
        expected_version: 0,
    };
    let refused = clients.update_client(fapi2).await.unwrap_err();
    let named = chassis::fields_of(&refused).remove(0).field;
    assert_eq!(named, "client.token_endpoint_auth_method", "it has no key");
}

#[tokio::test]
async fn a_deleted_client_has_nothing_of_its_users_any_more() {
    let world = World::start().await;
    let (mut browser, _) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let tokens = world.redeem("shop", &code).await;
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let delete = DeleteClientRequest { client_id: "shop".to_owned(), expected_version: 0 };
    clients.delete_client(delete).await.unwrap();
    assert_eq!(world.refresh("shop", tokens.text("refresh_token")).await.status, StatusCode::UNAUTHORIZED);
    let userinfo = world.userinfo(tokens.text("access_token")).await;
    assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED, "{}", userinfo.body);
    let left: i64 = sqlx::query_scalar(
        "select count(*) from identity.token_family where client_id = 'shop' and revoked_at is null",
    )
    .fetch_one(&world.app.pool)
    .await
    .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_client_that_breaks_a_rule_is_told_the_field() {
    let world = World::start().await;
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    for (change, field) in [
        ((|client| client.kind = "ours".to_owned()) as fn(&mut Client), "client.kind"),
        (|client| client.client_id = "'; --".to_owned(), "client.client_id"),
        (|client| client.grant_types = vec!["password".to_owned()], "client.grant_types"),
        (|client| client.redirect_uris = vec!["javascript:alert(1)".to_owned()], "client.redirect_uris"),
        (|client| client.jwks = "{".to_owned(), "client.jwks"),
        (|client| client.jwks = r#"{"keys": [{"kty": "oct", "k": "AAAA"}]}"#.to_owned(), "client.jwks"),
        (
            |client| client.backchannel_logout_uri = "ftp://kiosk.example/bye".to_owned(),
            "client.backchannel_logout_uri",
        ),
        (
            |client| client.id_token_signed_response_alg = "none".to_owned(),
            "client.id_token_signed_response_alg",
        ),
        (|client| client.token_endpoint_auth_method = String::new(), "client.token_endpoint_auth_method"),
    ] {
        let mut client = kiosk();
        change(&mut client);
        let request = CreateClientRequest { request_id: id(), client: Some(client) };
        let refused = clients.create_client(request).await.unwrap_err();
        let named: Vec<_> =
            chassis::fields_of(&refused).into_iter().map(|violation| violation.field).collect();
        assert_eq!(
            (refused.code(), named.as_slice()),
            (Code::InvalidArgument, [field.to_owned()].as_slice())
        );
    }
}

async fn keys(world: &World) -> Vec<Key> {
    let mut keys = KeyServiceClient::new(world.app.grpc(&["identity.admin"]));
    keys.list_keys(ListKeysRequest {}).await.unwrap().into_inner().keys
}

#[tokio::test]
async fn a_key_that_leaked_is_replaced_by_hand() {
    let world = World::start().await;
    let mut service = KeyServiceClient::new(world.app.grpc(&["identity.admin"]));
    let leaked = keys(&world).await.remove(0);
    assert_eq!((leaked.state.as_str(), leaked.kek_id.as_str()), ("active", "k1"));
    let stage = StageKeyRequest { alg: "ES256".to_owned() };
    let staged = service.stage_key(stage.clone()).await.unwrap().into_inner().key.unwrap();
    assert_eq!(service.stage_key(stage).await.unwrap().into_inner().key.unwrap(), staged);
    let promote = |at_once| PromoteKeyRequest { kid: staged.kid.clone(), at_once };
    assert_eq!(service.promote_key(promote(false)).await.unwrap_err().code(), Code::FailedPrecondition);
    let retire = |key: &Key| RetireKeyRequest { kid: key.kid.clone() };
    assert_eq!(service.retire_key(retire(&leaked)).await.unwrap_err().code(), Code::FailedPrecondition);
    for _ in 0..2 {
        let active = service.promote_key(promote(true)).await.unwrap().into_inner().key.unwrap();
        assert_eq!((active.kid.as_str(), active.state.as_str()), (staged.kid.as_str(), "active"));
    }
    service.retire_key(retire(&leaked)).await.unwrap();
    assert_eq!(service.retire_key(retire(&leaked)).await.unwrap_err().code(), Code::NotFound);
    let published = world.get("/oauth2/keys.json", &[]).await.body;
    assert_eq!(published["keys"].as_array().unwrap().len(), 1);
    assert_eq!(published["keys"][0]["kid"], staged.kid.as_str());
    let (_, tokens) = world.tokens(ALICE).await;
    world.read(tokens.text("id_token"), "JWT", "portal").await;
    for wrong in ["", "x", &"'".repeat(43)] {
        let refused = service.retire_key(RetireKeyRequest { kid: wrong.to_owned() }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let refused = service.stage_key(StageKeyRequest { alg: "none".to_owned() }).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    // A day after it is staged a key may sign without haste.
    let next = service
        .stage_key(StageKeyRequest { alg: "ES256".to_owned() })
        .await
        .unwrap()
        .into_inner()
        .key
        .unwrap();
    world.advance(TimeDelta::hours(24));
    let mut service = KeyServiceClient::new(world.app.grpc(&["identity.admin"]));
    service.promote_key(PromoteKeyRequest { kid: next.kid, at_once: false }).await.unwrap();
}

#[tokio::test]
async fn a_start_brings_the_files_clients_up_to_date_and_leaves_the_others_alone() {
    let world = World::start().await;
    let mut file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(world.bootstrap_file()).unwrap()).unwrap();
    let listed = file["clients"].as_array_mut().unwrap();
    listed.retain(|client| client["client_id"] != "forum");
    let shop = listed.iter_mut().find(|client| client["client_id"] == "shop").unwrap();
    shop["name"] = "Another shop".into();
    std::fs::write(world.bootstrap_file(), file.to_string()).unwrap();
    let world = world.killed_and_restarted().await;
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    for (client_id, name) in [("shop", "Another shop"), ("forum", "Forum")] {
        let found = clients.get_client(GetClientRequest { client_id: client_id.to_owned() }).await.unwrap();
        assert_eq!(found.into_inner().client.unwrap().name, name, "{client_id}");
    }
}
