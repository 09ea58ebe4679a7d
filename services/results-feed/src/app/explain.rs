use std::sync::Arc;

use domain::{DateTime, TimeDelta, Utc, Uuid};

use super::App;
use crate::{
    Error,
    document_type::FeedFlag,
    entitlement::{self, Decision, PUBLIC, Participants, Reason, Representation, Rights, Rule},
    entry::Edition,
    store::{self, Asked, Explained, StoredDecision},
    stream_name::StreamName,
};

/// How long the decision log is kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// Decisions that are forgotten in one go.
const SWEEP: i64 = 5_000;

/// A question: might this client have read that version at that time, in that form?
#[derive(Debug, Clone)]
pub struct Question {
    /// Whose rights.
    pub client_id: String,
    /// In which stream.
    pub stream: StreamName,
    /// Which version.
    pub asked: Asked,
    /// When; now, where no time is named.
    pub at: Option<DateTime<Utc>>,
    /// In which form.
    pub representation: Representation,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// What was asked about.
    pub about: Explained,
    /// The time that it is about.
    pub at: DateTime<Utc>,
    /// Whether, and why.
    pub decision: Decision,
    /// The deciding rule in full.
    pub rule: Option<Rule>,
    /// Which participants it is about.
    pub participants: Participants,
}

impl App {
    /// Makes a decision again, from the rules and the facts of its time.
    pub async fn explain_access(&self, mut question: Question) -> Result<Explanation, Error> {
        let at = question.at.unwrap_or_else(|| self.clock.now());
        if question.asked.version.is_none() && question.asked.seq.is_none() {
            question.asked.at = Some(at);
        }
        let stream_id = self.hub(question.stream).stream_id();
        let found = store::find_explained(&self.db, stream_id, &question.asked).await?;
        let about = found.ok_or(Error::NotFound("version of a document"))?;
        let mut histories = vec![store::load_history(&self.db, PUBLIC).await?];
        if question.client_id != PUBLIC {
            histories.push(store::load_history(&self.db, &question.client_id).await?);
        }
        let subject = about.subject(question.stream.feed_flag());
        let representation = question.representation;
        let mut decision = entitlement::decide(&histories, &subject, representation, at);
        if about.facts.received_at > at {
            decision = Decision { permitted: false, reason: Reason::NotYet, ..decision };
        }
        let in_force = histories.iter().map(|history| history.in_force(at)).collect();
        let rights = Rights::of(in_force).in_representation(representation).at(at);
        let participants = rights.participants(&subject);
        let rule = decision.rule.as_ref().and_then(|place| {
            let history = histories.iter().find(|history| history.client_id == place.client_id)?;
            history.of_version(place.version).rules.get(place.index).cloned()
        });
        Ok(Explanation { about, at, decision, rule, participants })
    }

    /// Kept decisions before one, newest first.
    pub async fn list_decisions(
        &self,
        client_id: Option<&str>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<StoredDecision>, Error> {
        store::list_decisions(&self.db, client_id, before, limit).await
    }

    /// Keeps that a version was asked for by its name and refused. Beside the request, a few at a time: whoever asks much
    /// fills no queue, and only the repeats of what is known are lost.
    pub(super) fn note_refusal(&self, rights: &Rights, edition: &Edition, feed_flag: FeedFlag) {
        let Ok(place) = Arc::clone(&self.refusals).try_acquire_owned() else { return };
        let Some((client_id, _)) = rights.readers().pop() else { return };
        let decision = rights.decide(&edition.subject(feed_flag));
        let (db, now) = (self.db.clone(), self.clock.now());
        let (handle, seq) = (edition.handle, edition.seq);
        tokio::spawn(async move {
            let kept = store::insert_refused_read(&db, &client_id, handle, seq, &decision, now).await;
            if let Err(error) = kept {
                tracing::warn!(error = &error as &dyn std::error::Error, "refused read not kept");
            }
            drop(place);
        });
    }

    /// Forgets old decisions; gives whether there may be more.
    pub async fn forget_decisions(&self) -> Result<bool, Error> {
        let deleted = store::delete_decisions(&self.db, self.clock.now() - KEPT, SWEEP).await?;
        Ok(i64::try_from(deleted).is_ok_and(|deleted| deleted == SWEEP))
    }
}
