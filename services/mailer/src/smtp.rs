//! Our SMTP client: PIPELINING, SIZE, SMTPUTF8, STARTTLS, reused connections, bounded replies and times. It knows wire
//! forms and bytes, and nothing of campaigns.

mod connection;
pub mod content;
mod relay;
pub mod reply;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub use connection::{Broken, Connection, Envelope, Sent, Stage};
pub use relay::Relay;

/// A relay closes what stands idle for long; we do it first.
const IDLE: Duration = Duration::from_secs(15);

/// Connections to one relay that may be used again.
#[derive(Debug, Clone)]
pub struct Pool {
    relay: Arc<Relay>,
    idle: Arc<Mutex<VecDeque<(Connection, Instant)>>>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub fn new(relay: Relay) -> Self {
        Self { relay: Arc::new(relay), idle: Arc::default() }
    }

    /// An idle connection that is young enough, or a new one.
    ///
    /// # Errors
    /// The relay cannot be reached, or does not offer what its address demands.
    pub async fn take(&self) -> Result<Connection, Broken> {
        if let Some(connection) = self.idle() {
            return Ok(connection);
        }
        Connection::open(&self.relay).await
    }

    /// Gives a connection back for others, unless it has served its time.
    pub fn put(&self, connection: Connection) {
        if connection.is_reusable() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push_back((connection, Instant::now()));
        }
    }

    fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((connection, since)) = idle.pop_back() {
            if since.elapsed() < IDLE {
                return Some(connection);
            }
        }
        None
    }
}
