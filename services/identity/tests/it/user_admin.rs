//! What staff do to users by gRPC, beside shutting them out.

use domain::{Service, UserId};
use prost::Message as _;
use proto::identity::v1::{
    BatchGetSubjectsRequest, ChangeEmailRequest, CreateUserRequest, DeleteCredentialRequest,
    EndUserSessionsRequest, EraseUserRequest, FindUserByEmailRequest, GetUserRequest, ListConsentsRequest,
    ListCredentialsRequest, ListSessionsRequest, ListUsersRequest, ResolveSubjectRequest,
    RevokeConsentRequest, User, UserErased, UserStatus, session_service_client::SessionServiceClient,
    user_service_client::UserServiceClient,
};
use reqwest::StatusCode;
use tonic::Code;

use crate::{
    clients::PORTAL_SCOPE,
    world::{ALICE, BOB, ProfileIs, World, authorize_url, param, profile_of},
};

type Users = UserServiceClient<chassis::Peer>;

fn staff(world: &World) -> Users {
    UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support", "identity.admin"]))
}

async fn user(world: &World, email: &str) -> User {
    let request = FindUserByEmailRequest { address: email.as_bytes().to_vec() };
    staff(world).find_user_by_email(request).await.unwrap().into_inner().user.unwrap()
}

fn fields(refused: &tonic::Status) -> Vec<String> {
    chassis::fields_of(refused).into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn users_are_listed_page_by_page_by_state_and_by_the_start_of_an_address() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    world.sign_up(BOB).await;
    let mut users = staff(&world);
    let list = |request: ListUsersRequest| {
        let mut users = users.clone();
        async move { users.list_users(request).await.unwrap().into_inner() }
    };
    let all = list(ListUsersRequest::default()).await;
    let mails = |users: &[User]| -> Vec<Vec<u8>> {
        users.iter().map(|user| user.email.clone().unwrap().address).collect()
    };
    assert_eq!(mails(&all.users), [ALICE.email.as_bytes(), BOB.email.as_bytes()]);
    assert!(all.next_page_token.is_empty());
    let one = ListUsersRequest { page_size: 1, ..ListUsersRequest::default() };
    let first = list(one.clone()).await;
    let second = list(ListUsersRequest { page_token: first.next_page_token, ..one.clone() }).await;
    let end = list(ListUsersRequest { page_token: second.next_page_token, ..one }).await;
    assert_eq!((&first.users[0], &second.users[0]), (&all.users[0], &all.users[1]));
    assert!(end.users.is_empty() && end.next_page_token.is_empty());
    let begins = ListUsersRequest { address_prefix: b"BOB@".to_vec(), ..ListUsersRequest::default() };
    assert_eq!(mails(&list(begins).await.users), [BOB.email.as_bytes()]);
    // What is a pattern elsewhere is a letter here.
    for none in ["bob%", "bo_", "zzz"] {
        let begins = ListUsersRequest { address_prefix: none.into(), ..ListUsersRequest::default() };
        assert!(list(begins).await.users.is_empty(), "{none}");
    }
    let disabled = ListUsersRequest { status: UserStatus::Disabled.into(), ..ListUsersRequest::default() };
    assert!(list(disabled).await.users.is_empty());
    let wrong = ListUsersRequest {
        page_token: "x".to_owned(),
        status: UserStatus::Erased.into(),
        address_prefix: b"al".to_vec(),
        ..ListUsersRequest::default()
    };
    let refused = users.list_users(wrong).await.unwrap_err();
    assert_eq!(fields(&refused), ["page_token", "status", "address_prefix"]);
}

#[tokio::test]
async fn a_user_is_created_once_and_gets_another_address() {
    let world = World::start().await;
    world.sign_up(BOB).await;
    let mut users = staff(&world);
    let request = CreateUserRequest {
        request_id: domain::new_id().to_string(),
        address: ALICE.email.into(),
        locale: "ja".to_owned(),
    };
    let first = users.create_user(request.clone()).await.unwrap().into_inner().user.unwrap();
    let again = users.create_user(request.clone()).await.unwrap().into_inner().user.unwrap();
    assert_eq!((&first, first.user_id.as_str()), (&again, request.request_id.as_str()));
    let other = CreateUserRequest { address: b"carol@example.org".to_vec(), ..request.clone() };
    assert_eq!(users.create_user(other).await.unwrap_err().code(), Code::FailedPrecondition);
    let taken = CreateUserRequest { request_id: domain::new_id().to_string(), ..request.clone() };
    assert_eq!(users.create_user(taken).await.unwrap_err().code(), Code::AlreadyExists);
    let wrong = CreateUserRequest {
        request_id: "7b0a5d2e-0000-4000-8000-000000000000".to_owned(),
        address: b"a..b@example.org".to_vec(),
        locale: "xx".to_owned(),
    };
    let refused = users.create_user(wrong).await.unwrap_err();
    assert_eq!(fields(&refused), ["request_id", "address", "locale"]);

    let change = |address: &str, expected_version| ChangeEmailRequest {
        user_id: first.user_id.clone(),
        expected_version,
        address: address.into(),
        reason: "moved".to_owned(),
    };
    let stale = users.change_email(change("carol@example.org", 7)).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    let taken = users.change_email(change(BOB.email, 1)).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    let changed = users.change_email(change("carol@example.org", 1)).await.unwrap().into_inner();
    assert_eq!(changed.user.clone().unwrap().version, 2);
    let again = users.change_email(change("carol@example.org", 0)).await.unwrap().into_inner();
    assert_eq!(again, changed, "the same address changes nothing");
    let gone = FindUserByEmailRequest { address: ALICE.email.into() };
    assert_eq!(users.find_user_by_email(gone).await.unwrap_err().code(), Code::NotFound);
    let facts: Vec<_> = testkit::records_in_outbox(&world.app.pool, Service::Identity)
        .await
        .into_iter()
        .filter(|row| row.topic == "kotinos.identity.user.v1" && row.key == first.user_id)
        .map(|row| (row.fact_type, row.version))
        .collect();
    assert_eq!(facts, [("UserRegistered".to_owned(), 1), ("UserEmailChanged".to_owned(), 2)]);
}

#[tokio::test]
async fn an_erased_user_leaves_the_id_and_a_receipt_and_is_out_everywhere() {
    let world = World::start().await;
    let (mut browser, tokens) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    world.redeem("shop", &code).await;
    let alice = user(&world, ALICE.email).await;
    let user_id: UserId = alice.user_id.parse().unwrap();
    let mut users = staff(&world);
    let request = EraseUserRequest {
        request_id: domain::new_id().to_string(),
        user_id: alice.user_id.clone(),
        expected_version: 0,
        reason: "asked for".to_owned(),
    };
    // Profile leads where it knows the user, and nothing happens while it does not answer.
    world.peers.set_profile(user_id, profile_of("Alice", "Tanaka", "1990-02-28", "ja"));
    assert_eq!(users.erase_user(request.clone()).await.unwrap_err().code(), Code::FailedPrecondition);
    world.peers.profile_is(ProfileIs::Down);
    assert_eq!(users.erase_user(request.clone()).await.unwrap_err().code(), Code::Unavailable);
    world.peers.profile_is(ProfileIs::Up);
    world.peers.forget_profile(user_id);
    users.erase_user(request.clone()).await.unwrap();
    users.erase_user(request.clone()).await.unwrap();

    let get = GetUserRequest { user_id: alice.user_id.clone() };
    assert_eq!(users.get_user(get).await.unwrap_err().code(), Code::NotFound);
    let url = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[("prompt", "none")])).await.away();
    assert_eq!(param(&url, "error"), "login_required");
    let refused = world.refresh("portal", tokens.text("refresh_token")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    world.relying_parties.told_times("shop", 1).await;
    for table in ["user_email", "password", "passkey", "totp", "recovery_code", "consent", "staff_grant"] {
        let sql = format!("select count(*) from identity.{table}");
        let left: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&world.app.pool).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let rows = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    let last = rows.iter().rfind(|row| row.topic == "kotinos.identity.user.v1").unwrap();
    assert_eq!((last.fact_type.as_str(), last.payload.is_none()), ("UserErased", true), "a tombstone");
    let receipt = rows.iter().find(|row| row.topic == "kotinos.identity.erasure.v1").unwrap();
    let receipt = UserErased::decode(receipt.payload.as_deref().unwrap()).unwrap();
    assert_eq!((receipt.user_id, receipt.request_id), (alice.user_id, request.request_id));
    assert!(receipt.stores.contains(&"user_email".to_owned()) && !receipt.retained.is_empty());
    // The address is free again.
    world.sign_up(ALICE).await;
}

#[tokio::test]
async fn credentials_and_consents_are_listed_and_taken_away() {
    let world = World::start().await;
    let (mut browser, _) = world.tokens(ALICE).await;
    let code = world.code(&mut browser, "shop", "openid").await;
    let tokens = world.redeem("shop", &code).await;
    let alice = user(&world, ALICE.email).await.user_id;
    let own: UserId = alice.parse().unwrap();
    let mut users = staff(&world);
    let mut herself = UserServiceClient::new(world.app.grpc_as(own, &["identity.self"]));

    let request = ListConsentsRequest { user_id: alice.clone() };
    let consents = herself.list_consents(request.clone()).await.unwrap().into_inner().consents;
    assert_eq!((consents.len(), consents[0].client_id.as_str()), (1, "shop"));
    let revoke = RevokeConsentRequest { user_id: alice.clone(), client_id: "shop".to_owned() };
    herself.revoke_consent(revoke.clone()).await.unwrap();
    assert_eq!(herself.revoke_consent(revoke.clone()).await.unwrap_err().code(), Code::NotFound);
    assert!(herself.list_consents(request).await.unwrap().into_inner().consents.is_empty());
    let refused = world.refresh("shop", tokens.text("refresh_token")).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let stranger = RevokeConsentRequest { user_id: UserId::new().to_string(), ..revoke };
    assert_eq!(herself.revoke_consent(stranger).await.unwrap_err().code(), Code::PermissionDenied);

    let request = ListCredentialsRequest { user_id: alice.clone() };
    let kinds = |credentials: Vec<proto::identity::v1::Credential>| -> Vec<String> {
        credentials.into_iter().map(|credential| credential.kind).collect()
    };
    let listed = herself.list_credentials(request.clone()).await.unwrap().into_inner().credentials;
    assert_eq!(kinds(listed), ["password"]);
    let delete = |kind: &str, credential_id: &str| DeleteCredentialRequest {
        user_id: alice.clone(),
        kind: kind.to_owned(),
        credential_id: credential_id.to_owned(),
    };
    let denied = herself.delete_credential(delete("password", "")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    users.delete_credential(delete("password", "")).await.unwrap();
    for (request, code) in [
        (delete("password", ""), Code::NotFound),
        (delete("totp", ""), Code::NotFound),
        (delete("passkey", "AAAA"), Code::NotFound),
        (delete("passkey", ""), Code::InvalidArgument),
        (delete("password", "AAAA"), Code::InvalidArgument),
        (delete("key", ""), Code::InvalidArgument),
    ] {
        let text = format!("{request:?}");
        assert_eq!(users.delete_credential(request).await.unwrap_err().code(), code, "{text}");
    }
    let listed = users.list_credentials(request).await.unwrap().into_inner().credentials;
    assert!(listed.is_empty(), "{listed:?}");
}

#[tokio::test]
async fn each_client_has_its_own_names_for_users_and_they_lead_back() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    world.sign_up(BOB).await;
    let ids = [user(&world, ALICE.email).await.user_id, user(&world, BOB.email).await.user_id];
    let mut users = staff(&world);
    let mut subjects = Vec::new();
    for client_id in ["portal", "shop", "forum"] {
        let request = BatchGetSubjectsRequest { client_id: client_id.to_owned(), user_ids: ids.to_vec() };
        let found = users.batch_get_subjects(request).await.unwrap().into_inner().subjects;
        for (subject, user_id) in found.iter().zip(&ids) {
            let request = ResolveSubjectRequest { client_id: client_id.to_owned(), subject: subject.clone() };
            assert_eq!(&users.resolve_subject(request).await.unwrap().into_inner().user_id, user_id);
        }
        subjects.extend(found);
    }
    assert_eq!(subjects[..2], ids, "ours know the user id");
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 6);
    let foreign = ResolveSubjectRequest { client_id: "shop".to_owned(), subject: ids[0].clone() };
    assert_eq!(users.resolve_subject(foreign).await.unwrap_err().code(), Code::NotFound);
    let nowhere = BatchGetSubjectsRequest { client_id: "nobody".to_owned(), user_ids: ids.to_vec() };
    assert_eq!(users.batch_get_subjects(nowhere).await.unwrap_err().code(), Code::NotFound);
    let many =
        BatchGetSubjectsRequest { client_id: "shop".to_owned(), user_ids: vec![ids[0].clone(); 1_001] };
    assert_eq!(fields(&users.batch_get_subjects(many).await.unwrap_err()), ["user_ids"]);
    let wrong = BatchGetSubjectsRequest { client_id: "'".to_owned(), user_ids: vec!["x".to_owned()] };
    let refused = users.batch_get_subjects(wrong).await.unwrap_err();
    assert_eq!(fields(&refused), ["client_id", "user_ids[0]"]);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_at_once() {
    let world = World::start().await;
    let (_one, _) = world.tokens(ALICE).await;
    let (_two, _) = world.sign_in(ALICE).await;
    let alice = user(&world, ALICE.email).await.user_id;
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let list = ListSessionsRequest { user_id: alice.clone() };
    assert_eq!(sessions.list_sessions(list.clone()).await.unwrap().into_inner().sessions.len(), 2);
    for _ in 0..2 {
        sessions.end_user_sessions(EndUserSessionsRequest { user_id: alice.clone() }).await.unwrap();
    }
    assert!(sessions.list_sessions(list).await.unwrap().into_inner().sessions.is_empty());
    world.relying_parties.told_times("portal", 2).await;
}
