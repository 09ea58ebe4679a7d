use chassis::{Actor, FieldViolation};
use domain::Uuid;

use super::{App, Request};
use crate::{
    Error,
    agreement::{Agreement, Refusal},
    store,
};

impl App {
    /// Keeps a signed agreement as proposed, if its signature and claims are right and it is for this recipient.
    pub async fn propose_agreement(
        &self,
        actor: &Actor,
        request: Request,
        destination_id: Uuid,
        token: &str,
    ) -> Result<(Uuid, Agreement), Error> {
        let keys = &self.shared.secrets.agreement_keys;
        if keys.is_empty() {
            return Err(Error::NotConfigured("CRMSYNC_AGREEMENT_KEYS"));
        }
        let (claims, sha256) =
            keys.verify(token).map_err(|wrong| FieldViolation::new(wrong.field, wrong.rule.as_str()))?;
        let now = self.clock().now();
        let mut tx = chassis::begin(self.db()).await?;
        let destination = store::lock_destination(&mut tx, destination_id).await?;
        let destination = destination.ok_or(Error::NotFound("destination"))?;
        if claims.recipient != destination.recipient {
            return Err(FieldViolation::new("token.recipient", "must be the destination's recipient").into());
        }
        let agreement = Agreement::propose(claims, sha256, &actor.subject);
        let agreement_id = agreement.claims.agreement_id;
        let made =
            store::claim_request(&mut tx, request.request_id, request.body_sha256, agreement_id, now).await?;
        if let Some(agreement_id) = made {
            drop(tx);
            return self.get_agreement(agreement_id).await;
        }
        store::insert_agreement(&mut tx, destination.object.object_id, &agreement, token, now).await?;
        tx.commit().await?;
        Ok((destination_id, agreement))
    }

    /// Puts an agreement in force, by a second person; the one before it ends.
    pub async fn activate_agreement(
        &self,
        actor: &Actor,
        agreement_id: Uuid,
    ) -> Result<(Uuid, Agreement), Error> {
        let now = self.clock().now();
        let (destination_id, _) = self.get_agreement(agreement_id).await?;
        let mut tx = chassis::begin(self.db()).await?;
        let destination = store::lock_destination(&mut tx, destination_id).await?;
        let mut destination = destination.ok_or(Error::NotFound("destination"))?;
        let object_id = destination.object.object_id;
        let agreement = store::lock_agreement(&mut tx, agreement_id).await?;
        let (_, mut agreement) = agreement.ok_or(Error::NotFound("agreement"))?;
        if agreement.activate(&actor.subject, now).map_err(refused)? {
            if let Some(mut before) = store::find_in_force(&mut tx, object_id).await?
                && before.claims.agreement_id != agreement_id
                && before.end()
            {
                store::save_agreement(&mut tx, &before, now).await?;
            }
            store::save_agreement(&mut tx, &agreement, now).await?;
            destination.object.agreement_id = Some(agreement_id);
            store::save_destination(&mut tx, &mut destination, now).await?;
            tx.commit().await?;
            tracing::info!(%agreement_id, by = actor.subject, "agreement in force");
        }
        Ok((destination_id, agreement))
    }

    /// Holds an agreement up. Runners read it anew before each call.
    pub async fn suspend_agreement(
        &self,
        actor: &Actor,
        agreement_id: Uuid,
    ) -> Result<(Uuid, Agreement), Error> {
        let now = self.clock().now();
        let (destination_id, _) = self.get_agreement(agreement_id).await?;
        let mut tx = chassis::begin(self.db()).await?;
        store::lock_destination(&mut tx, destination_id).await?;
        let agreement = store::lock_agreement(&mut tx, agreement_id).await?;
        let (_, mut agreement) = agreement.ok_or(Error::NotFound("agreement"))?;
        if agreement.suspend().map_err(refused)? {
            store::save_agreement(&mut tx, &agreement, now).await?;
            tx.commit().await?;
            tracing::warn!(%agreement_id, by = actor.subject, "agreement held up");
        }
        Ok((destination_id, agreement))
    }

    /// An agreement with its destination's id.
    pub async fn get_agreement(&self, agreement_id: Uuid) -> Result<(Uuid, Agreement), Error> {
        store::load_agreement(self.db(), agreement_id).await?.ok_or(Error::NotFound("agreement"))
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::SamePerson => Error::SamePerson,
        Refusal::WindowOver => Error::WindowOver,
        Refusal::State(state) => Error::State { what: "agreement", state: state.name() },
    }
}
