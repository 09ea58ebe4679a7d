use aws_lc_rs::digest::{Context, SHA256};
use chassis::Actor;
use domain::{DateTime, Service, Utc, Uuid};

use super::{
    App, Outlet, Request,
    judge::{Fate, Judged},
};
use crate::{
    Error, events,
    run::{Counts, Plan, Run, Stale, State},
    store,
};

/// People of a page.
const PAGE: i64 = 2_000;

impl App {
    /// Looks at everybody without sending, and keeps what it found as a planned run.
    pub async fn create_plan(
        &self,
        actor: &Actor,
        request: Request,
        destination_id: Uuid,
    ) -> Result<Run, Error> {
        let outlet = self.outlet(destination_id).await?;
        if outlet.agreement.is_none() {
            return Err(Error::Missing("agreement"));
        }
        let now = self.clock().now();
        let (plan, last_ordinal) = self.look(&outlet, now).await?;
        let run = Run {
            run_id: domain::new_id(),
            destination_id,
            object_id: outlet.object().object_id,
            state: State::Planned,
            plan,
            counts: Counts::default(),
            cursor: 1,
            last_ordinal,
            created_at: now,
            ended_at: None,
            failure: None,
            traceparent: None,
        };
        let mut tx = chassis::begin(self.db()).await?;
        let made =
            store::claim_request(&mut tx, request.request_id, request.body_sha256, run.run_id, now).await?;
        if let Some(run_id) = made {
            drop(tx);
            return self.get_run(run_id).await;
        }
        store::insert_run(&mut tx, &run, &actor.subject).await?;
        outbox::append(&mut tx, Service::CrmSync, &events::run_changed(&run, now)).await?;
        tx.commit().await?;
        Ok(run)
    }

    async fn look(&self, outlet: &Outlet, cutoff: DateTime<Utc>) -> Result<(Plan, i64), Error> {
        let last = store::last_ordinal(self.db()).await?;
        let agreement = outlet.agreement.as_ref().ok_or(Error::Missing("agreement"))?;
        let mut plan = Plan {
            cutoff,
            agreement_id: agreement.claims.agreement_id,
            mapping_version_id: outlet.mapping_version_id,
            ..Plan::default()
        };
        let mut digest = Context::new(&SHA256);
        digest.update(&agreement.sha256);
        digest.update(outlet.mapping.sha256());
        digest.update(&cutoff.timestamp_micros().to_be_bytes());
        let mut from = 1;
        while from <= last {
            let people = store::page(self.db(), from, last, PAGE).await?;
            let Some(end) = people.last().map(|person| person.ordinal) else { break };
            let ids: Vec<Uuid> = people.iter().map(|person| person.profile_id.0).collect();
            let shadows = store::load_shadows(self.db(), outlet.object().object_id, &ids).await?;
            for person in &people {
                let judged = outlet.judge(person, shadows.get(&person.profile_id), cutoff, false)?;
                digest.update(&judged.decision.decision_id);
                digest.update(&judged.decision.row.as_ref().map_or([0; 16], |row| row.hash));
                count(&mut plan, outlet, &judged);
            }
            from = end + 1;
        }
        plan.hash = events::hex(digest.finish().as_ref());
        Ok((plan, last))
    }

    /// Starts to send a plan that was seen, and that still holds.
    pub async fn apply_plan(&self, actor: &Actor, run_id: Uuid, hash: &str) -> Result<Run, Error> {
        let now = self.clock().now();
        let object_id = self.get_run(run_id).await?.object_id;
        let mut tx = chassis::begin(self.db()).await?;
        let destination =
            store::lock_object(&mut tx, object_id).await?.ok_or(Error::NotFound("destination"))?;
        let mut run = store::lock_run(&mut tx, run_id).await?.ok_or(Error::NotFound("run"))?;
        let object = &destination.object;
        let started = run.apply(hash, object.agreement_id, object.mapping_version_id, now).map_err(stale)?;
        if !started {
            return Ok(run);
        }
        if destination.state != crate::destination::State::Active {
            return Err(Error::State { what: "destination", state: destination.state.name() });
        }
        run.traceparent = outbox::trace::traceparent();
        store::save_run(&mut tx, &run, Some(&actor.subject)).await?;
        outbox::append(&mut tx, Service::CrmSync, &events::run_changed(&run, now)).await?;
        tx.commit().await?;
        self.ring();
        Ok(run)
    }
}

fn stale(stale: Stale) -> Error {
    match stale {
        Stale::State(state) => Error::State { what: "run", state: state.name() },
        other => Error::PlanStale(other.why()),
    }
}

fn count(plan: &mut Plan, outlet: &Outlet, judged: &Judged) {
    let decision = &judged.decision;
    let reason = decision.verdict.reason().map(|reason| reason.code().to_owned()).unwrap_or_default();
    plan.people += 1;
    match &judged.fate {
        Fate::Create => plan.creates += 1,
        Fate::Change => plan.changes += 1,
        Fate::Unchanged => plan.unchanged += 1,
        Fate::Withheld => *plan.withheld.entry(reason).or_default() += 1,
        Fate::Cease => *plan.ceased.entry(reason).or_default() += 1,
        Fate::Unfit(unfit) => *plan.unfit.entry(unfit.code.to_owned()).or_default() += 1,
    }
    for (mask, counts) in [(decision.sent(), &mut plan.sent), (decision.cleared(), &mut plan.cleared)] {
        for name in outlet.mapping.names(mask) {
            *counts.entry(name).or_default() += 1;
        }
    }
}
