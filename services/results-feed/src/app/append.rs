use std::{collections::HashMap, sync::Arc};

use domain::{DateTime, Service, Utc, Uuid};
use sqlx::PgTransaction;
use tracing::Instrument;

use super::{App, publish::sha256, rehearsal::Progress};
use crate::{
    Error,
    document_type::FeedFlag,
    entry::{Change, Edition, Entry, LARGEST_BODY, What, Withdrawal},
    events,
    header::DocumentKey,
    ledger::{Kind, Ledger, Receipt, Row, Submission},
    store,
    stream_name::StreamName,
};

impl App {
    /// Takes a batch into a stream in one transaction, and gives a receipt for each. What it committed goes to the
    /// readers of this process at once.
    pub async fn append(&self, feed_flag: FeedFlag, batch: &[Submission]) -> Result<Vec<Receipt>, Error> {
        self.append_with(feed_flag.into(), batch, None).await
    }

    /// As [`App::append`], and moves a replay on in the same transaction.
    pub(super) async fn append_with(
        &self,
        stream_name: StreamName,
        batch: &[Submission],
        progress: Option<Progress>,
    ) -> Result<Vec<Receipt>, Error> {
        let now = self.clock.now();
        let hub = self.hub(stream_name);
        let stream_id = hub.stream_id();
        let mut tx = chassis::begin(&self.db).await?;
        let stream = store::lock_stream(&mut tx, stream_id).await?;
        let keys: Vec<&DocumentKey> = batch.iter().map(|submission| &submission.decoded.header.key).collect();
        let mut ledger = Ledger::new(stream.seq, store::load_heads(&mut tx, stream_id, &keys).await?, now);
        let receipts: Vec<Receipt> =
            batch.iter().map(|submission| ledger.take(submission, domain::new_id())).collect();
        keep_conflicts(&mut tx, batch, &receipts, now).await?;
        keep_serials(&mut tx, stream_id, batch, now).await?;
        let (seq, heads, rows) = ledger.finish();
        let handles = store::save_heads(&mut tx, stream_id, &heads).await?;
        let until = store::released_until(&mut tx, stream_id).await?.ok_or(Error::NotFound("stream"))?;
        store::insert_rows(&mut tx, stream_id, &rows, self.log.packing, now, until).await?;
        store::save_seq(&mut tx, stream_id, seq).await?;
        self.keep_days(&mut tx, stream_id, &rows, now).await?;
        self.hold_back(&mut tx, stream_name, &rows, until.max(now)).await?;
        for row in &rows {
            let handle = handles.get(&row.document_id).copied().unwrap_or_default();
            let epoch = stream.epoch.as_str();
            let place =
                events::Place { name: stream_name, stream: stream_id, epoch, handle, released_until: until };
            let fact = events::document_entry(&place, row, now);
            outbox::append(&mut tx, Service::ResultsFeed, &fact).instrument(row.span.clone()).await?;
            // Test documents reach no one who acts on results.
            if stream_name == StreamName::Production {
                self.follow(&mut tx, stream_id, row, now).instrument(row.span.clone()).await?;
            }
        }
        if let Some(progress) = progress {
            progress.save(&mut tx).await?;
        }
        tx.commit().await?;
        let entries: Vec<Arc<Entry>> =
            rows.into_iter().map(|row| Arc::new(entry(row, &handles, now, until))).collect();
        let _ = hub.append(&stream.epoch, entries);
        Ok(receipts)
    }
}

// Whatever became of the message: its number came.
async fn keep_serials(
    tx: &mut PgTransaction<'_>,
    stream_id: &str,
    batch: &[Submission],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let serial_of = |submission: &Submission| {
        let header = &submission.decoded.header;
        let (source, logical_date) = (header.source.clone(), header.logical_date);
        header.serial.map(|serial| store::Serial { source, logical_date, serial })
    };
    let serials: Vec<store::Serial> = batch.iter().filter_map(serial_of).collect();
    if serials.is_empty() { Ok(()) } else { store::insert_serials(tx, stream_id, &serials, now).await }
}

async fn keep_conflicts(
    tx: &mut PgTransaction<'_>,
    batch: &[Submission],
    receipts: &[Receipt],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for (submission, receipt) in batch.iter().zip(receipts) {
        if let Receipt::Quarantined(reason) = receipt {
            let (raw, reason) = (&submission.raw, reason.to_string());
            store::insert_quarantined(&mut **tx, &reason, &submission.publisher, raw, &sha256(raw), now)
                .await?;
            tracing::warn!(parent: &submission.span, %reason, key = %submission.decoded.header.key, "document quarantined");
        }
    }
    Ok(())
}

fn entry(
    row: Row,
    handles: &HashMap<Uuid, i64>,
    received_at: DateTime<Utc>,
    released_until: DateTime<Utc>,
) -> Entry {
    let handle = handles.get(&row.document_id).copied().unwrap_or_default();
    let traceparent = row.span.in_scope(outbox::trace::traceparent);
    let (key, document_type, base) = (row.key, row.document_type, row.base);
    let what = match (row.kind, row.canonical, row.sha256) {
        (Kind::Document, Some(body), Some(sha256)) => {
            let (version, status, seq) = (row.version, row.status, row.seq);
            let size = body.len();
            let body = Some(body).filter(|body| body.len() <= LARGEST_BODY);
            let facts = row.facts;
            let edition =
                Edition { handle, key, document_type, version, status, seq, body, size, sha256, facts };
            What::Edition(Change {
                edition: Arc::new(edition),
                base,
                patch: row.patch,
                conflatable: row.conflatable,
            })
        }
        (Kind::Invalidation, _, _) => What::Gone(Withdrawal { handle, key, document_type, base }),
        _ => What::Late,
    };
    Entry { seq: row.seq, received_at, released_until, what, traceparent }
}
