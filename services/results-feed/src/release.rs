//! Tasks about rights: they end embargoes, and forget old decisions.

use std::time::Duration;

use chassis::Coded as _;
use tracing::Instrument as _;

use crate::{app::App, stream_name::StreamName};

/// How often a stream is asked for embargoes that are over. An embargo ends for open connections within a second.
const PACE: Duration = Duration::from_millis(200);
/// How often old decisions are forgotten.
const SWEEP_PACE: Duration = Duration::from_secs(600);

/// Ends the embargoes of a stream, on every replica: the stream's row decides who does.
pub async fn end_embargoes(app: App, stream: StreamName, shutdown: chassis::Shutdown) {
    let mut backoff = chassis::Backoff::new(PACE, Duration::from_secs(5));
    loop {
        let pause = match app.release(stream).in_current_span().await {
            Ok(true) => Duration::ZERO,
            Ok(false) => {
                backoff = chassis::Backoff::new(PACE, Duration::from_secs(5));
                PACE
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, %stream, "embargoes not ended");
                backoff.next()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.soft() => return,
        }
    }
}

/// Forgets decisions that were kept long enough.
pub async fn forget_decisions(app: App, shutdown: chassis::Shutdown) {
    loop {
        let pause = match app.forget_decisions().await {
            Ok(true) => Duration::from_secs(1),
            Ok(false) => SWEEP_PACE,
            Err(error) => {
                tracing::warn!(code = ?error.code(), reason = error.reason(), "old decisions not forgotten");
                SWEEP_PACE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.soft() => return,
        }
    }
}
