//! The sender of back-channel logout (OIDC Back-Channel Logout 1.0): tells clients of ended sessions until they know.

use std::time::Duration;

use chassis::Shutdown;
use domain::TimeDelta;
use serde_json::json;
use tokio::task::JoinSet;

use super::{App, egress::EgressError};
use crate::{
    error::Error,
    logout_delivery::{LogoutDelivery, Outcome},
    store, subject,
};

/// Life of a logout token.
const TOKEN_LIFE: TimeDelta = TimeDelta::minutes(2);
/// A process that dies leaves its deliveries to others after this time.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Calls under way at once; a lease takes up to half of them.
const MOST: usize = 64;
/// How often the ledger is looked at when nobody nudges.
const POLL: Duration = Duration::from_millis(500);

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl App {
    /// Sends until the process ends. A client that does not answer takes a place for five seconds, then its turn comes
    /// more and more seldom.
    pub async fn run_deliveries(self, shutdown: Shutdown) {
        let mut sending: JoinSet<()> = JoinSet::new();
        while !shutdown.is_soft() {
            let more = sending.len() <= MOST / 2 && self.lease_and_send(&mut sending).await;
            if more {
                continue;
            }
            let full = sending.len() > MOST / 2;
            tokio::select! {
                () = shutdown.soft() => {}
                () = self.nudges.logout.notified(), if !full => {}
                () = tokio::time::sleep(POLL), if !full => {}
                _ = sending.join_next(), if full => {}
            }
            // The finished ones make room.
            while sending.try_join_next().is_some() {}
        }
        // A call takes five seconds at most: better to know its answer than to make it twice.
        while sending.join_next().await.is_some() {}
    }

    // Whether there may be more at once.
    async fn lease_and_send(&self, sending: &mut JoinSet<()>) -> bool {
        let now = self.now();
        let due = match store::delivery::lease(&self.db, now + LEASE, now).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "logout deliveries could not be read"
                );
                return false;
            }
        };
        let more = !due.is_empty();
        for delivery in due {
            let app = self.clone();
            sending.spawn(async move {
                if let Err(error) = app.deliver(&delivery).await {
                    let (error, id): (&dyn std::error::Error, _) = (&error, delivery.delivery_id);
                    tracing::warn!(error, delivery_id = %id, "logout delivery was not settled");
                }
            });
        }
        more
    }

    async fn deliver(&self, delivery: &LogoutDelivery) -> Result<(), Error> {
        let client = self.client(&delivery.client_id).await?;
        let uri = client.as_ref().and_then(|client| client.backchannel_logout_uri.as_deref());
        let (Some(client), Some(uri)) = (&client, uri) else {
            // It is no client any more, or does not want to know.
            store::delivery::save(&self.db, delivery.delivery_id, "abandoned", 0, self.now()).await?;
            return Ok(());
        };
        let now = self.now().timestamp();
        let claims = json!({
            "iss": self.issuer(),
            "sub": subject::subject(self.keys(), client, delivery.user_id)?,
            "aud": delivery.client_id,
            "iat": now,
            "exp": now + TOKEN_LIFE.num_seconds(),
            "jti": delivery.delivery_id,
            "sid": delivery.sid,
            "events": { EVENT: {} },
        });
        self.need_key(client.id_token_alg).await?;
        let token = self.sign_as(client.id_token_alg, "logout+jwt", &claims)?;
        let status = match self.egress.post_form(uri, &[("logout_token", &token)]).await {
            Ok(status) => status,
            Err(error) => {
                // Without its source, which may name the address.
                let refused = matches!(error, EgressError::Refused);
                tracing::info!(client_id = %client, refused, %error, "logout was not delivered");
                0
            }
        };
        self.settle(delivery, status).await
    }

    async fn settle(&self, delivery: &LogoutDelivery, status: u16) -> Result<(), Error> {
        let now = self.now();
        let (state, next_at) = match delivery.answered(status, now) {
            Outcome::Delivered => ("delivered", now),
            Outcome::Retry(at) => ("pending", at),
            Outcome::Abandoned => ("abandoned", now),
        };
        store::delivery::save(&self.db, delivery.delivery_id, state, status, next_at).await?;
        let (delivery_id, client_id) = (delivery.delivery_id, &delivery.client_id);
        tracing::info!(%delivery_id, client_id, state, status, attempts = delivery.attempts + 1, "logout delivery tried");
        Ok(())
    }
}
