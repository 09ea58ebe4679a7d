use domain::TimeDelta;
use proto::identity::v1::{
    AuditRecord, ListAuditRecordsRequest, VerifyAuditSealsRequest, VerifyAuditSealsResponse,
    audit_service_client::AuditServiceClient,
};
use sqlx::AssertSqlSafe;
use tonic::Code;

use crate::{
    browser::Person,
    clients::STAFF,
    world::{ALICE, BOB, DEADLINE, World},
};

async fn records(world: &World, request: ListAuditRecordsRequest) -> (Vec<AuditRecord>, String) {
    let mut audit = AuditServiceClient::new(world.app.grpc(&["identity.admin"]));
    let answer = audit.list_audit_records(request).await.unwrap().into_inner();
    (answer.records, answer.next_page_token)
}

async fn verify(world: &World, from_seal_no: i64) -> VerifyAuditSealsResponse {
    let mut audit = AuditServiceClient::new(world.app.grpc(&["identity.admin"]));
    let request = VerifyAuditSealsRequest { from_seal_no, since: None };
    audit.verify_audit_seals(request).await.unwrap().into_inner()
}

/// As soon as every record is under a seal.
async fn sealed(world: &World) -> VerifyAuditSealsResponse {
    testkit::eventually(DEADLINE, || async {
        let all: i64 = sqlx::query_scalar("select count(*) from identity.audit_record")
            .fetch_one(&world.app.pool)
            .await
            .unwrap();
        Some(verify(world, 0).await).filter(|check| check.records == all)
    })
    .await
}

async fn execute(world: &World, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.app.pool).await.unwrap();
    assert_eq!(done.rows_affected(), 1, "{sql}");
}

#[tokio::test]
async fn whoever_changes_the_audit_later_is_found_out() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let first = sealed(&world).await;
    assert!(first.seals >= 1 && first.faults.is_empty(), "{first:?}");
    world.sign_up(BOB).await;
    let second = sealed(&world).await;
    assert!(second.last_seal_no > first.last_seal_no && second.last_mac != first.last_mac);
    assert!(second.faults.is_empty(), "{second:?}");

    // What is changed, what changes it back, and the seal that shows it.
    let record = "(select max(audit_id::text)::uuid from identity.audit_record)";
    let last = second.last_seal_no;
    for (change, back) in [
        (
            format!("update identity.audit_record set outcome = 'refused' where audit_id = {record}"),
            format!("update identity.audit_record set outcome = 'done' where audit_id = {record}"),
        ),
        (
            format!("update identity.audit_record set detail = '{{\"a\": 1}}' where audit_id = {record}"),
            format!("update identity.audit_record set detail = '{{}}' where audit_id = {record}"),
        ),
        (
            "insert into identity.audit_record
                 (audit_id, at, actor, action, subject, client_id, outcome, detail, position)
             select '01890a5d-ac96-774b-bcce-b302099a8057', at, actor, action, subject, client_id, outcome, detail,
                    position
             from identity.audit_record
             order by audit_id desc
             limit 1"
                .to_owned(),
            "delete from identity.audit_record where audit_id = '01890a5d-ac96-774b-bcce-b302099a8057'".to_owned(),
        ),
        (
            format!("update identity.audit_seal set records = records + 1 where seal_no = {last}"),
            format!("update identity.audit_seal set records = records - 1 where seal_no = {last}"),
        ),
    ] {
        execute(&world, &change).await;
        let faults = verify(&world, 0).await.faults;
        assert_eq!(faults.iter().map(|fault| fault.seal_no).collect::<Vec<_>>(), [last], "{change}: {faults:?}");
        execute(&world, &back).await;
        assert!(verify(&world, 0).await.faults.is_empty(), "{back}");
    }
    // A seal in between that is taken away: its neighbour misses it.
    let gone = format!("delete from identity.audit_seal where seal_no = {}", first.last_seal_no);
    execute(&world, &gone).await;
    assert!(!verify(&world, 0).await.faults.is_empty());
    assert!(verify(&world, first.last_seal_no + 2).await.faults.is_empty(), "what comes later is whole");
    execute(&world, &format!("delete from identity.audit_record where audit_id = {record}")).await;
    assert!(verify(&world, last).await.faults.iter().any(|fault| fault.what.contains("taken away")));
}

#[tokio::test]
async fn what_was_done_is_listed_by_whom_to_whom_and_page_by_page() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    world.sign_in(ALICE).await;
    let (all, next) = records(&world, ListAuditRecordsRequest::default()).await;
    assert!(all.len() >= 2 && next.is_empty(), "{all:?}");
    assert!(all.windows(2).all(|pair| pair[0].audit_id > pair[1].audit_id));
    let alice = all[0].subject.clone();
    let one = ListAuditRecordsRequest { page_size: 1, subject: alice, ..ListAuditRecordsRequest::default() };
    let (first, next) = records(&world, one.clone()).await;
    assert_eq!((first.as_slice(), next.as_str()), (&all[..1], all[0].audit_id.as_str()));
    let (second, _) = records(&world, ListAuditRecordsRequest { page_token: next, ..one.clone() }).await;
    assert_eq!(second[0], all[1]);
    let signed_up =
        ListAuditRecordsRequest { action: "sign_up".to_owned(), ..ListAuditRecordsRequest::default() };
    let (records_of, _) = records(&world, signed_up).await;
    assert_eq!(records_of.len(), 1);
    let later = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let none = ListAuditRecordsRequest { from: Some(later), ..ListAuditRecordsRequest::default() };
    assert!(records(&world, none).await.0.is_empty());

    let mut audit = AuditServiceClient::new(world.app.grpc(&["identity.admin"]));
    let wrong = ListAuditRecordsRequest {
        page_token: "'; --".to_owned(),
        actor: "x".repeat(201),
        from: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 }),
        ..ListAuditRecordsRequest::default()
    };
    let refused = audit.list_audit_records(wrong).await.unwrap_err();
    let fields: Vec<_> = chassis::fields_of(&refused).into_iter().map(|violation| violation.field).collect();
    assert_eq!(
        (refused.code(), fields),
        (Code::InvalidArgument, vec!["page_token".into(), "actor".into(), "from".into()])
    );
    let support = AuditServiceClient::new(world.app.grpc(&["identity.support"]))
        .list_audit_records(ListAuditRecordsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(support.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn hashes_of_networks_are_forgotten_after_ninety_days_and_the_seals_stay_whole() {
    let world = World::start().await;
    world.sign_up(ALICE).await;
    let known = async |world: &World| -> i64 {
        let sql = "select count(ip_hmac) from identity.audit_record";
        sqlx::query_scalar(sql).fetch_one(&world.app.pool).await.unwrap()
    };
    assert!(known(&world).await > 0);
    sealed(&world).await;
    world.advance(TimeDelta::days(91));
    // The first look of a process comes at its start.
    let world = world.killed_and_restarted().await;
    testkit::eventually(DEADLINE, || async { (known(&world).await == 0).then_some(()) }).await;
    assert!(sealed(&world).await.faults.is_empty());
}

#[tokio::test]
async fn hashes_of_networks_are_forgotten_however_long_no_process_ran() {
    let world = World::start().await;
    // As if records had been written so many days ago; the newest one is not due yet.
    let sql = "insert into identity.audit_record
                   (audit_id, at, actor, action, subject, client_id, outcome, ip_hmac, detail)
               select identity.first_id_of(now() - day * interval '1 day'), now() - day * interval '1 day',
                      'system', 'aged', day::text, '', 'done', '\\x00'::bytea, '{}'::jsonb
               from unnest(array[10, 91, 100, 400, 2000]) day";
    sqlx::query(sql).execute(&world.app.pool).await.unwrap();
    let known = async |world: &World| -> Vec<String> {
        let sql = "select subject
                   from identity.audit_record
                   where action = 'aged' and ip_hmac is not null
                   order by audit_id";
        sqlx::query_scalar(sql).fetch_all(&world.app.pool).await.unwrap()
    };
    assert_eq!(known(&world).await, ["2000", "400", "100", "91", "10"]);
    // The first look of a process comes at its start.
    let world = world.killed_and_restarted().await;
    testkit::eventually(DEADLINE, || async { (known(&world).await == ["10"]).then_some(()) }).await;
    world.advance(TimeDelta::days(300));
    let world = world.killed_and_restarted().await;
    testkit::eventually(DEADLINE, || async { known(&world).await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn what_the_bootstrap_file_gives_stands_in_the_audit_once() {
    let world = World::start().await;
    world.sign_up(Person { email: STAFF, ..ALICE }).await;
    let world = world.killed_and_restarted().await;
    for (action, number) in [("bootstrap_client", 1), ("grant_staff_scope", 1)] {
        let request = ListAuditRecordsRequest {
            page_size: 200,
            action: action.to_owned(),
            ..ListAuditRecordsRequest::default()
        };
        let (mut found, _) = records(&world, request).await;
        found.retain(|record| action == "grant_staff_scope" || record.subject == "shop");
        assert_eq!(found.len(), number, "{found:?}");
        assert_eq!(found[0].actor, "system");
    }
}
