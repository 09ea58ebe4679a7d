//! The ledger of back-channel logout: every way in which sessions end, and relying parties that do not answer.

use domain::TimeDelta;
use proto::identity::v1::{
    DisableUserRequest, FindUserByEmailRequest, GetClientRequest, ListLogoutDeliveriesRequest,
    LogoutDelivery, RetryLogoutDeliveryRequest, UpdateClientRequest,
    client_service_client::ClientServiceClient, session_service_client::SessionServiceClient,
    user_service_client::UserServiceClient,
};
use tonic::Code;

use crate::world::{ALICE, BOB, DEADLINE, World};

async fn list(world: &World, client_id: &str, state: &str) -> Vec<LogoutDelivery> {
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let request = ListLogoutDeliveriesRequest {
        page_size: 200,
        client_id: client_id.to_owned(),
        state: state.to_owned(),
        ..ListLogoutDeliveriesRequest::default()
    };
    sessions.list_logout_deliveries(request).await.unwrap().into_inner().deliveries
}

async fn becomes(world: &World, client_id: &str, state: &str, number: usize) -> Vec<LogoutDelivery> {
    testkit::eventually(DEADLINE, || async {
        Some(list(world, client_id, state).await).filter(|found| found.len() == number)
    })
    .await
}

/// So many sessions' ends that a client has to be told of.
async fn owe(world: &World, client_id: &str, number: i32) {
    sqlx::query(
        "insert into identity.logout_delivery
             (delivery_id, session_id, user_id, client_id, sid, cause, state, attempts, next_at, last_status, created_at)
         select ids.id, ids.id, ids.id, $1, ids.id::text, 'logout', 'pending', 0, $3, 0, $3
         from (select ((lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') || '7000'
                        || substr(md5(random()::text || n), 1, 16)))::uuid as id
               from generate_series(1, $2) n) ids",
    )
    .bind(client_id)
    .bind(number)
    .bind(world.app.clock.now())
    .execute(&world.app.pool)
    .await
    .unwrap();
}

async fn moves_to(world: &World, client_id: &str, uri: &str) {
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let found = clients.get_client(GetClientRequest { client_id: client_id.to_owned() }).await.unwrap();
    let mut client = found.into_inner().client.unwrap();
    uri.clone_into(&mut client.backchannel_logout_uri);
    clients.update_client(UpdateClientRequest { client: Some(client), expected_version: 0 }).await.unwrap();
}

/// An address of this machine at which nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_dead_relying_party_delays_nobody_and_gets_everything_when_it_is_back() {
    let world = World::start().await;
    moves_to(&world, "shop", &nobody().await).await;
    owe(&world, "shop", 150).await;
    owe(&world, "portal", 150).await;
    becomes(&world, "portal", "delivered", 150).await;
    assert_eq!(world.relying_parties.told("portal").len(), 150, "each once");
    // Its circuit opens: most of what it is owed is not even tried.
    let tried: Vec<_> =
        list(&world, "shop", "pending").await.into_iter().filter(|one| one.attempts > 0).collect();
    assert!(!tried.is_empty() && tried.len() <= 40, "{}", tried.len());
    assert!(tried.iter().all(|one| one.last_status == 0));

    // A minute of it, in which somebody else is owed something as well.
    for _ in 0..6 {
        world.advance(TimeDelta::seconds(10));
    }
    owe(&world, "portal", 10).await;
    becomes(&world, "portal", "delivered", 160).await;
    let most = list(&world, "shop", "pending").await.iter().map(|one| one.attempts).max().unwrap();
    assert!(most <= 8, "{most}");
    moves_to(&world, "shop", &format!("{}/shop", world.relying_parties.url)).await;
    // Within the longest time between two probes, and the back-off of those that were tried.
    testkit::eventually(DEADLINE, || async {
        world.advance(TimeDelta::seconds(20));
        (list(&world, "shop", "delivered").await.len() == 150).then_some(())
    })
    .await;
    assert_eq!(world.relying_parties.told("shop").len(), 150, "and nothing is lost or told twice");
}

#[tokio::test]
async fn sessions_that_expire_and_users_who_are_disabled_are_told_of_alike() {
    let world = World::start().await;
    let (_browser, _) = world.tokens(ALICE).await;
    world.advance(TimeDelta::days(7));
    // The first look of a process comes at its start.
    let world = {
        drop(_browser);
        world.killed_and_restarted().await
    };
    becomes(&world, "portal", "delivered", 1).await;
    let (_browser, _) = world.tokens(BOB).await;
    let mut users = UserServiceClient::new(world.app.grpc(&["identity.read", "identity.support"]));
    let bob = users.find_user_by_email(FindUserByEmailRequest { address: BOB.email.into() }).await.unwrap();
    let user_id = bob.into_inner().user.unwrap().user_id;
    let request = DisableUserRequest { user_id, expected_version: 0, reason: String::new() };
    users.disable_user(request).await.unwrap();
    becomes(&world, "portal", "delivered", 2).await;
    let causes: Vec<String> =
        sqlx::query_scalar("select cause from identity.logout_delivery order by delivery_id")
            .fetch_all(&world.app.pool)
            .await
            .unwrap();
    assert_eq!(causes, ["expiry", "disable"]);
}

#[tokio::test]
async fn what_was_given_up_is_tried_for_another_day_when_an_operator_says_so() {
    let world = World::start().await;
    world.relying_parties.answer(400);
    owe(&world, "shop", 1).await;
    becomes(&world, "shop", "pending", 1).await;
    world.advance(TimeDelta::hours(24));
    let given_up = becomes(&world, "shop", "abandoned", 1).await.remove(0);
    world.relying_parties.answer(204);
    let mut sessions = SessionServiceClient::new(world.app.grpc(&["identity.support"]));
    let request = RetryLogoutDeliveryRequest { delivery_id: given_up.delivery_id.clone() };
    let again = sessions.retry_logout_delivery(request.clone()).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!((again.state.as_str(), again.attempts), ("pending", 0));
    becomes(&world, "shop", "delivered", 1).await;
    let settled = sessions.retry_logout_delivery(request).await.unwrap().into_inner().delivery.unwrap();
    assert_eq!(settled.state, "delivered", "it stays so");
    let none = RetryLogoutDeliveryRequest { delivery_id: domain::new_id().to_string() };
    assert_eq!(sessions.retry_logout_delivery(none).await.unwrap_err().code(), Code::NotFound);
    let wrong = ListLogoutDeliveriesRequest {
        page_token: "x".to_owned(),
        client_id: "'".to_owned(),
        state: "lost".to_owned(),
        ..ListLogoutDeliveriesRequest::default()
    };
    let refused = sessions.list_logout_deliveries(wrong).await.unwrap_err();
    let fields: Vec<_> = chassis::fields_of(&refused).into_iter().map(|violation| violation.field).collect();
    assert_eq!(fields, ["page_token", "client_id", "state"]);
}
