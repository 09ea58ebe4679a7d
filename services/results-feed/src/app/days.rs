use std::time::Duration;

use domain::{DateTime, NaiveDate, Utc};
use sqlx::PgTransaction;

use super::App;
use crate::{
    Error,
    document_type::FeedFlag,
    entitlement::{Facts, Rights, Subject},
    frame::Stale,
    ledger::{Kind, Row},
    logical_day::LogicalDay,
    manifest::{self, Line, Manifest},
    store::{self, Position},
    stream_name::StreamName,
    venue_clock::{Freshness, Sign, VenueClock},
};

/// A page of a manifest.
#[derive(Debug, Clone)]
pub struct ManifestPage {
    /// Its head.
    pub manifest: Manifest,
    /// Lines in the order of their keys, each with whether the reader may see it.
    pub lines: Vec<(Line, bool)>,
    /// Line behind which the next page begins.
    pub next: Option<usize>,
}

impl App {
    /// What entries say of venues and days.
    pub(super) async fn keep_days(
        &self,
        tx: &mut PgTransaction<'_>,
        stream_id: &str,
        rows: &[Row],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let is_said = |row: &&Row| row.kind == Kind::Document && says_of_day(row);
        for row in rows.iter().filter(is_said) {
            if let Some((venue, discipline, sign)) = Sign::of(&row.key, row.document_type) {
                let clocks = store::list_clocks(&mut **tx, stream_id).await?;
                let known =
                    clocks.iter().find(|clock| clock.venue == venue && clock.discipline == discipline);
                let clock = VenueClock::after(known, &venue, &discipline, sign, now);
                store::save_clock(tx, stream_id, &clock).await?;
            }
            if row.document_type.name() != "DT_KA" {
                keep_day(tx, stream_id, row, now).await?;
            }
        }
        Ok(())
    }

    /// The clocks that a reader may see, and how long a keep-alive may be out.
    pub async fn list_venue_clocks(
        &self,
        rights: &Rights,
        stream: StreamName,
    ) -> Result<Vec<VenueClock>, Error> {
        let Ok(document_type) = "DT_LOCAL_ON".parse() else { return Ok(Vec::new()) };
        let feed_flag = stream.feed_flag();
        let mut clocks = store::list_clocks(&self.db, self.hub(stream).stream_id()).await?;
        clocks.retain(|clock| {
            let facts = &Facts::plain(clock.heard_at);
            rights.permit(&Subject { code: &clock.code(), document_type, status: None, feed_flag, facts })
        });
        Ok(clocks)
    }

    /// How long a keep-alive may be out.
    #[must_use]
    pub const fn ka_timeout(&self) -> Duration {
        self.ka_timeout
    }

    /// Tells readers and operators which venues' data is late, and makes the manifests that are due.
    pub async fn look_at_days(&self, stream: StreamName) -> Result<(), Error> {
        let hub = self.hub(stream);
        let (now, clocks) = (self.clock.now(), store::list_clocks(&self.db, hub.stream_id()).await?);
        let freshness = |clock: &VenueClock| clock.freshness(now, self.ka_timeout);
        let late = clocks.iter().filter(|clock| freshness(clock) > Freshness::Fresh).map(|clock| Stale {
            venue: clock.venue.clone(),
            discipline: clock.discipline.clone(),
            age_seconds: u32::try_from(clock.age(now).as_secs()).unwrap_or(u32::MAX),
        });
        hub.set_stale(late.collect::<Vec<_>>().into());
        let name = stream.to_string();
        for state in Freshness::ALL {
            let count = clocks.iter().filter(|clock| freshness(clock) == state).count();
            let labels = [("stream", name.as_str()), ("state", state.name())];
            let help = "Venues and disciplines, by how fresh their data is";
            self.metrics.set(
                "results_venue_clocks",
                help,
                &labels,
                f64::from(u32::try_from(count).unwrap_or(u32::MAX)),
            );
        }
        let open = clocks.iter().filter(|clock| clock.is_open).map(|clock| clock.age(now));
        let age = open.max().unwrap_or_default().as_secs_f64();
        let help = "Since the open venue that is silent for longest was heard of";
        self.metrics.set("results_venue_age_seconds", help, &[("stream", &name)], age);
        self.make_manifests(stream).await
    }

    async fn make_manifests(&self, stream: StreamName) -> Result<(), Error> {
        let stream_id = self.hub(stream).stream_id();
        for (logical_date, revision) in store::list_due(&self.db, stream_id).await? {
            self.make_manifest(stream, logical_date, revision + 1).await?;
        }
        Ok(())
    }

    #[tracing::instrument(name = "make manifest", skip_all, fields(%logical_date, revision))]
    async fn make_manifest(
        &self,
        stream: StreamName,
        logical_date: NaiveDate,
        revision: i32,
    ) -> Result<(), Error> {
        let stream_id = self.hub(stream).stream_id();
        // Before the lines: what comes in between is in the next revision.
        let Position { epoch, seq: up_to_seq } = self.stored_position(stream).await?;
        let lines = self.day_lines(stream_id, logical_date, up_to_seq).await?;
        let hashes: Vec<_> = lines.iter().map(Line::hash).collect();
        let made = Manifest {
            logical_date,
            revision,
            documents: i32::try_from(lines.len()).unwrap_or(i32::MAX),
            root: manifest::root(logical_date, &hashes),
            up_to_seq,
            made_at: self.clock.now(),
        };
        if store::insert_manifest(&self.db, stream_id, &epoch, &made).await? {
            let documents = made.documents;
            tracing::info!(stream = stream_id, %logical_date, revision, documents, "manifest made");
        }
        Ok(())
    }

    async fn day_lines(
        &self,
        stream_id: &str,
        logical_date: NaiveDate,
        up_to_seq: i64,
    ) -> Result<Vec<Line>, Error> {
        let mut lines = store::list_day(&self.db, stream_id, logical_date, up_to_seq).await?;
        manifest::sort(&mut lines);
        Ok(lines)
    }

    /// A page of a day's manifest behind a line, of a revision or the newest.
    pub async fn get_manifest(
        &self,
        rights: &Rights,
        stream: StreamName,
        (logical_date, revision): (NaiveDate, Option<i32>),
        (after, limit): (usize, usize),
    ) -> Result<ManifestPage, Error> {
        let stream_id = self.hub(stream).stream_id();
        let found = store::find_manifest(&self.db, stream_id, logical_date, revision).await?;
        let manifest = found.ok_or(Error::NotFound("manifest"))?;
        let lines = self.day_lines(stream_id, logical_date, manifest.up_to_seq).await?;
        let is_last = lines.len() <= after.saturating_add(limit);
        let page = lines.into_iter().skip(after).take(limit);
        let lines = page.map(|line| (may_see(rights, stream.feed_flag(), &line), line));
        let lines = lines.map(|(may_see, line)| (line, may_see)).collect();
        Ok(ManifestPage { manifest, lines, next: (!is_last).then_some(after + limit) })
    }
}

fn may_see(rights: &Rights, feed_flag: FeedFlag, line: &Line) -> bool {
    let (code, document_type, status) = (line.key.document_code.as_str(), line.document_type, line.status);
    rights.permit(&Subject { code, document_type, status, feed_flag, facts: &line.facts })
}

fn says_of_day(row: &Row) -> bool {
    matches!(
        row.document_type.name(),
        "DT_KA" | "DT_LOCAL_ON" | "DT_LOCAL_OFF" | "DT_GLOBAL_GM" | "DT_GLOBAL_GN"
    )
}

async fn keep_day(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    row: &Row,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let clocks = store::list_clocks(&mut **tx, stream_id).await?;
    let open = clocks.iter().filter(|clock| clock.is_open).count();
    let mut known = store::list_closing(tx, stream_id).await?;
    known.retain(|day| day.date != row.logical_date);
    let own = store::load_day(tx, stream_id, row.logical_date).await?;
    let changed = LogicalDay::after(own, row.logical_date, row.document_type, open);
    // The last LOCAL_OFF of a long night closes the day before, too.
    let others = known
        .into_iter()
        .filter(|_| row.document_type.name() == "DT_LOCAL_OFF")
        .filter_map(|day| LogicalDay::after(Some(day), day.date, row.document_type, open));
    for day in changed.into_iter().chain(others) {
        store::save_day(tx, stream_id, day, row.seq, now).await?;
        tracing::info!(stream = stream_id, day = %day.date, state = day.state.name(), "logical day changed");
    }
    Ok(())
}

/// Looks at days each second, until the process goes down.
pub async fn keep(app: App, stream: StreamName, shutdown: chassis::Shutdown) {
    let mut backoff = chassis::Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let pause = match app.look_at_days(stream).await {
            Ok(()) => {
                backoff = chassis::Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
                Duration::from_secs(1)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "days not looked at");
                backoff.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.soft() => return,
        }
    }
}
