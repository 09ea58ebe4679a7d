//! A thousand edits of profiles, each followed from the call to the CRM's row.

use std::{collections::HashSet, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use domain::Service;
use e2e::{Channel, Suite, Walk};
use futures::future::try_join_all;
use proto::{
    crmsync::v1::{ListDeliveriesOfProfileRequest, ledger_service_client::LedgerServiceClient},
    profile::v1::{
        StringSet, TraitUpdate, TraitValue, UpdateProfileRequest,
        profile_service_client::ProfileServiceClient, trait_value::Kind,
    },
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    caller::Caller,
    chain::{self, Way},
    index::Index,
    over,
};

/// Edits.
const FLOWS: usize = 1_000;
/// As many of them as everybody waits for; one that lacks something fails these.
const FEW: usize = 100;
/// How long an edit may take to the CRM.
const DELIVERY: Duration = Duration::from_secs(20);
/// After the last one spans are still told, each second.
const PATIENCE: Duration = Duration::from_secs(15);
/// What nobody chose on a page: an answer of a person's own stands above a service's.
const TRAIT: &str = "favourite_paralympic_sports";
const SPORTS: [&str; 3] = ["ATH", "JUD", "SWM"];

const SERVICES: [Service; 6] = [
    Service::Identity,
    Service::Portal,
    Service::Profile,
    Service::Segmentation,
    Service::Mailer,
    Service::CrmSync,
];

type Ledger = LedgerServiceClient<Channel>;
type Ways = Vec<Result<Way, &'static str>>;

/// The four people change at the same time, so that a call to the CRM may serve several of them: it is in the trace of one
/// and linked to the others'.
#[tokio::test(flavor = "multi_thread")]
async fn edits_are_traced_to_the_crm() {
    follow("traces", FEW, 4, |way| way.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: a thousand changes; run by `make faults`"]
async fn a_thousand_edits_are_traced_to_the_crm() {
    follow("traces-many", FLOWS, 4, |way| way.is_ok()).await;
}

/// One after the other, so that nothing is shared.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: a thousand changes that wait for each other; run by `make faults`"]
async fn a_thousand_edits_are_each_one_trace_to_the_crm() {
    follow("traces-alone", FLOWS, 1, |way| *way == Ok(Way::Alone)).await;
}

/// At least 99.9 % are as wanted.
async fn follow(name: &str, flows: usize, at_once: usize, wanted: fn(&Result<Way, &'static str>) -> bool) {
    let ways = over(name, &SERVICES, &[], async |suite| go(suite, flows, at_once).await).await;
    let others: Vec<_> = ways.iter().filter(|way| !wanted(way)).collect();
    assert!(others.len() <= flows / 1_000, "of {flows} flows: {}", chain::told(others));
    assert!(ways.contains(&Ok(Way::Alone)), "no change went to the CRM by a call of its own");
}

async fn go(suite: &Suite, flows: usize, at_once: usize) -> Result<Ways> {
    let mut walk = Walk::begin(suite, &mut |_| {}).await?;
    let people = walk.connect_crm(&mut |_| {}).await?;
    ensure!(at_once <= people.len(), "only {} people change", people.len());
    let begun = Instant::now();
    let edits = people.iter().take(at_once).map(|person| edit_in_turn(&walk, person, flows / at_once));
    let callers: Vec<Caller> = try_join_all(edits).await?.concat();
    println!("{} edits came to the CRM in {:.1} s", callers.len(), begun.elapsed().as_secs_f32());
    let ended = Instant::now();
    loop {
        let ways = look(suite, &callers).await?;
        if ways.iter().all(Result::is_ok) || ended.elapsed() > PATIENCE {
            print(suite, &callers, &ways);
            return Ok(ways);
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// A person's edits, each once the last one is at the CRM.
async fn edit_in_turn(walk: &Walk<'_>, person: &str, times: usize) -> Result<Vec<Caller>> {
    let mut profiles = ProfileServiceClient::new(walk.portal_at_profile().await?);
    let mut ledger = LedgerServiceClient::new(walk.daniel.channel(walk.suite, Service::CrmSync)?);
    let mut callers = Vec::with_capacity(times);
    let mut known = delivered(&mut ledger, person).await?.context("the person is not at the CRM")?;
    for nth in 0..times {
        let caller = Caller::new();
        profiles.update_profile(caller.request(edit(person, nth))).await.context("an edit failed")?;
        let waited = timeout(DELIVERY, delivered_after(&mut ledger, person, &known)).await;
        known = waited.with_context(|| format!("edit {nth} of {person} does not come to the CRM"))??;
        callers.push(caller);
    }
    Ok(callers)
}

// Another choice of sports each time: 1 to 7 in binary.
fn edit(profile_id: &str, nth: usize) -> UpdateProfileRequest {
    let chosen = nth % 7 + 1;
    let sports = SPORTS.iter().enumerate().filter(|(bit, _)| chosen >> bit & 1 == 1);
    let values = sports.map(|(_, sport)| (*sport).to_owned()).collect();
    let value = TraitValue { kind: Some(Kind::Set(StringSet { values })) };
    UpdateProfileRequest {
        profile_id: profile_id.to_owned(),
        request_id: domain::new_id().to_string(),
        traits: vec![TraitUpdate { name: TRAIT.to_owned(), value: Some(value) }],
        ..UpdateProfileRequest::default()
    }
}

/// The newest decision about a person that the CRM has, as the ledger tells.
async fn delivered(ledger: &mut Ledger, person: &str) -> Result<Option<String>> {
    let request = ListDeliveriesOfProfileRequest { profile_id: person.to_owned(), page_size: 3 };
    let lines = ledger.list_deliveries_of_profile(request).await?.into_inner().deliveries;
    if let Some(failed) = lines.iter().find(|line| line.outcome == "failed") {
        bail!("the CRM does not take {failed:?}");
    }
    Ok(lines.into_iter().find(|line| line.outcome == "delivered").map(|line| line.decision_id))
}

async fn delivered_after(ledger: &mut Ledger, person: &str, known: &str) -> Result<String> {
    loop {
        if let Some(newest) = delivered(ledger, person).await?.filter(|newest| newest != known) {
            return Ok(newest);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn look(suite: &Suite, callers: &[Caller]) -> Result<Ways> {
    let calls = suite.crm().calls().await?;
    let carried = calls.into_iter().filter_map(|(_, traceparent)| traceparent);
    let taken: HashSet<(String, String)> = carried.filter_map(|traceparent| place(&traceparent)).collect();
    ensure!(!taken.is_empty(), "no call at the CRM carries a trace");
    Ok(suite.spans.look(|spans| {
        let index = Index::of(spans);
        callers.iter().map(|caller| chain::follow(caller, &index, &taken)).collect()
    }))
}

// Trace and span of a `traceparent`.
fn place(traceparent: &str) -> Option<(String, String)> {
    let mut parts = traceparent.split('-').skip(1).map(str::to_owned);
    Some((parts.next()?, parts.next()?))
}

/// How many there are of each, a whole trace, and the first that is not.
fn print(suite: &Suite, callers: &[Caller], ways: &Ways) {
    let whole: Vec<&Way> = ways.iter().flatten().collect();
    let lacking: Vec<&str> = ways.iter().filter_map(|way| way.err()).collect();
    println!("{} of {} are whole: {}", whole.len(), ways.len(), chain::told(whole));
    println!("{} lack something: {}", lacking.len(), chain::told(lacking));
    let first = |wanted: fn(&Result<Way, &'static str>) -> bool| ways.iter().position(wanted);
    for at in [first(|way| *way == Ok(Way::Alone)), first(Result::is_err)].into_iter().flatten() {
        println!("{:?}:\n{}", ways[at], suite.spans.tree(&callers[at].trace_id));
    }
}
