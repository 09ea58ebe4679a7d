use std::time::Duration;

use chassis::Coded;
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument as _, Span};

use crate::{
    Error,
    app::App,
    document_type::FeedFlag,
    ledger::{Receipt, Submission},
};

/// Most documents of a transaction.
const BATCH: usize = 256;
/// Requests that a batch's span names.
const LINKS: usize = 128;
/// How often a batch is tried again after a serialisation failure or a lost connection.
const TRIES: u32 = 3;

/// A document that waits for its commit. Dropping `reply` unanswered means "not durable": the sender comes again.
#[derive(Debug)]
pub struct Ticket {
    /// The document.
    pub submission: Submission,
    /// Where its receipt goes.
    pub reply: oneshot::Sender<Receipt>,
}

/// Writes a stream: what came in during one commit is the next batch. No timer: a lone document waits for nobody.
pub async fn write(
    app: App,
    feed_flag: FeedFlag,
    mut queue: mpsc::Receiver<Ticket>,
    shutdown: chassis::Shutdown,
) {
    let mut tickets = Vec::with_capacity(BATCH);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            // Closed for new ones; what waits already is still written.
            () = shutdown.soft(), if is_open => {
                is_open = false;
                queue.close();
            }
            received = queue.recv_many(&mut tickets, BATCH) => {
                if received == 0 {
                    break;
                }
                write_batch(&app, feed_flag, &mut tickets).await;
            }
        }
    }
}

async fn write_batch(app: &App, feed_flag: FeedFlag, tickets: &mut Vec<Ticket>) {
    let (submissions, replies): (Vec<Submission>, Vec<oneshot::Sender<Receipt>>) =
        tickets.drain(..).map(|ticket| (ticket.submission, ticket.reply)).unzip();
    match append(app, feed_flag, &submissions).await {
        Ok(receipts) => {
            for (receipt, reply) in receipts.into_iter().zip(replies) {
                // A sender that went away comes again and is told "duplicate".
                let _ = reply.send(receipt);
            }
        }
        // One document must not keep its neighbours out.
        Err(error) if submissions.len() > 1 && error.code() != chassis::Code::Unavailable => {
            for (submission, reply) in submissions.iter().zip(replies) {
                if let Ok(mut receipts) = append(app, feed_flag, std::slice::from_ref(submission)).await
                    && let Some(receipt) = receipts.pop()
                {
                    let _ = reply.send(receipt);
                }
            }
        }
        Err(_) => {}
    }
}

async fn append(app: &App, feed_flag: FeedFlag, submissions: &[Submission]) -> Result<Vec<Receipt>, Error> {
    append_with_patience(app, feed_flag, submissions).instrument(batch_span(submissions)).await
}

// In the trace of the first request, and linked to the others: one transaction serves them all. What is about one document
// alone, as its facts, is in that request's own trace.
fn batch_span(submissions: &[Submission]) -> Span {
    let first = submissions.first().map_or_else(Span::none, |submission| submission.span.clone());
    let documents = submissions.len();
    let span = tracing::info_span!(parent: &first, "write", otel.name = "write documents", documents);
    for submission in submissions.iter().skip(1).take(LINKS) {
        span.follows_from(&submission.span);
    }
    span
}

async fn append_with_patience(
    app: &App,
    feed_flag: FeedFlag,
    submissions: &[Submission],
) -> Result<Vec<Receipt>, Error> {
    let mut backoff = chassis::Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
    let mut tries = 1;
    loop {
        match app.append(feed_flag, submissions).await {
            Ok(receipts) => return Ok(receipts),
            Err(Error::Database(error)) if tries < TRIES && chassis::is_retryable(&error) => {
                tries += 1;
                tokio::time::sleep(backoff.next()).await;
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    documents = submissions.len(),
                    "documents not stored"
                );
                return Err(error);
            }
        }
    }
}
