use chassis::Actor;
use domain::Uuid;

use super::{App, Request};
use crate::{
    Error,
    mapping::Mapping,
    store::{self, Version},
};

impl App {
    /// Keeps a mapping as the next draft of a destination's object.
    pub async fn save_mapping(
        &self,
        actor: &Actor,
        request: Request,
        destination_id: Uuid,
        mapping: &Mapping,
    ) -> Result<Version, Error> {
        let now = self.clock().now();
        let id = domain::new_id();
        let mut tx = chassis::begin(self.db()).await?;
        let destination = store::lock_destination(&mut tx, destination_id).await?;
        let object = destination.ok_or(Error::NotFound("destination"))?.object;
        let key = &mapping.fields()[mapping.key()].target;
        if !key.eq_ignore_ascii_case(&object.match_key_field) {
            let rule = "must have match_key as the source of the destination's external id field";
            return Err(chassis::FieldViolation::new("fields", rule).into());
        }
        let made = store::claim_request(&mut tx, request.request_id, request.body_sha256, id, now).await?;
        if let Some(id) = made {
            drop(tx);
            return self.get_mapping(id).await;
        }
        store::insert_version(&mut tx, id, object.object_id, mapping, &actor.subject, now).await?;
        tx.commit().await?;
        self.get_mapping(id).await
    }

    /// Makes a version the one by which rows are made. Each of its fields must be agreed, once there is an agreement; and
    /// none that may hold values at the recipient may be dropped, since nobody would clear it any longer.
    pub async fn publish_mapping(&self, mapping_version_id: Uuid) -> Result<Version, Error> {
        let now = self.clock().now();
        let version = self.get_mapping(mapping_version_id).await?;
        let mut tx = chassis::begin(self.db()).await?;
        let destination = store::lock_destination(&mut tx, version.destination_id).await?;
        let mut destination = destination.ok_or(Error::NotFound("destination"))?;
        if destination.object.mapping_version_id == Some(mapping_version_id) {
            return Ok(version);
        }
        if let Some(agreement) = store::find_in_force(&mut tx, version.object_id).await? {
            let agreed = |name: &String| agreement.claims.fields.contains_key(name);
            let names = version.mapping.fields().iter().map(|field| &field.target);
            if let Some(name) = names.into_iter().find(|name| !agreed(name)) {
                return Err(Error::FieldNotAgreed(name.clone()));
            }
        }
        if let Some(before) = destination.object.mapping_version_id {
            let before =
                store::load_version(&mut *tx, before).await?.ok_or(Error::Stored { what: "mapping" })?;
            let kept = |name: &str| version.mapping.fields().iter().any(|field| field.target == name);
            if let Some(field) = before.mapping.fields().iter().find(|field| !kept(&field.target)) {
                return Err(Error::FieldDropped(field.target.clone()));
            }
        }
        store::publish_version(&mut tx, mapping_version_id, now).await?;
        destination.object.mapping_version_id = Some(mapping_version_id);
        store::save_destination(&mut tx, &mut destination, now).await?;
        tx.commit().await?;
        self.get_mapping(mapping_version_id).await
    }

    /// One version.
    pub async fn get_mapping(&self, mapping_version_id: Uuid) -> Result<Version, Error> {
        store::load_version(self.db(), mapping_version_id).await?.ok_or(Error::NotFound("mapping version"))
    }
}
