use domain::{ConsentKey, RequestId, Uuid};

use super::{App, segments::sha256};
use crate::{
    Error,
    freeze::{Freeze, content, proof},
    segment::State,
    store,
};

impl App {
    /// Freezes a segment's members for a purpose. The same request gives the same freeze.
    pub async fn create_freeze(
        &self,
        request_id: RequestId,
        id_or_key: &str,
        purpose: ConsentKey,
    ) -> Result<Freeze, Error> {
        if let Some(freeze) = store::find_freeze(&self.db, request_id.0).await? {
            return Ok(freeze);
        }
        let segment = self.get_segment(id_or_key).await?;
        if segment.state == State::Archived {
            return Err(Error::Archived);
        }
        match &segment.purpose {
            None => return Err(Error::NoPurpose),
            Some(bound) if *bound != purpose => return Err(Error::OtherPurpose),
            Some(_) => {}
        }
        let rule = self.compiled(&segment).await?;
        let (members, watermark) = self.ready_index()?.members(&rule, self.moment());
        let members: Vec<_> = members.into_iter().collect();
        let content_hash = sha256(&content(&members));
        let freeze = Freeze {
            freeze_id: domain::new_id(),
            segment_id: segment.segment_id,
            version: segment.version,
            proof_hash: sha256(&proof(segment.rule_hash, &purpose, &watermark, content_hash)),
            purpose,
            members,
            content_hash,
            watermark,
            created_at: self.clock.now(),
        };
        if store::insert_freeze(&self.db, request_id, &freeze).await? {
            return Ok(freeze);
        }
        // Another call with the same request id was quicker: its freeze is the one.
        store::find_freeze(&self.db, request_id.0).await?.ok_or(Error::NotFound("freeze"))
    }

    /// A freeze by its id.
    pub async fn get_freeze(&self, freeze_id: Uuid) -> Result<Freeze, Error> {
        store::find_freeze(&self.db, freeze_id).await?.ok_or(Error::NotFound("freeze"))
    }
}
