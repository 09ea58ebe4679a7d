use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use chassis::Metrics;

/// On what a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Server-sent events.
    Events,
    /// WebSocket.
    Socket,
    /// gRPC.
    Grpc,
}

const CARRIERS: [(Carrier, &str); 3] =
    [(Carrier::Events, "sse"), (Carrier::Socket, "websocket"), (Carrier::Grpc, "grpc")];
/// Upper bounds of the lag in milliseconds, and how they are labelled in seconds.
const LAGS: [(i64, &str); 8] = [
    (20, "0.02"),
    (60, "0.06"),
    (150, "0.15"),
    (300, "0.3"),
    (500, "0.5"),
    (1_000, "1"),
    (5_000, "5"),
    (i64::MAX, "+Inf"),
];

/// What operators see of the feed, counted where it happens and told now and then: a connection must not wait for a label.
#[derive(Debug, Default)]
pub struct Figures {
    carriers: [CarrierFigures; 3],
    lags: [AtomicU64; LAGS.len()],
    conflated: AtomicU64,
    gap: AtomicU64,
    heard: AtomicU64,
    epochs: AtomicU64,
}

#[derive(Debug, Default)]
struct CarrierFigures {
    connections: AtomicI64,
    frames: AtomicU64,
    bytes: AtomicU64,
}

/// An open connection, counted until it is dropped.
#[derive(Debug)]
pub struct Counted(std::sync::Arc<Figures>, Carrier);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.of(self.1).connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Figures {
    fn of(&self, carrier: Carrier) -> &CarrierFigures {
        let [events, socket, grpc] = &self.carriers;
        match carrier {
            Carrier::Events => events,
            Carrier::Socket => socket,
            Carrier::Grpc => grpc,
        }
    }

    /// A connection is open as long as what this gives.
    #[must_use]
    pub fn open(self: &std::sync::Arc<Self>, carrier: Carrier) -> Counted {
        self.of(carrier).connections.fetch_add(1, Ordering::Relaxed);
        Counted(std::sync::Arc::clone(self), carrier)
    }

    /// Frames were written.
    pub fn wrote(&self, carrier: Carrier, frames: usize, bytes: usize) {
        let counts = self.of(carrier);
        counts.frames.fetch_add(frames as u64, Ordering::Relaxed);
        counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A document went out so long after it came.
    pub fn lagged(&self, milliseconds: i64) {
        let bucket = LAGS.iter().position(|(bound, _)| milliseconds <= *bound);
        if let Some(count) = bucket.and_then(|bucket| self.lags.get(bucket)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Versions were left out for a late reader.
    pub fn conflated(&self, versions: u32) {
        self.conflated.fetch_add(u64::from(versions), Ordering::Relaxed);
    }

    /// The log had to give entries that came in no other way.
    pub fn filled(&self, entries: i64) {
        self.gap.fetch_add(entries.unsigned_abs(), Ordering::Relaxed);
    }

    /// Kafka told of entries before anybody else.
    pub fn heard(&self, entries: i64) {
        self.heard.fetch_add(entries.unsigned_abs(), Ordering::Relaxed);
    }

    /// Committed entries were lost.
    pub fn began_epoch(&self) {
        self.epochs.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells what was counted since the last time.
    pub fn tell(&self, metrics: &Metrics) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        for (carrier, name) in CARRIERS {
            let (counts, labels) = (self.of(carrier), [("carrier", name)]);
            let open = u32::try_from(counts.connections.load(Ordering::Relaxed)).unwrap_or_default();
            metrics.set("results_feed_connections", "Open feed connections", &labels, f64::from(open));
            metrics.add("results_feed_frames", "Frames written", &labels, take(&counts.frames));
            metrics.add("results_feed_bytes", "Bytes of frames written", &labels, take(&counts.bytes));
        }
        for ((_, bound), count) in LAGS.iter().zip(&self.lags) {
            let labels = [("up_to", *bound)];
            metrics.add(
                "results_feed_lag",
                "Frames by the seconds from receipt to sending",
                &labels,
                take(count),
            );
        }
        metrics.add(
            "results_feed_conflated",
            "Versions left out for late readers",
            &[],
            take(&self.conflated),
        );
        metrics.add("results_feed_gap", "Entries that only the log gave", &[], take(&self.gap));
        metrics.add("results_feed_heard", "Entries that Kafka told of first", &[], take(&self.heard));
        metrics.add("results_feed_epochs", "Times that committed entries were lost", &[], take(&self.epochs));
    }

    /// Tells how old what the process knows of a stream is, how many topics it has, and what their rings hold.
    pub fn tell_stream(metrics: &Metrics, stream: &str, age: Option<Duration>, topics: usize) {
        let labels = [("stream", stream)];
        if let Some(age) = age {
            metrics.set(
                "results_feed_age_seconds",
                "Age of what this process knows of the stream",
                &labels,
                age.as_secs_f64(),
            );
        }
        let topics = u32::try_from(topics).unwrap_or(u32::MAX);
        metrics.set("results_feed_topics", "Sets of readers that share frames", &labels, f64::from(topics));
    }
}
