use domain::{Service, UserId};
use prost::Message as _;
use proto::identity::v1::{
    DisableUserRequest, EnableUserRequest, EndSessionRequest, FindUserByEmailRequest, GetUserRequest,
    GrantStaffScopeRequest, ListSessionsRequest, ListStaffGrantsRequest, RevokeStaffScopeRequest, User,
    UserState, UserStatus, session_service_client::SessionServiceClient,
    staff_service_client::StaffServiceClient, user_service_client::UserServiceClient,
};
use reqwest::StatusCode;
use tonic::{Code, Status};

use crate::{
    browser::Asks,
    clients::PORTAL_SCOPE,
    world::{ALICE, BOB, World, authorize_url, param},
};

const HOSTILE: [&str; 6] = [
    "",
    "'; drop table identity.user; --",
    "\u{0}",
    "../../etc/passwd",
    "{{ 7 * 7 }}",
    "a\r\nBcc: eve@example.org",
];

fn text(text: &str) -> String {
    text.to_owned()
}

async fn user(world: &World, email: &str) -> User {
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read"]));
    let request = FindUserByEmailRequest { address: email.as_bytes().to_vec() };
    users.find_user_by_email(request).await.unwrap().into_inner().user.unwrap()
}

#[track_caller]
fn assert_invalid<T: std::fmt::Debug>(answer: Result<T, Status>, field: &str) {
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused}");
    let named = chassis::fields_of(&refused).iter().any(|violation| violation.field == field);
    assert!(named, "{field} is not named: {refused}");
}

#[tokio::test]
async fn a_persons_token_reaches_that_person_only() {
    let world = World::start().await;
    let (_alice_browser, _) = world.sign_up(ALICE).await;
    let (_bob_browser, _) = world.sign_up(BOB).await;
    let (alice, bob) = (user(&world, ALICE.email).await, user(&world, BOB.email).await);
    let peer = world.app.grpc_as(alice.user_id.parse().unwrap(), &["identity.self"]);
    let mut users = UserServiceClient::new(peer.clone());
    let own = users.get_user(GetUserRequest { user_id: alice.user_id.clone() }).await.unwrap();
    assert_eq!(own.into_inner().user, Some(alice.clone()));

    let mut sessions = SessionServiceClient::new(peer);
    let own = sessions.list_sessions(ListSessionsRequest { user_id: alice.user_id.clone() }).await.unwrap();
    assert_eq!(own.into_inner().sessions.len(), 1);
    // Somebody else and nobody look alike.
    for stranger in [bob.user_id.clone(), UserId::new().to_string()] {
        let user_id = stranger.clone();
        let refused = users.get_user(GetUserRequest { user_id }).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::PermissionDenied, "the token does not reach this user")
        );
        let user_id = stranger.clone();
        let refused = sessions.list_sessions(ListSessionsRequest { user_id }).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        let request = EndSessionRequest { user_id: stranger, session_id: domain::new_id().to_string() };
        assert_eq!(sessions.end_session(request).await.unwrap_err().code(), Code::PermissionDenied);
    }
    // A session of Bob under Alice's name is none of hers.
    let mut support = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let of_bob = support.list_sessions(ListSessionsRequest { user_id: bob.user_id.clone() }).await.unwrap();
    let session_id = of_bob.into_inner().sessions.remove(0).session_id;
    let request = EndSessionRequest { user_id: alice.user_id, session_id: session_id.clone() };
    assert_eq!(sessions.end_session(request).await.unwrap_err().code(), Code::NotFound);
    for _ in 0..2 {
        let request = EndSessionRequest { user_id: bob.user_id.clone(), session_id: session_id.clone() };
        support.end_session(request).await.unwrap();
    }
    let left = support.list_sessions(ListSessionsRequest { user_id: bob.user_id }).await.unwrap();
    assert!(left.into_inner().sessions.is_empty());
}

#[tokio::test]
async fn each_method_asks_for_its_scope() {
    let world = World::start().await;
    let user_id = UserId::new();
    let fan = world.app.grpc_as(user_id, &["identity.self"]);
    let request = FindUserByEmailRequest { address: b"alice@example.jp".to_vec() };
    let refused = UserServiceClient::new(fan.clone()).find_user_by_email(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let request = DisableUserRequest { user_id: user_id.to_string(), ..DisableUserRequest::default() };
    let refused = UserServiceClient::new(fan.clone()).disable_user(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let request = GrantStaffScopeRequest { user_id: user_id.to_string(), scope: text("identity.admin") };
    for peer in [fan, world.app.grpc(&["identity.support", "identity.read"])] {
        let refused = StaffServiceClient::new(peer).grant_staff_scope(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let nobody = UserServiceClient::new(world.app.grpc_without_token())
        .get_user(GetUserRequest { user_id: user_id.to_string() })
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_comes_back_when_enabled() {
    let world = World::start().await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    let alice = user(&world, ALICE.email).await;
    let mut support = UserServiceClient::new(world.app.grpc(&["identity.support"]));
    let disable = |version| DisableUserRequest {
        user_id: alice.user_id.clone(),
        expected_version: version,
        reason: text("tickets sold on"),
    };
    let stale = support.disable_user(disable(7)).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    let disabled = support.disable_user(disable(1)).await.unwrap().into_inner().user.unwrap();
    assert_eq!((disabled.status(), disabled.version), (UserStatus::Disabled, 2));
    let again = support.disable_user(disable(0)).await.unwrap().into_inner().user.unwrap();
    assert_eq!(again, disabled, "a second time changes nothing");

    let url = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[("prompt", "none")])).await.away();
    assert_eq!(param(&url, "error"), "login_required");
    let page = browser.open(&authorize_url("portal", PORTAL_SCOPE, &[])).await.page();
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    assert_eq!(browser.submit(&form, None).await.page().status, StatusCode::UNPROCESSABLE_ENTITY);

    let request = EnableUserRequest { user_id: alice.user_id.clone(), expected_version: 2 };
    let enabled = support.enable_user(request).await.unwrap().into_inner().user.unwrap();
    assert_eq!((enabled.status(), enabled.version), (UserStatus::Active, 3));
    browser.submit(&form, None).await.away();

    let rows = testkit::records_in_outbox(&world.app.pool, Service::Identity).await;
    let states = rows.iter().filter(|row| row.topic == "kotinos.identity.user.v1").map(|row| {
        let state = UserState::decode(row.payload.as_deref().unwrap()).unwrap();
        (row.fact_type.clone(), row.version, state.status())
    });
    let expected = [
        (text("UserRegistered"), 1, UserStatus::Active),
        (text("UserDisabled"), 2, UserStatus::Disabled),
        (text("UserEnabled"), 3, UserStatus::Active),
    ];
    assert_eq!(states.collect::<Vec<_>>(), expected);
    assert_eq!(rows.iter().filter(|row| row.fact_type == "SessionEnded").count(), 1);
    let audited: i64 = sqlx::query_scalar(
        "select count(*) from identity.audit_record
         where action = 'disable_user' and subject = $1 and detail ->> 'reason' = 'tickets sold on'",
    )
    .bind(&alice.user_id)
    .fetch_one(&world.app.pool)
    .await
    .unwrap();
    assert_eq!(audited, 1);
}

#[tokio::test]
async fn scopes_of_staff_are_granted_once_listed_and_taken_back() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let alice = user(&world, ALICE.email).await.user_id;
    let mut staff = StaffServiceClient::new(world.app.grpc(&["identity.admin"]));
    let request = GrantStaffScopeRequest { user_id: alice.clone(), scope: text("segmentation.admin") };
    let first = staff.grant_staff_scope(request.clone()).await.unwrap().into_inner().grant.unwrap();
    let again = staff.grant_staff_scope(request).await.unwrap().into_inner().grant.unwrap();
    assert_eq!((&first, first.granted_by.as_str()), (&again, "test-client"));
    for user_id in [text(""), alice.clone()] {
        let listed = staff.list_staff_grants(ListStaffGrantsRequest { user_id }).await.unwrap().into_inner();
        assert_eq!(listed.grants, std::slice::from_ref(&first));
    }
    let unknown =
        GrantStaffScopeRequest { user_id: UserId::new().to_string(), scope: text("segmentation.admin") };
    assert_eq!(staff.grant_staff_scope(unknown).await.unwrap_err().code(), Code::NotFound);
    let request = RevokeStaffScopeRequest { user_id: alice, scope: text("segmentation.admin") };
    staff.revoke_staff_scope(request.clone()).await.unwrap();
    assert_eq!(staff.revoke_staff_scope(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let world = World::start().await;
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support"]));
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let mut staff = StaffServiceClient::new(world.app.grpc(&["identity.admin"]));
    let right = UserId::new().to_string();
    for hostile in HOSTILE.map(text).into_iter().chain(["x".repeat(100_000)]) {
        let user_id = hostile.clone();
        assert_invalid(users.get_user(GetUserRequest { user_id }).await, "user_id");
        let request = DisableUserRequest { user_id: hostile.clone(), ..DisableUserRequest::default() };
        assert_invalid(users.disable_user(request).await, "user_id");
        let request = EnableUserRequest { user_id: hostile.clone(), expected_version: 0 };
        assert_invalid(users.enable_user(request).await, "user_id");
        let user_id = hostile.clone();
        assert_invalid(sessions.list_sessions(ListSessionsRequest { user_id }).await, "user_id");
        let request = EndSessionRequest { user_id: right.clone(), session_id: hostile.clone() };
        assert_invalid(sessions.end_session(request).await, "session_id");
        let request = GrantStaffScopeRequest { user_id: right.clone(), scope: hostile.clone() };
        assert_invalid(staff.grant_staff_scope(request).await, "scope");
        let request = RevokeStaffScopeRequest { user_id: hostile.clone(), scope: text("identity.admin") };
        assert_invalid(staff.revoke_staff_scope(request).await, "user_id");
        if !hostile.is_empty() {
            let user_id = hostile.clone();
            assert_invalid(staff.list_staff_grants(ListStaffGrantsRequest { user_id }).await, "user_id");
        }
    }
    for address in [vec![], vec![0xff; 300], b"a@b.example\r\nRCPT TO:<x>".to_vec()] {
        assert_invalid(users.find_user_by_email(FindUserByEmailRequest { address }).await, "address");
    }
    let unknown = FindUserByEmailRequest { address: vec![0xff, 0xfe] };
    assert_eq!(users.find_user_by_email(unknown).await.unwrap_err().code(), Code::NotFound);
    let request =
        DisableUserRequest { user_id: right.clone(), expected_version: -1, reason: "\u{0}".repeat(300) };
    let refused = users.disable_user(request).await.unwrap_err();
    let fields: Vec<_> = chassis::fields_of(&refused).into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["expected_version", "reason"]);
    for scope in ["openid", "identity.self", "profile.write", "offline_access"] {
        let request = GrantStaffScopeRequest { user_id: right.clone(), scope: text(scope) };
        assert_invalid(staff.grant_staff_scope(request).await, "scope");
    }
}
