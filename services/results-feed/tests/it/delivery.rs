//! Documents out to partners by POST: what they get, how they steer it, and what nobody may do.

use proto::results::v1::{
    CreateDeliveryTargetRequest, DeleteDeliveryTargetRequest, DeliveryFilter, DeliveryMode, DeliveryState,
    EntitlementRule, GetDeliveryTargetRequest, ListDeliveryTargetsRequest, PauseDeliveryRequest,
    ResumeDeliveryRequest, UpdateDeliveryTargetRequest, delivery_service_client::DeliveryServiceClient,
};
use testkit::{
    eventually,
    races::{hundred_metres_final, hundred_metres_protest},
};
use tonic::Code;

use crate::{
    receiver::{KEY, Receiver, assert_in_order, deliveries, get, target, wait_for_progress, wish},
    world::{DEADLINE, World, originals},
};

#[tokio::test]
async fn a_target_gets_original_bytes_in_the_order_of_each_document() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    // What came before is not for it.
    world.send(&key, &race[..1]).await;
    let receiver = Receiver::start(|_| 200).await;
    let target = target(&world, wish(&receiver.url)).await;
    let last = world.send(&key, &race[1..]).await;

    let taken = receiver.wait_for(race.len() - 1).await;
    wait_for_progress(&world, &target.target_id, "results", last).await;
    assert_in_order(&taken);
    let mut expected: Vec<&str> = race[1..].iter().map(|document| document.xml.as_str()).collect();
    let mut got: Vec<&str> = taken.iter().map(|post| post.xml.as_str()).collect();
    expected.sort_unstable();
    got.sort_unstable();
    assert_eq!(got, expected);
    for post in &taken {
        assert_eq!(post.headers["x-api-key"], KEY);
        assert_eq!(post.headers["content-encoding"], "gzip");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn a_target_of_official_results_gets_a_protest_and_what_came_of_it() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let receiver = Receiver::start(|_| 200).await;
    let mut request = wish(&receiver.url);
    let statuses = ["OFFICIAL", "PROTESTED"].map(str::to_owned).to_vec();
    request.filter = Some(DeliveryFilter { statuses, ..DeliveryFilter::default() });
    let target = target(&world, request).await;
    world.send(&key, &hundred_metres_final(1)).await;
    let last = world.send(&key, &hundred_metres_protest(1)).await;
    wait_for_progress(&world, &target.target_id, "results", last).await;
    let taken = receiver.taken();
    assert_in_order(&taken);
    let mut got: Vec<(String, u32)> =
        taken.iter().map(|post| (post.document_type(), post.document().1)).collect();
    got.sort_unstable();
    let expected =
        [("DT_MEDALLISTS", 1), ("DT_MEDALLISTS", 2), ("DT_RESULT", 9), ("DT_RESULT", 10), ("DT_RESULT", 11)];
    assert_eq!(got, expected.map(|(document_type, version)| (document_type.to_owned(), version)));
    world.app.stop().await;
}

#[tokio::test]
async fn what_an_embargo_holds_back_is_delivered_when_it_ends() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let receiver = Receiver::start(|_| 200).await;
    let target = target(&world, wish(&receiver.url)).await;
    let held_back = EntitlementRule { embargo_minutes: 10, ..originals() };
    world.entitle(&world.client_id(), vec![held_back]).await;
    let race = hundred_metres_final(1);
    let last = world.send(&key, &race[..3]).await;
    wait_for_progress(&world, &target.target_id, "results", last).await;
    assert_eq!(receiver.posts().len(), 0, "under embargo");

    world.app.clock.advance(domain::TimeDelta::minutes(11));
    // What stands then; the first update of the schedule no longer does.
    let taken = receiver.wait_for(2).await;
    let mut got: Vec<&str> = taken.iter().map(|post| post.xml.as_str()).collect();
    let mut expected = [race[1].xml.as_str(), race[2].xml.as_str()];
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
    world.app.stop().await;
}

#[tokio::test]
async fn a_filter_and_the_rights_of_the_owner_hold() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let receiver = Receiver::start(|_| 200).await;
    let mut request = wish(&receiver.url);
    let filter = DeliveryFilter {
        types: vec!["DT_RESULT".to_owned()],
        statuses: vec!["UNOFFICIAL".to_owned(), "OFFICIAL".to_owned()],
        ..DeliveryFilter::default()
    };
    request.filter = Some(filter);
    let narrow = target(&world, request).await;
    let last = world.send(&key, &race).await;
    wait_for_progress(&world, &narrow.target_id, "results", last).await;
    let types: Vec<String> = receiver.taken().iter().map(crate::receiver::Post::document_type).collect();
    assert_eq!(types, ["DT_RESULT", "DT_RESULT"]);

    // Biographies are not the public's; nobody gave them to this client.
    let everything = Receiver::start(|_| 200).await;
    let wide = target(&world, wish(&everything.url)).await;
    let biography = |version: u32| {
        let xml = race[2].xml.replace("DT_RESULT", "DT_BIO_PAR").replace(" ResultStatus=\"START_LIST\"", "");
        xml.replace("Version=\"1\"", &format!("Version=\"{version}\""))
    };
    let hidden = world.post(&key, biography(1)).await.seq;
    wait_for_progress(&world, &wide.target_id, "bulk", hidden).await;
    assert_eq!(everything.posts().len(), 0);
    world.entitle("test-client", vec![EntitlementRule::default()]).await;
    let shown = world.post(&key, biography(2)).await.seq;
    wait_for_progress(&world, &wide.target_id, "bulk", shown).await;
    assert_eq!(everything.taken().len(), 1);
    world.entitle("test-client", vec![]).await;
    let hidden = world.post(&key, biography(3)).await.seq;
    wait_for_progress(&world, &wide.target_id, "bulk", hidden).await;
    assert_eq!(everything.taken().len(), 1);
    world.app.stop().await;
}

#[tokio::test]
async fn a_paused_target_keeps_what_waits_and_state_mode_spares_it_the_rest() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let (every, state) = (Receiver::start(|_| 200).await, Receiver::start(|_| 200).await);
    let of_every = target(&world, wish(&every.url)).await.target_id;
    let request = CreateDeliveryTargetRequest { mode: DeliveryMode::State.into(), ..wish(&state.url) };
    let of_state = target(&world, request).await.target_id;
    let mut client = deliveries(&world);
    for target_id in [&of_every, &of_state] {
        let paused = client.pause_delivery(PauseDeliveryRequest { target_id: target_id.clone() }).await;
        let paused = paused.unwrap().into_inner().target.unwrap();
        assert_eq!(paused.state(), DeliveryState::Paused);
        let again = client.pause_delivery(PauseDeliveryRequest { target_id: target_id.clone() }).await;
        assert_eq!(again.unwrap().into_inner().target.unwrap().version, paused.version);
    }
    // Until their runners have stopped: then the lock is free.
    eventually(DEADLINE, async || {
        let sql =
            "select count(*) from pg_locks where locktype = 'advisory' and classid = 1919182188 and granted
                   and database = (select oid from pg_database where datname = current_database())";
        let held: i64 = sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap();
        (held == 0).then_some(())
    })
    .await;
    let last = world.send(&key, &race).await;
    let resend = proto::results::v1::ResendDocumentsRequest { target_id: of_every.clone(), search: None };
    assert_eq!(client.resend_documents(resend).await.unwrap_err().code(), Code::FailedPrecondition);
    assert!(every.posts().is_empty() && state.posts().is_empty());

    for target_id in [&of_every, &of_state] {
        let resumed = client.resume_delivery(ResumeDeliveryRequest { target_id: target_id.clone() }).await;
        assert_eq!(resumed.unwrap().into_inner().target.unwrap().state(), DeliveryState::Running);
        wait_for_progress(&world, target_id, "results", last).await;
    }
    assert_eq!(every.taken().len(), race.len());
    let taken = state.taken();
    assert_in_order(&taken);
    let has =
        |status: &str| taken.iter().any(|post| post.xml.contains(&format!("ResultStatus=\"{status}\"")));
    assert!(
        has("OFFICIAL") && !has("LIVE"),
        "the positions on the way are spared, the official result is not"
    );
    // Each schedule update counts in itself.
    let updates = |posts: &[crate::receiver::Post]| {
        posts.iter().filter(|post| post.document_type() == "DT_SCHEDULE_UPDATE").count()
    };
    assert_eq!(updates(&taken), updates(&every.taken()));
    world.app.stop().await;
}

#[tokio::test]
async fn a_changed_target_gets_the_rest_at_its_new_address() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let (old, new) = (Receiver::start(|_| 200).await, Receiver::start(|_| 200).await);
    let target = target(&world, wish(&old.url)).await;
    let seen = world.send(&key, &race[..3]).await;
    wait_for_progress(&world, &target.target_id, "results", seen).await;

    let mut client = deliveries(&world);
    let change = |api_key: &str, expected_version| UpdateDeliveryTargetRequest {
        target_id: target.target_id.clone(),
        expected_version,
        name: "Paris 2".to_owned(),
        url: new.url.clone(),
        api_key: api_key.to_owned(),
        filter: None,
        mode: 0,
    };
    // The key is for the host to which it was given.
    let other_host = client.update_delivery_target(change("", 1)).await.unwrap_err();
    assert_eq!(other_host.code(), Code::InvalidArgument);
    let stale = client.update_delivery_target(change("another", 7)).await.unwrap_err();
    assert_eq!(stale.code(), Code::FailedPrecondition);
    let changed = client.update_delivery_target(change("another", 1)).await.unwrap().into_inner().target;
    assert_eq!(changed.unwrap().version, 2);
    // What was sent in between may still have gone to the old address.
    eventually(DEADLINE, async || {
        let version = format!(" Version=\"{}\"", 100 + old.posts().len() + new.posts().len());
        let update = race[3].xml.replace(" Version=\"3\"", &version);
        world.post(&key, update).await;
        (!new.taken().is_empty()).then_some(())
    })
    .await;
    assert_eq!(new.taken()[0].headers["x-api-key"], "another");

    let gone = DeleteDeliveryTargetRequest { target_id: target.target_id.clone() };
    client.delete_delivery_target(gone.clone()).await.unwrap();
    assert_eq!(client.delete_delivery_target(gone).await.unwrap_err().code(), Code::NotFound);
    let left = client.list_delivery_targets(ListDeliveryTargetsRequest {}).await.unwrap().into_inner();
    assert!(left.targets.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn nothing_inside_can_be_a_target() {
    let world = World::start().await;
    let mut client = deliveries(&world);
    for url in [
        "",
        "x",
        "http://odf.example/in",
        "ftp://odf.example/in",
        "https://10.0.0.1/in",
        "https://192.168.1.1/in",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.2/in",
        "https://2130706434/in",
        "https://[::1]/in",
        "https://[::ffff:10.0.0.1]/in",
        "https://[fd00::1]/in",
        "https://localhost/in",
        "http://localhost:80/in",
        "https://user:pass@odf.example/in",
        "http://127.0.0.1:80@odf.example/in",
        &format!("https://odf.example/{}", "a".repeat(500)),
    ] {
        let refused = client.create_delivery_target(wish(url)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{url}");
    }
    for key in ["", "two words", "line\r\nX-Other: 1", "clé", &"k".repeat(201)] {
        let request = CreateDeliveryTargetRequest { api_key: key.to_owned(), ..wish("https://1.1.1.1/in") };
        let refused = client.create_delivery_target(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{key}");
    }
    for filter in [
        DeliveryFilter { prefixes: vec!["A".to_owned(); 65], ..DeliveryFilter::default() },
        DeliveryFilter { prefixes: vec!["a'b".to_owned()], ..DeliveryFilter::default() },
        DeliveryFilter { types: vec!["DT_NOTHING".to_owned()], ..DeliveryFilter::default() },
        DeliveryFilter { types: vec!["DT_RESULT".to_owned(); 69], ..DeliveryFilter::default() },
        DeliveryFilter { statuses: vec!["FAST".to_owned()], ..DeliveryFilter::default() },
        DeliveryFilter { feed_flag: "X".to_owned(), ..DeliveryFilter::default() },
    ] {
        let request = CreateDeliveryTargetRequest { filter: Some(filter), ..wish("https://1.1.1.1/in") };
        let refused = client.create_delivery_target(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let request = CreateDeliveryTargetRequest { mode: 9, ..wish("https://1.1.1.1/in") };
    assert_eq!(client.create_delivery_target(request).await.unwrap_err().code(), Code::InvalidArgument);
    let targets: i64 = sqlx::query_scalar("select count(*) from results.delivery_target")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert_eq!(targets, 0);
    world.app.stop().await;
}

#[tokio::test]
async fn a_key_is_never_read_back_and_a_target_is_its_owners() {
    let world = World::start().await;
    let receiver = Receiver::start(|_| 200).await;
    let own = target(&world, wish(&receiver.url)).await;
    assert!(!format!("{own:?}{:?}", get(&world, &own.target_id).await).contains(KEY));
    let stored: Vec<u8> = sqlx::query_scalar("select sealed_key from results.delivery_target")
        .fetch_one(&world.app.pool)
        .await
        .unwrap();
    assert!(!stored.windows(8).any(|part| KEY.as_bytes().windows(8).any(|of_key| of_key == part)));

    let issuer = world.app.issuer();
    let token = |client: &str, scopes: &[&str]| issuer.token(&issuer.claims(client, client, scopes));
    let mut stranger =
        DeliveryServiceClient::new(world.app.grpc_with(&token("stranger", &["results.deliver"])));
    let id = own.target_id.clone();
    let codes = [
        stranger.get_delivery_target(GetDeliveryTargetRequest { target_id: id.clone() }).await.err(),
        stranger.delete_delivery_target(DeleteDeliveryTargetRequest { target_id: id.clone() }).await.err(),
        stranger.pause_delivery(PauseDeliveryRequest { target_id: id.clone() }).await.err(),
        stranger.resume_delivery(ResumeDeliveryRequest { target_id: id.clone() }).await.err(),
        stranger
            .update_delivery_target(UpdateDeliveryTargetRequest {
                target_id: id.clone(),
                expected_version: 1,
                name: "mine".to_owned(),
                url: receiver.url.clone(),
                ..UpdateDeliveryTargetRequest::default()
            })
            .await
            .err(),
        stranger
            .resend_documents(proto::results::v1::ResendDocumentsRequest {
                target_id: id.clone(),
                search: None,
            })
            .await
            .err(),
    ];
    assert!(codes.iter().all(|status| status.as_ref().unwrap().code() == Code::NotFound), "{codes:?}");
    let none = stranger.list_delivery_targets(ListDeliveryTargetsRequest {}).await.unwrap().into_inner();
    assert!(none.targets.is_empty());

    let staff = token("staff", &["results.deliver", "results.admin"]);
    let mut staff = DeliveryServiceClient::new(world.app.grpc_with(&staff));
    let all = staff.list_delivery_targets(ListDeliveryTargetsRequest {}).await.unwrap().into_inner();
    assert_eq!(all.targets.len(), 1);
    assert_eq!(all.targets[0].client_id, "test-client");

    for _ in 1..10 {
        target(&world, wish(&receiver.url)).await;
    }
    let one_too_many = deliveries(&world).create_delivery_target(wish(&receiver.url)).await.unwrap_err();
    assert_eq!(one_too_many.code(), Code::ResourceExhausted);
    world.app.stop().await;
}
