use domain::{DateTime, Utc, Uuid};

use super::{App, Sending};
use crate::{
    mailbox,
    message::{self, Outcome, State},
    mime::Mail,
    recipient::{Reachable, Recipient},
    smtp::{Sent, content, reply::Reply},
    template::Links,
    token::{Aim, Token},
};

/// One mail, ready to leave.
#[derive(Debug)]
pub(super) struct Letter {
    /// Return path and recipient in wire form.
    pub from: Vec<u8>,
    pub to: Vec<u8>,
    /// Stuffed, with its final dot.
    pub content: Vec<u8>,
    pub message_id: String,
    pub language: String,
    pub tracked: bool,
    pub consent_record_id: Option<Uuid>,
}

impl App {
    /// Makes one person's mail.
    ///
    /// # Errors
    /// The outcome `failed`, when it cannot be made.
    #[expect(clippy::result_large_err, reason = "made once a mail, and kept either way")]
    pub(super) fn compose(
        &self,
        sending: &Sending,
        recipient: &Recipient,
        reachable: &Reachable,
        now: DateTime<Utc>,
    ) -> Result<Letter, Outcome> {
        let failed = |reason: &str| Outcome::without_relay(State::Failed, reason);
        let campaign_id = sending.started.campaign.campaign_id;
        let language = sending.compiled.choose(&recipient.locale);
        let links = self.links(sending, recipient, reachable.tracked);
        let footer = sending.sender.footer(language);
        let rendered =
            sending.compiled.render(language, &recipient.fields, &links, footer).map_err(|error| {
                tracing::warn!(%campaign_id, error = %error, "a mail could not be rendered");
                failed("render")
            })?;
        let message_id = message::message_id(
            &sending.started.message_key,
            campaign_id,
            recipient.profile_id,
            &sending.sender.from.domain(),
        );
        let mail = Mail {
            from_name: &sending.sender.from_name,
            from: &sending.sender.from,
            to: &reachable.email,
            subject: &rendered.subject,
            message_id: &message_id,
            date: now,
            language,
            unsubscribe: Some(&links.unsubscribe),
            text: &rendered.text,
            html: &rendered.html,
        };
        let bytes = mail.encode().map_err(|_| failed("header"))?;
        Ok(Letter {
            from: mailbox::wire_form(&sending.sender.from).ok_or_else(|| failed("sender"))?,
            to: mailbox::wire_form(&reachable.email).ok_or_else(|| failed("address"))?,
            content: content::for_data(&bytes).map_err(|_| failed("content"))?,
            language: language.to_owned(),
            tracked: reachable.tracked,
            consent_record_id: reachable.consent_record_id,
            message_id,
        })
    }

    // Tracked addresses only with the person's own consent to that; else the links are the targets themselves.
    fn links(&self, sending: &Sending, recipient: &Recipient, tracked: bool) -> Links {
        let token = |aim| {
            let campaign = sending.started.number;
            Token { campaign, profile_id: recipient.profile_id, aim }.sign(&self.keys.tokens)
        };
        let url = &self.public_url;
        let targets = sending.compiled.links();
        let targets = if tracked {
            (0_u16..).zip(targets).map(|(link, _)| format!("{url}/c/{}", token(Aim::Link(link)))).collect()
        } else {
            targets.to_vec()
        };
        Links {
            targets,
            unsubscribe: format!("{url}/u/{}", token(Aim::Unsubscribe)),
            pixel: tracked.then(|| format!("{url}/o/{}.gif", token(Aim::Open))),
        }
    }
}

impl Letter {
    /// The outcome of a relay's answer. `attempts`: answers before this one.
    pub fn outcome(&self, sent: &Sent, attempts: u32, now: DateTime<Utc>) -> Outcome {
        match sent {
            Sent::Accepted(reply) => self.answered(State::Accepted, reply),
            Sent::Refused(_, reply) if reply.is_transient() => {
                let mut outcome = self.answered(State::Deferred, reply);
                outcome.retry_at = Some(now + message::retry_after(attempts + 1, jitter()));
                outcome
            }
            Sent::Refused(stage, reply) => {
                let mut outcome = self.answered(State::Bounced, reply);
                outcome.hard_bounce = *stage == crate::smtp::Stage::Rcpt && reply.is_hard_bounce();
                outcome
            }
            Sent::TooLarge => self.without_answer(State::Bounced, "too_large"),
            Sent::NoSmtputf8 => self.without_answer(State::Bounced, "no_smtputf8"),
        }
    }

    /// Nobody knows whether the relay has it, and it may be sent again: after a while.
    pub fn lost(&self, attempts: u32, now: DateTime<Utc>) -> Outcome {
        let mut outcome = self.without_answer(State::Deferred, "connection_lost");
        outcome.retry_at = Some(now + message::retry_after(attempts + 1, jitter()));
        outcome
    }

    /// Nobody knows whether the relay has it, and it must not be sent again.
    pub fn unknown(&self) -> Outcome {
        self.without_answer(State::Unknown, "connection_lost")
    }

    fn answered(&self, state: State, reply: &Reply) -> Outcome {
        Outcome {
            relay_code: Some(reply.code),
            relay_reply: reply.text(),
            ..self.without_answer(state, reply.enhanced())
        }
    }

    fn without_answer(&self, state: State, reason: &str) -> Outcome {
        Outcome {
            message_id: self.message_id.clone(),
            language: self.language.clone(),
            tracked: self.tracked,
            consent_record_id: self.consent_record_id,
            ..Outcome::without_relay(state, reason)
        }
    }
}

/// 0 to 999, from the random end of a new id.
pub(super) fn jitter() -> u32 {
    let bytes = domain::new_id().into_bytes();
    u32::from(u16::from_be_bytes([bytes[14], bytes[15]])) % 1_000
}
