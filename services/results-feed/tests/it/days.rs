//! Venues that fall silent, days that close, and manifests that anybody can compute again.

use domain::TimeDelta;
use proto::results::v1::{
    GetManifestRequest, GetManifestResponse, ListVenueClocksRequest, feed_service_client::FeedServiceClient,
};
use testkit::{eventually, races::hundred_metres_final};
use tonic::Code;

use crate::world::{DEADLINE, World};

const DAY: &str = "2030-08-04";

/// A clock's or a day's document of that day.
fn said(document_type: &str, code: &str, version: u32) -> String {
    format!(
        r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="{code:-<34}" DocumentType="{document_type}" Version="{version}" FeedFlag="P" Date="{DAY}" Time="090000000" LogicalDate="{DAY}" Source="SYNATH1"><Competition Code="SYN2030"/></OdfBody>"#
    )
}

fn venue(discipline: &str, venue: &str) -> String {
    format!("{discipline:-<26}{venue}")
}

async fn take(world: &World, key: &str, document: String) {
    assert_eq!(world.post(key, document).await.outcome, "accepted");
}

async fn clocks(world: &World) -> Vec<(String, String)> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let told = feed.list_venue_clocks(ListVenueClocksRequest::default()).await.unwrap().into_inner();
    told.clocks
        .into_iter()
        .map(|clock| (format!("{} {}", clock.venue, clock.discipline), clock.state))
        .collect()
}

async fn manifest(world: &World, request: GetManifestRequest) -> Result<GetManifestResponse, Code> {
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    let request = GetManifestRequest { logical_date: DAY.to_owned(), ..request };
    feed.get_manifest(request).await.map(tonic::Response::into_inner).map_err(|status| status.code())
}

async fn revision(world: &World, number: u32) -> GetManifestResponse {
    let request = || GetManifestRequest { revision: number, page_size: 500, ..Default::default() };
    eventually(DEADLINE, async || manifest(world, request()).await.ok()).await
}

/// Lines of a manifest from the rows, in SQL and with PostgreSQL's own SHA-256: nothing of the service's is used.
pub async fn root_of_rows(world: &World, stream: &str, day: &str) -> (i64, String) {
    let sql = r#"
        with newest as (
            select distinct on (l.document_id) d.competition_code, d.document_code, d.document_subcode, d.document_type,
                d.document_subtype, d.language, l.version, coalesce(l.result_status, '') as result_status,
                case when l.kind = 'invalidation' then 'INVALIDATED' else encode(sha256(l.canonical), 'hex') end as hash
            from results.log l
            join results.document d using (document_id)
            where l.stream_id = $2 and l.logical_date = $1::text::date and l.kind in ('document', 'invalidation')
            order by l.document_id, l.seq desc
        ), line as (
            select newest.*, sha256('\x00'::bytea || convert_to(concat_ws(E'\t', competition_code, document_code,
                document_subcode, document_type, document_subtype, language, version, result_status, hash) || E'\n', 'UTF8')) as bytes
            from newest
        )
        select count(*), encode(sha256('\x01'::bytea || convert_to($1::text, 'UTF8') || string_agg(bytes, ''::bytea order by
            competition_code collate "C", document_code collate "C", document_subcode collate "C", document_type collate "C",
            document_subtype collate "C", language collate "C")), 'hex')
        from line"#;
    sqlx::query_as(sql).bind(day).bind(stream).fetch_one(&world.app.pool).await.unwrap()
}

#[tokio::test]
async fn a_venue_that_falls_silent_is_late_and_says_so_in_heartbeats() {
    let world = World::start_with(|_| {}, |config| config.ka_timeout = 1).await;
    let (_, key) = world.key("P", &[]).await;
    take(&world, &key, said("DT_LOCAL_ON", &venue("ATH", "STA"), 1)).await;
    take(&world, &key, said("DT_KA", &venue("SWM", "AQC"), 1)).await;
    let state = async || clocks(&world).await.into_iter().map(|(_, state)| state).collect::<Vec<_>>();
    assert_eq!(clocks(&world).await[0].0, "AQC SWM");
    assert_eq!(state().await, ["closed", "fresh"], "nobody opened the pool");
    world.app.clock.advance(TimeDelta::milliseconds(1_001));
    assert_eq!(state().await, ["closed", "late"]);
    world.app.clock.advance(TimeDelta::seconds(2));
    assert_eq!(state().await, ["closed", "stale"]);
    eventually(DEADLINE, async || {
        let stale = world.figure("results_venue_clocks{stream=\"P\",state=\"stale\"}").await;
        (stale > 0.5).then_some(())
    })
    .await;
    // The next sign of life ends it.
    take(&world, &key, said("DT_KA", &venue("ATH", "STA"), 1)).await;
    assert_eq!(state().await, ["closed", "fresh"]);
    take(&world, &key, said("DT_LOCAL_OFF", &venue("ATH", "STA"), 1)).await;
    world.app.clock.advance(TimeDelta::hours(1));
    assert_eq!(state().await, ["closed", "closed"]);
    world.app.stop().await;
}

#[tokio::test]
async fn a_closed_day_has_a_manifest_that_equals_a_computation_from_the_rows() {
    let world = World::with_plain_rows().await;
    let (_, key) = world.key("P", &[]).await;
    take(&world, &key, said("DT_GLOBAL_GM", "GLO", 1)).await;
    take(&world, &key, said("DT_LOCAL_ON", &venue("ATH", "STA"), 1)).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race).await;
    // Good night, while the venue is open: the day waits for it.
    take(&world, &key, said("DT_GLOBAL_GN", "GLO", 1)).await;
    assert_eq!(manifest(&world, GetManifestRequest::default()).await.unwrap_err(), Code::NotFound);
    take(&world, &key, said("DT_LOCAL_OFF", &venue("ATH", "STA"), 1)).await;
    let first = revision(&world, 1).await;
    let (documents, root) = root_of_rows(&world, "SYN2030-P", DAY).await;
    assert_eq!((i64::from(first.documents), first.root.as_str()), (documents, root.as_str()));
    assert_eq!(first.lines.len(), usize::try_from(documents).unwrap());

    // A correction of the night makes the second revision, and the first stays as it was.
    let correction = race[0].xml.replace("DT_SCHEDULE_UPDATE", "DT_WEATHER");
    take(&world, &key, correction).await;
    let second = revision(&world, 2).await;
    let (documents, root) = root_of_rows(&world, "SYN2030-P", DAY).await;
    assert_eq!((i64::from(second.documents), second.root.as_str()), (documents, root.as_str()));
    assert_eq!(revision(&world, 1).await.root, first.root);
    assert_eq!(manifest(&world, GetManifestRequest::default()).await.unwrap().revision, 2);
    assert_eq!(second.documents, first.documents + 1);

    // In pages; and what a reader may not see is there as a hash alone.
    let request = GetManifestRequest { page_size: 2, ..Default::default() };
    let (mut hashes, mut token) = (Vec::new(), String::new());
    loop {
        let page =
            manifest(&world, GetManifestRequest { page_token: token, ..request.clone() }).await.unwrap();
        hashes.extend(page.lines.iter().map(|line| line.hash.clone()));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(hashes, second.lines.iter().map(|line| line.hash.clone()).collect::<Vec<_>>());
    world.app.stop().await;
}

#[tokio::test]
async fn who_may_not_see_a_line_gets_its_hash() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let biography = said("DT_BIO_PAR", "1900000", 1).replace("1900000---------------------------", "1900000");
    take(&world, &key, biography).await;
    take(&world, &key, said("DT_GLOBAL_GN", "GLO", 1)).await;
    let told = revision(&world, 1).await;
    let seen: Vec<Option<&str>> =
        told.lines.iter().map(|line| line.key.as_ref().map(|key| key.document_type.as_str())).collect();
    assert_eq!(seen, [None, Some("DT_GLOBAL_GN")]);
    assert_eq!(told.lines[0].hash.len(), 64);
    assert_eq!((told.lines[0].handle, told.lines[0].sha256.as_str()), (0, ""));
    world.app.stop().await;
}

#[tokio::test]
async fn a_wrong_day_is_named() {
    let world = World::start().await;
    let mut feed = FeedServiceClient::new(world.app.grpc(&["results.subscribe"]));
    for wrong in ["", "yesterday", "2030-13-01", "2030-8-4", "2030-08-04 "] {
        let request = GetManifestRequest { logical_date: wrong.to_owned(), ..Default::default() };
        assert_eq!(feed.get_manifest(request).await.unwrap_err().code(), Code::InvalidArgument, "{wrong}");
    }
    world.app.stop().await;
}
