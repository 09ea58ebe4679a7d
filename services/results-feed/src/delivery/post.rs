use std::io::Write as _;

use bytes::Bytes;
use chassis::EgressError;
use domain::Uuid;
use flate2::{Compression, write::GzEncoder};
use tracing::Instrument as _;

use super::{Candidate, Courier, LaneName};
use crate::{
    Error,
    app::DeliveryKey,
    store::{self, RawDocument},
};

/// From this size on a document is packed beside the runtime.
const LARGE: usize = 256 << 10;

/// What became of one POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 200.
    Taken,
    /// It is no longer in the log.
    Gone,
    /// Another status.
    Refused(u16),
    /// No answer within 5 seconds.
    Unanswered,
    /// The address leads inside.
    Forbidden,
    /// We could not even try.
    NotTried,
}

impl Outcome {
    /// The name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Gone => "gone",
            Self::Refused(_) => "refused",
            Self::Unanswered => "unanswered",
            Self::Forbidden => "forbidden",
            Self::NotTried => "not_tried",
        }
    }

    /// Whether it is done with.
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Taken | Self::Gone)
    }
}

/// Where a document goes.
#[derive(Debug, Clone)]
pub struct Address {
    pub target_id: Uuid,
    pub url: String,
    pub key: DeliveryKey,
    pub stream_id: String,
    pub lane: LaneName,
}

/// Sends one document once. Neither the address nor the key is logged.
pub async fn post(courier: &Courier, to: &Address, candidate: &Candidate) -> Outcome {
    let found = match store::load_raw(courier.app.db(), &to.stream_id, candidate.version_seq).await {
        Ok(Some(found)) => found,
        Ok(None) => return Outcome::Gone,
        Err(error) => return not_tried(to, candidate.seq, &error),
    };
    let span = tracing::info_span!(
        "deliver", otel.name = "deliver document", otel.kind = "client", target_id = %to.target_id, lane = to.lane.name(),
        seq = candidate.seq, http.response.status_code = tracing::field::Empty,
    );
    outbox::trace::continue_rows(&span, found.traceparent.as_deref());
    send(courier, to, candidate.seq, found).instrument(span).await
}

async fn send(courier: &Courier, to: &Address, seq: i64, found: RawDocument) -> Outcome {
    let packed = match pack(found.raw).await {
        Ok(packed) => packed,
        Err(error) => return not_tried(to, seq, &error),
    };
    let headers =
        [("x-api-key", to.key.expose()), ("content-type", "application/xml"), ("content-encoding", "gzip")];
    match courier.egress.post(&to.url, &headers, packed).await {
        Ok(status) => {
            tracing::Span::current().record("http.response.status_code", status);
            if status == 200 { Outcome::Taken } else { Outcome::Refused(status) }
        }
        Err(EgressError::Refused) => Outcome::Forbidden,
        Err(EgressError::Failed(_) | EgressError::Unusable) => Outcome::Unanswered,
    }
}

fn not_tried(to: &Address, seq: i64, error: &Error) -> Outcome {
    tracing::warn!(error = error as &dyn std::error::Error, target_id = %to.target_id, seq, "document not read for delivery");
    Outcome::NotTried
}

async fn pack(raw: Vec<u8>) -> Result<Bytes, Error> {
    let gzip = |raw: &[u8]| -> std::io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::with_capacity(raw.len() / 4), Compression::fast());
        encoder.write_all(raw)?;
        encoder.finish()
    };
    let packed = if raw.len() < LARGE {
        gzip(&raw)
    } else {
        let packed = tokio::task::spawn_blocking(move || gzip(&raw)).await;
        packed.map_err(|_| Error::Unavailable("going down"))?
    };
    packed.map(Bytes::from).map_err(|_| Error::Unavailable("out of memory"))
}
