use chassis::Actor;
use domain::{ConsentKey, DateTime, ProfileId, RequestId, Service, Utc};

use super::{App, reach};
use crate::{
    Error,
    consent::{Answer, ConsentLedger, ConsentRecord, Evidence, Notice, Status},
    events, store,
};

/// Answers that a caller records for one person.
#[derive(Debug)]
pub struct RecordConsents {
    /// Whose.
    pub profile_id: ProfileId,
    /// The caller's id of this write.
    pub request_id: RequestId,
    /// Hash of the whole request.
    pub body_sha256: [u8; 32],
    /// What the person said.
    pub answers: Vec<AnswerCommand>,
    /// Channel, page and form.
    pub method: String,
}

/// One answer as it came in.
#[derive(Debug)]
pub struct AnswerCommand {
    /// About what.
    pub key: ConsentKey,
    /// What the person says.
    pub status: Status,
    /// Version and language of the notice that was shown.
    pub notice: Option<(u32, String)>,
}

/// A notice to publish.
#[derive(Debug)]
pub struct NoticeCommand {
    /// What it is about.
    pub key: ConsentKey,
    /// Version, language and hash.
    pub notice: Notice,
    /// The text itself.
    pub text: String,
}

impl App {
    /// The newest answers of a person.
    pub async fn get_consents(&self, actor: &Actor, profile_id: ProfileId) -> Result<ConsentLedger, Error> {
        self.get_profile(actor, profile_id).await?;
        store::load_ledger(&self.db, profile_id).await
    }

    /// Records answers; the same request again has no second effect and gives no records.
    pub async fn record_consents(
        &self,
        actor: &Actor,
        command: RecordConsents,
    ) -> Result<Vec<ConsentRecord>, Error> {
        self.get_profile(actor, command.profile_id).await?;
        let answers = self.with_published_notices(command.answers).await?;
        let evidence = Evidence { method: command.method, client_id: actor.client_id.clone() };
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        if !store::claim_request(&mut tx, command.request_id, command.body_sha256, now).await? {
            return Ok(Vec::new());
        }
        let Some(mut ledger) = store::load_ledger_for_update(&mut tx, command.profile_id).await? else {
            return Err(Error::NotActive { state: "not active" });
        };
        let records = ledger
            .record(answers, &evidence, now)
            .map_err(|missing| Error::NoticeNotPublished { purpose: missing.0.to_string() })?;
        if !records.is_empty() {
            store::append_records(&mut tx, command.profile_id, &records).await?;
            store::save_ledger(&mut tx, &ledger).await?;
            outbox::append(&mut tx, Service::Profile, &events::consents_changed(&ledger, &records, now))
                .await?;
        }
        tx.commit().await?;
        Ok(records)
    }

    /// Which of these people permitted a purpose at a time; now, when no time is asked.
    pub async fn check_consents(
        &self,
        actor: &Actor,
        profile_ids: &[ProfileId],
        key: &ConsentKey,
        at: Option<DateTime<Utc>>,
    ) -> Result<Vec<ProfileId>, Error> {
        if !actor.is_client() && !actor.has("profile.search") {
            return Err(Error::NotYours);
        }
        if !key.purpose().needs_consent() {
            return Ok(profile_ids.to_vec());
        }
        // The present is in the heads, a past time in the records alone.
        let Some(at) = at else {
            let now = self.clock.now();
            let ledgers = store::load_ledgers(&self.db, profile_ids).await?;
            let permits = |id: &&ProfileId| ledgers.get(id).is_some_and(|ledger| ledger.permits(key, now));
            return Ok(profile_ids.iter().filter(permits).copied().collect());
        };
        store::permitted_at(&self.db, profile_ids, key, at).await
    }

    /// The newest lines of a person's ledger.
    pub async fn list_consent_records(
        &self,
        actor: &Actor,
        profile_id: ProfileId,
        limit: u32,
    ) -> Result<Vec<ConsentRecord>, Error> {
        let profile = store::load(&self.db, profile_id).await?.ok_or(Error::NotFound)?;
        reach(actor, &profile)?;
        store::list_records(&self.db, profile_id, i64::from(limit)).await
    }

    /// Publishes a notice; the same words again change nothing.
    pub async fn publish_notice(&self, command: NoticeCommand) -> Result<store::Published, Error> {
        let published = store::Published {
            key: command.key,
            notice: command.notice,
            text: command.text,
            published_at: self.clock.now(),
        };
        if !store::insert_notice(&self.db, &published).await? {
            let notice = &published.notice;
            let held = store::find_notice(&self.db, &published.key, &notice.language, notice.version).await?;
            if held.as_ref() != Some(notice) {
                return Err(Error::NoticeTaken);
            }
        }
        Ok(published)
    }

    /// The newest notice of each purpose.
    pub async fn list_notices(&self, language: Option<&str>) -> Result<Vec<store::Published>, Error> {
        store::list_notices(&self.db, language).await
    }

    // Notices are looked up before the transaction: published ones never change.
    async fn with_published_notices(
        &self,
        commands: Vec<AnswerCommand>,
    ) -> Result<Vec<(domain::Uuid, Answer)>, Error> {
        let mut answers = Vec::with_capacity(commands.len());
        for command in commands {
            let notice = match command.notice {
                Some((version, language)) => Some(
                    store::find_notice(&self.db, &command.key, &language, version)
                        .await?
                        .ok_or_else(|| Error::NoticeNotPublished { purpose: command.key.to_string() })?,
                ),
                None => None,
            };
            answers.push((domain::new_id(), Answer { key: command.key, status: command.status, notice }));
        }
        Ok(answers)
    }
}
