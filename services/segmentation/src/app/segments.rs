use aws_lc_rs::digest::{SHA256, digest};
use chassis::{Actor, FieldViolation};
use domain::{ConsentKey, SegmentId, Service};

use super::App;
use crate::{
    Error, events,
    rule::Rule,
    segment::{Segment, SegmentKey, State},
    store,
};

/// A segment that a caller asks for.
#[derive(Debug)]
pub struct CreateSegment {
    /// Its key.
    pub key: SegmentKey,
    /// Its name for people.
    pub name: String,
    /// Its rule, unchecked.
    pub rule: Rule,
    /// What its members may be used for.
    pub purpose: Option<ConsentKey>,
}

impl App {
    /// Makes a segment; the emitter fills it within a second.
    pub async fn create_segment(&self, actor: &Actor, command: CreateSegment) -> Result<Segment, Error> {
        let rule = self.checked(command.rule).await?;
        let now = self.clock.now();
        let segment = Segment {
            segment_id: SegmentId::new(),
            key: command.key,
            name: command.name,
            state: State::Active,
            version: 1,
            rule_hash: hash(&rule),
            rule,
            purpose: command.purpose,
            created_at: now,
        };
        let mut tx = chassis::begin(&self.db).await?;
        store::insert(&mut tx, &segment).await?;
        store::insert_version(&mut tx, &segment, &actor.subject, now).await?;
        outbox::append(
            &mut tx,
            Service::Segmentation,
            &events::segment_changed(&segment, "SegmentCreated", now),
        )
        .await?;
        tx.commit().await?;
        Ok(segment)
    }

    /// Gives a segment a new rule.
    pub async fn update_rule(
        &self,
        actor: &Actor,
        segment_id: SegmentId,
        expected_version: u32,
        rule: Rule,
    ) -> Result<Segment, Error> {
        let rule = self.checked(rule).await?;
        let now = self.clock.now();
        let mut tx = chassis::begin(&self.db).await?;
        let mut segment =
            store::load_for_update(&mut tx, segment_id).await?.ok_or(Error::NotFound("segment"))?;
        editable(&segment, expected_version)?;
        segment.version += 1;
        segment.rule_hash = hash(&rule);
        segment.rule = rule;
        store::insert_version(&mut tx, &segment, &actor.subject, now).await?;
        store::save(&mut tx, &segment).await?;
        let fact = events::segment_changed(&segment, "SegmentRuleChanged", now);
        outbox::append(&mut tx, Service::Segmentation, &fact).await?;
        tx.commit().await?;
        Ok(segment)
    }

    /// Ends a segment: everybody leaves it.
    pub async fn archive_segment(&self, segment_id: SegmentId, expected_version: u32) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        let mut segment =
            store::load_for_update(&mut tx, segment_id).await?.ok_or(Error::NotFound("segment"))?;
        editable(&segment, expected_version)?;
        segment.state = State::Archived;
        store::save(&mut tx, &segment).await?;
        let fact = events::segment_changed(&segment, "SegmentArchived", self.clock.now());
        outbox::append(&mut tx, Service::Segmentation, &fact).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A segment by its id or its key.
    pub async fn get_segment(&self, id_or_key: &str) -> Result<Segment, Error> {
        store::find(&self.db, id_or_key).await?.ok_or(Error::NotFound("segment"))
    }

    /// A page of segments.
    pub async fn list_segments(&self, after: Option<SegmentId>, limit: u32) -> Result<Vec<Segment>, Error> {
        store::page(&self.db, after, i64::from(limit)).await
    }

    async fn checked(&self, rule: Rule) -> Result<Rule, Error> {
        let known = self.known_traits().await?;
        rule.check(&known).map_err(|violations| {
            Error::Invalid(violations.into_iter().map(|v| FieldViolation::new(v.path, v.rule)).collect())
        })?;
        Ok(rule.canonical())
    }
}

fn editable(segment: &Segment, expected_version: u32) -> Result<(), Error> {
    if segment.state == State::Archived {
        return Err(Error::Archived);
    }
    if segment.version != expected_version {
        return Err(Error::StaleVersion { actual: segment.version });
    }
    Ok(())
}

fn hash(rule: &Rule) -> [u8; 32] {
    sha256(rule.canonical_json().as_bytes())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}
