use std::time::Duration;

use super::Courier;
use crate::{Error, store::DeliverySession};

/// A database that says nothing for so long has lost us: another replica may drive our targets.
const SILENCE: Duration = Duration::from_secs(3);

/// A session of its own, whose locks say which targets this replica drives.
pub async fn open(courier: &Courier) -> Result<DeliverySession, Error> {
    within(DeliverySession::open(courier.app.db())).await
}

/// An answer of the database in time.
pub async fn within<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(SILENCE, answer).await.map_err(|_| Error::Unavailable("the database is silent"))?
}
