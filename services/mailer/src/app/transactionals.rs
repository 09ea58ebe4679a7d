use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::hmac;
use chassis::{Backoff, Shutdown};
use domain::{DateTime, EmailAddress, Locale, RequestId, TimeDelta, Utc, Uuid};
use subtle::ConstantTimeEq;
use tracing::Instrument as _;

use super::{App, IDLE};
use crate::{
    Error,
    keyring::Key,
    mailbox,
    mime::Mail,
    sealed,
    smtp::{Broken, Envelope, Sent, content},
    store::{self, Held, Queued},
    transactional::{self, Letter, State, Template},
};

/// How long a mail belongs to its process: longer than a slow relay takes over it.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// Name of the sender of transactional mail.
const FROM_NAME: &str = "Kotinos";

/// A mail that a service asks for.
#[derive(Debug)]
pub struct SendTransactional {
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// The whole request, to tell a repeat from another request under the same id.
    pub body: Vec<u8>,
    /// Which words.
    pub template: Template,
    /// To whom.
    pub address: EmailAddress,
    /// In which language.
    pub locale: Locale,
    /// link, code, minutes and the like.
    pub variables: BTreeMap<String, String>,
    /// After it the mail is not sent any more.
    pub deadline: DateTime<Utc>,
}

/// What an attempt led to.
struct Attempt {
    state: State,
    reason: String,
    relay_code: Option<u16>,
}

impl App {
    /// Takes a mail: it is committed when this returns. The same request again gives the same id.
    pub async fn send_transactional(&self, command: SendTransactional) -> Result<Uuid, Error> {
        let transactional_id = domain::new_id();
        let letter = Letter {
            address: command.address.as_bytes().to_vec(),
            language: command.locale.tag().to_owned(),
            variables: command.variables,
        };
        let plain = serde_json::to_vec(&letter).map_err(|_| Error::Stored { what: "letter" })?;
        let key = self.keys.kek.active();
        let queued = Queued {
            transactional_id,
            request_id: command.request_id,
            key_id: key.id().to_owned(),
            body_mac: body_mac(key, &command.body),
            template: command.template,
            sealed: sealed::seal(&self.keys.kek, transactional_id, &plain)?,
            // Unique by its id, and the same on every attempt.
            message_id: format!("<{}@{}>", transactional_id.simple(), self.service_from.domain()),
            deadline: command.deadline,
        };
        let mut tx = chassis::begin(&self.db).await?;
        store::insert_transactional(&mut tx, &queued, self.now()).await?;
        let held = store::find_transactional_by_request(&mut tx, command.request_id).await?;
        let (held_id, key_id, mac) = held.ok_or(Error::NotFound("transactional mail"))?;
        tx.commit().await?;
        let key = self.keys.kek.find(&key_id).ok_or(Error::RequestIdReused)?;
        if !bool::from(body_mac(key, &command.body).ct_eq(&mac)) {
            return Err(Error::RequestIdReused);
        }
        self.nudges.transactional.notify_one();
        Ok(held_id)
    }

    /// State and Message-ID of a mail.
    pub async fn get_transactional(&self, transactional_id: Uuid) -> Result<(State, String), Error> {
        let found = store::load_transactional(&self.db, transactional_id).await?;
        found.ok_or(Error::NotFound("transactional mail"))
    }

    /// Sends what waits, until the process ends.
    pub async fn run_transactionals(self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(IDLE, Duration::from_secs(10));
        while !shutdown.is_soft() {
            let longest = match self.transactional_round(&shutdown).await {
                Ok(true) => continue,
                Ok(false) => {
                    backoff = Backoff::new(IDLE, Duration::from_secs(10));
                    IDLE
                }
                Err(error) => {
                    tracing::warn!(error = %error, cause = ?error, "transactional mail cannot be sent now");
                    backoff.next()
                }
            };
            self.wait(&self.nudges.transactional, longest, &shutdown).await;
        }
    }

    async fn transactional_round(&self, shutdown: &Shutdown) -> Result<bool, Error> {
        let now = self.now();
        let held = store::lease_transactionals(&self.db, now, now + LEASE).await?;
        for held in &held {
            if shutdown.is_soft() {
                // The lease runs out, or the next start is quicker: nothing has left.
                break;
            }
            let template = held.template.name();
            let span = tracing::info_span!("send", otel.name = "send transactional", template);
            self.send_held(held).instrument(span).await?;
        }
        Ok(!held.is_empty())
    }

    async fn send_held(&self, held: &Held) -> Result<(), Error> {
        let now = self.now();
        let id = held.transactional_id;
        if now >= held.deadline {
            return store::finish_transactional(&self.db, id, State::Expired, "deadline", None, now).await;
        }
        let attempt = match self.attempt(held).await {
            Ok(Some(attempt)) => attempt,
            Ok(None) => Attempt { state: State::Failed, reason: "unreadable".to_owned(), relay_code: None },
            Err(broken) => {
                tracing::info!(transactional_id = %id, cause = %broken.cause, "the relay is away");
                Attempt { state: State::Queued, reason: "relay_away".to_owned(), relay_code: None }
            }
        };
        let now = self.now();
        if attempt.state == State::Queued {
            let next_at = now + transactional::retry_after(held.attempts + 1);
            return store::postpone_transactional(&self.db, id, &attempt.reason, attempt.relay_code, next_at)
                .await;
        }
        tracing::info!(transactional_id = %id, template = held.template.name(), state = attempt.state.name(), "transactional mail has an outcome");
        store::finish_transactional(&self.db, id, attempt.state, &attempt.reason, attempt.relay_code, now)
            .await
    }

    // Nothing when the letter cannot be made at all.
    async fn attempt(&self, held: &Held) -> Result<Option<Attempt>, Broken> {
        let Some((to, content)) = self.transactional_content(held) else { return Ok(None) };
        let from = mailbox::wire_form(&self.service_from).unwrap_or_default();
        let mut connection = self.relays.transactional.take().await?;
        let span = tracing::info_span!("mail", otel.name = "smtp send", otel.kind = "client");
        let sent = connection.send(&Envelope { from: &from, to: &to }, &content).instrument(span).await?;
        self.relays.transactional.put(connection);
        let attempt = match sent {
            Sent::Accepted(reply) => (State::Accepted, reply.enhanced().to_owned(), Some(reply.code)),
            Sent::Refused(_, reply) if reply.is_transient() => {
                (State::Queued, reply.enhanced().to_owned(), Some(reply.code))
            }
            Sent::Refused(_, reply) => (State::Bounced, reply.enhanced().to_owned(), Some(reply.code)),
            Sent::TooLarge => (State::Bounced, "too_large".to_owned(), None),
            Sent::NoSmtputf8 => (State::Bounced, "no_smtputf8".to_owned(), None),
        };
        let (state, reason, relay_code) = attempt;
        Ok(Some(Attempt { state, reason, relay_code }))
    }

    fn transactional_content(&self, held: &Held) -> Option<(Vec<u8>, Vec<u8>)> {
        let plain = sealed::open(&self.keys.kek, held.transactional_id, &held.sealed)?;
        let letter: Letter = serde_json::from_slice(&plain).ok()?;
        let to = letter.to()?;
        let locale: Locale = letter.language.parse().unwrap_or_default();
        let rendered = held.template.render(locale, &letter.variables).ok()?;
        let mail = Mail {
            from_name: FROM_NAME,
            from: &self.service_from,
            to: &to,
            subject: rendered.subject,
            message_id: &held.message_id,
            date: self.now(),
            language: locale.tag(),
            unsubscribe: None,
            text: &rendered.text,
            html: &rendered.html,
        };
        let content = content::for_data(&mail.encode().ok()?).ok()?;
        Some((mailbox::wire_form(&to)?, content))
    }
}

// Keyed, since a bare hash of a mail with six digits could be tried out.
fn body_mac(key: &Key, body: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key.derive("transactional body"));
    hmac::sign(&key, body).as_ref().to_vec()
}
