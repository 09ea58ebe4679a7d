//! The sender of back-channel logout (OIDC Back-Channel Logout 1.0): tells clients of ended sessions until they know.
//! Each relying party has places of its own and a circuit, so that a dead one delays nobody else.

use std::time::Duration;

use chassis::{EgressError, Shutdown};
use domain::TimeDelta;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use super::App;
use crate::{
    circuit::Circuits,
    error::Error,
    logout_delivery::{LogoutDelivery, Outcome},
    store::{self, delivery::Settled},
    subject,
};

/// Life of a logout token.
const TOKEN_LIFE: TimeDelta = TimeDelta::minutes(2);
/// A process that dies leaves its deliveries to others after this time.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Calls under way at once.
const MOST: usize = 128;
/// Answers that are written in one commit.
const BATCH: usize = 256;
/// How often the ledger is looked at when nobody nudges.
const POLL: Duration = Duration::from_millis(500);

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

// Who was called, and whether anybody answered.
struct Called {
    client_id: String,
    alive: bool,
}

struct Sender {
    app: App,
    circuits: Circuits,
    sending: JoinSet<Called>,
    answers: mpsc::Sender<Settled>,
}

impl App {
    /// Sends until the process ends. A call takes a place for five seconds at most.
    pub async fn run_deliveries(self, shutdown: Shutdown) {
        let (answers, written) = mpsc::channel(BATCH);
        let writer = tokio::spawn(write_answers(self.clone(), written));
        let nudges = self.nudges.clone();
        let mut sender =
            Sender { app: self, circuits: Circuits::default(), sending: JoinSet::new(), answers };
        while !shutdown.is_soft() {
            sender.take_in();
            let more = sender.lease_and_send().await;
            let busy = !sender.sending.is_empty();
            tokio::select! {
                () = shutdown.soft() => {}
                // Each answer makes room.
                Some(called) = sender.sending.join_next(), if busy => sender.end(called),
                () = nudges.logout.notified(), if !more => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        // Better to know an answer than to ask twice.
        while sender.sending.join_next().await.is_some() {}
        drop(sender);
        // Only a torn down runtime loses it.
        let _ = writer.await;
    }

    // The status of the answer, 0 for none; nothing where there is nobody to be told.
    async fn deliver(&self, delivery: &LogoutDelivery) -> Result<Option<u16>, Error> {
        let client = self.client(&delivery.client_id).await?;
        let uri = client.as_ref().and_then(|client| client.backchannel_logout_uri.as_deref());
        let (Some(client), Some(uri)) = (&client, uri) else {
            // It is no client any more, or does not want to know.
            return Ok(None);
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
        match self.egress.post_form(uri, &[("logout_token", &token)]).await {
            Ok(status) => Ok(Some(status)),
            Err(error) => {
                // Without its source, which may name the address.
                let refused = matches!(error, EgressError::Refused);
                tracing::info!(client_id = %client, refused, %error, "logout was not delivered");
                Ok(Some(0))
            }
        }
    }

    // What becomes of a delivery; our own failure counts as no answer.
    async fn try_once(self, delivery: LogoutDelivery, answers: mpsc::Sender<Settled>) -> Called {
        let answer = match self.deliver(&delivery).await {
            Ok(answer) => answer,
            Err(error) => {
                let (error, id): (&dyn std::error::Error, _) = (&error, delivery.delivery_id);
                tracing::warn!(error, delivery_id = %id, "logout delivery could not be tried");
                Some(0)
            }
        };
        let now = self.now();
        let (state, next_at) = match answer.map(|status| delivery.answered(status, now)) {
            Some(Outcome::Delivered) => ("delivered", now),
            Some(Outcome::Retry(at)) => ("pending", at),
            Some(Outcome::Abandoned) | None => ("abandoned", now),
        };
        let LogoutDelivery { delivery_id, client_id, attempts, .. } = delivery;
        let last_status = answer.unwrap_or_default();
        // The writer ends after the last of us.
        let _ = answers.send(Settled { delivery_id, state, last_status, next_at }).await;
        tracing::info!(%delivery_id, client_id, state, status = last_status, attempts = attempts + 1, "logout delivery tried");
        // Whoever refuses is there to do so.
        let alive = answer.is_none_or(|status| status != 0 && status != 429 && status < 500);
        Called { client_id, alive }
    }
}

impl Sender {
    // Those that have ended meanwhile.
    fn take_in(&mut self) {
        while let Some(called) = self.sending.try_join_next() {
            self.end(called);
        }
    }

    fn end(&mut self, called: Result<Called, tokio::task::JoinError>) {
        let Ok(Called { client_id, alive }) = called else { return };
        self.circuits.end(&client_id, alive, self.app.now());
        #[expect(clippy::cast_precision_loss, reason = "a count of relying parties")]
        let open = self.circuits.open() as f64;
        let help = "Relying parties that do not take logout tokens and are left alone for a while";
        self.app.metrics.set("identity_logout_circuits_open", help, &[], open);
    }

    // Whether there may be more at once.
    async fn lease_and_send(&mut self) -> bool {
        match self.lease().await {
            Ok(leased) => leased > 0,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "logout deliveries could not be read");
                false
            }
        }
    }

    async fn lease(&mut self) -> Result<usize, Error> {
        let mut left = MOST.saturating_sub(self.sending.len());
        if left == 0 {
            return Ok(0);
        }
        let now = self.app.now();
        let mut rooms = Vec::new();
        for client_id in store::delivery::waiting_clients(&self.app.db, now).await? {
            let room = self.circuits.room(&client_id, now).min(left);
            if room > 0 {
                left -= room;
                rooms.push((client_id, room));
            }
        }
        if rooms.is_empty() {
            return Ok(0);
        }
        let due = store::delivery::lease(&self.app.db, &rooms, now + LEASE, now).await?;
        let leased = due.len();
        for delivery in due {
            self.circuits.begin(&delivery.client_id);
            self.sending.spawn(self.app.clone().try_once(delivery, self.answers.clone()));
        }
        Ok(leased)
    }
}

// One commit for all answers that came while the one before was written.
async fn write_answers(app: App, mut answers: mpsc::Receiver<Settled>) {
    let mut batch = Vec::with_capacity(BATCH);
    while answers.recv_many(&mut batch, BATCH).await > 0 {
        if let Err(error) = store::delivery::settle(&app.db, &batch).await {
            // Their leases end, and they are told again with the same id.
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, deliveries = batch.len(), "answers to logouts could not be written");
        }
        batch.clear();
    }
}
