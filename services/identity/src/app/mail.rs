//! Mails of identity. The challenge row is the outbox: a worker derives link and digits from it and hands the mail to
//! mailer, under the challenge's id, so that a repeat sends nothing.

use std::time::Duration;

use chassis::{Backoff, Shutdown};
use domain::{DateTime, TimeDelta, Utc};
use futures::future::join_all;

use super::App;
use crate::{
    challenge::{CODE_LIFE, Challenge, Purpose},
    error::Error,
    grpc::peers::{Mail, Posted},
    handle::{Handle, Kind, mail_code},
    store::{self, challenge::DueMail},
    words,
};

/// How long an idle worker waits for its next look; a new challenge wakes it at once.
const IDLE: Duration = Duration::from_secs(1);
/// How long a mail belongs to its worker: longer than handing over a batch takes.
const LEASE: TimeDelta = TimeDelta::seconds(30);

impl App {
    /// Hands mails over, until the process ends.
    pub async fn run_mail(self, shutdown: Shutdown) {
        let mut backoff = Backoff::new(IDLE, Duration::from_secs(30));
        while !shutdown.is_soft() {
            let longest = match self.mail_round().await {
                Ok(0) => {
                    backoff = Backoff::new(IDLE, Duration::from_secs(30));
                    IDLE
                }
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "mails cannot be sent now");
                    backoff.next()
                }
            };
            tokio::select! {
                () = self.nudges.mail.notified() => {}
                () = tokio::time::sleep(longest) => {}
                () = shutdown.soft() => {}
            }
        }
    }

    // How many were due.
    async fn mail_round(&self) -> Result<usize, Error> {
        let now = self.now();
        let due = store::challenge::lease_mails(&self.db, now + LEASE, now).await?;
        let count = due.len();
        for done in join_all(due.iter().map(|due| self.hand_over(due))).await {
            done?;
        }
        Ok(count)
    }

    async fn hand_over(&self, due: &DueMail) -> Result<(), Error> {
        let (challenge, now) = (&due.challenge, self.now());
        let challenge_id = challenge.challenge_id;
        if now >= challenge.expires_at {
            tracing::warn!(%challenge_id, "a mail came too late and is not sent");
            return store::challenge::save_mail(&self.db, challenge_id, "expired", now).await;
        }
        let Some(template) = challenge.purpose.template() else {
            return store::challenge::save_mail(&self.db, challenge_id, "expired", now).await;
        };
        match self.mailer.send(self.mail_of(challenge, template, now)).await {
            Posted::Taken => {
                tracing::info!(%challenge_id, template, "mail handed over");
                store::challenge::save_mail(&self.db, challenge_id, "sent", now).await
            }
            Posted::Refused(error) => {
                tracing::error!(%challenge_id, error = &error as &dyn std::error::Error, "mailer refused a mail");
                store::challenge::save_mail(&self.db, challenge_id, "expired", now).await
            }
            Posted::Failed(error) => {
                tracing::warn!(%challenge_id, error = &error as &dyn std::error::Error, "mailer did not take a mail");
                let next_at = now + retry_after(due.attempts);
                store::challenge::save_mail(&self.db, challenge_id, "pending", next_at).await
            }
        }
    }

    fn mail_of<'a>(&self, challenge: &'a Challenge, template: &'static str, now: DateTime<Utc>) -> Mail<'a> {
        let issuer = self.issuer();
        let variables = match challenge.purpose {
            Purpose::SignUp => self.proof(challenge, "/signup/verify", now),
            Purpose::Recover => self.proof(challenge, "/recover/reset", now),
            Purpose::AddressTaken => vec![("link", format!("{issuer}/login"))],
            Purpose::PasswordChanged => vec![("link", format!("{issuer}/account/security"))],
            Purpose::Changed(change) => vec![
                ("link", format!("{issuer}/account/security")),
                ("change", words::text(challenge.locale, change.words()).to_owned()),
            ],
            Purpose::NoRecovery => Vec::new(),
        };
        Mail {
            request_id: challenge.challenge_id,
            template,
            address: &challenge.address,
            locale: challenge.locale,
            variables,
            deadline: challenge.expires_at,
        }
    }

    // Link and digits, derived and never stored.
    fn proof(&self, challenge: &Challenge, path: &str, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
        let handle = Handle::of(Kind::MailLink, challenge.challenge_id).mint(self.keys());
        let mut variables = vec![("link", format!("{}{path}?t={handle}", self.issuer()))];
        // The digits live shorter than the link: a late mail goes without them.
        if now < challenge.created_at + CODE_LIFE {
            variables.push(("code", mail_code(self.keys(), challenge.challenge_id)));
            variables.push(("minutes", CODE_LIFE.num_minutes().to_string()));
        }
        variables
    }
}

// 1 s, 2 s, 4 s ... 1 min: somebody waits in front of a page.
fn retry_after(attempts: u32) -> TimeDelta {
    TimeDelta::seconds(60.min(1_i64 << attempts.saturating_sub(1).min(6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_tried_again_after_a_second_and_then_each_minute() {
        let waits = [0, 1, 2, 3, 7, 500].map(|attempts| retry_after(attempts).num_seconds());
        assert_eq!(waits, [1, 1, 2, 4, 60, 60]);
    }
}
