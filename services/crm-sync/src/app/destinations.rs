use domain::Uuid;

use super::{App, Request};
use crate::{
    Error,
    destination::{Destination, Object, Refusal, Salesforce, State},
    salesforce::Finding,
    store,
};

/// A destination that a caller asks for.
#[derive(Debug)]
pub struct CreateDestination {
    /// The write.
    pub request: Request,
    /// Unique.
    pub name: String,
    /// Who receives.
    pub recipient: String,
    /// How it is reached.
    pub salesforce: Salesforce,
    /// API name of the object.
    pub object: String,
    /// API name of its external id field.
    pub match_key_field: String,
}

impl App {
    /// A new draft.
    pub async fn create_destination(&self, command: CreateDestination) -> Result<Destination, Error> {
        let now = self.clock().now();
        let destination = Destination {
            destination_id: domain::new_id(),
            name: command.name,
            recipient: command.recipient,
            state: State::Draft,
            salesforce: command.salesforce,
            object: Object {
                object_id: domain::new_id(),
                name: command.object,
                match_key_field: command.match_key_field,
                agreement_id: None,
                mapping_version_id: None,
            },
            version: 1,
            changed_at: now,
        };
        let mut tx = chassis::begin(self.db()).await?;
        let Request { request_id, body_sha256 } = command.request;
        let made =
            store::claim_request(&mut tx, request_id, body_sha256, destination.destination_id, now).await?;
        if let Some(destination_id) = made {
            drop(tx);
            return self.get_destination(destination_id).await;
        }
        store::insert_destination(&mut tx, &destination, "CRMSYNC_SALESFORCE_KEY").await?;
        tx.commit().await?;
        Ok(destination)
    }

    /// Signs in and compares the recipient's object with the mapping, if one is published.
    pub async fn test_destination(&self, destination_id: Uuid) -> Result<Vec<Finding>, Error> {
        let destination = self.get_destination(destination_id).await?;
        let mapping = match destination.object.mapping_version_id {
            None => None,
            Some(id) => store::load_version(self.db(), id).await?.map(|version| version.mapping),
        };
        let client = self.client(&destination)?;
        client.sign_in().await?;
        let object = &destination.object;
        Ok(client.check_object(&object.name, &object.match_key_field, mapping.as_ref()).await?)
    }

    /// Starts a draft, or goes on after a pause.
    pub async fn resume_destination(&self, destination_id: Uuid) -> Result<Destination, Error> {
        let mut tx = chassis::begin(self.db()).await?;
        let destination = store::lock_destination(&mut tx, destination_id).await?;
        let mut destination = destination.ok_or(Error::NotFound("destination"))?;
        let in_force = store::find_in_force(&mut tx, destination.object.object_id).await?;
        let is_active = in_force.is_some_and(|agreement| agreement.state == crate::agreement::State::Active);
        if destination.resume(is_active).map_err(refused)? {
            store::save_destination(&mut tx, &mut destination, self.clock().now()).await?;
            tx.commit().await?;
            self.ring();
        }
        Ok(destination)
    }

    /// Stops loads and changes; ceases go on.
    pub async fn pause_destination(&self, destination_id: Uuid) -> Result<Destination, Error> {
        let mut tx = chassis::begin(self.db()).await?;
        let destination = store::lock_destination(&mut tx, destination_id).await?;
        let mut destination = destination.ok_or(Error::NotFound("destination"))?;
        if destination.pause().map_err(refused)? {
            store::save_destination(&mut tx, &mut destination, self.clock().now()).await?;
            tx.commit().await?;
        }
        Ok(destination)
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NoAgreement => Error::Missing("active agreement"),
        Refusal::NoMapping => Error::Missing("published mapping"),
        Refusal::State(state) => Error::State { what: "destination", state: state.name() },
    }
}
