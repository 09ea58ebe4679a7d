use domain::Uuid;

use super::App;
use crate::{
    Error,
    agreement::{Agreement, State as AgreementState},
    destination::{Destination, Object, State},
    keys::DestinationKeys,
    mapping::Mapping,
    salesforce::Client,
    store,
};

/// A destination with all that is needed to send to it, as of now.
#[derive(Debug)]
pub struct Outlet {
    /// The destination.
    pub destination: Destination,
    /// The agreement of its object, in whatever state.
    pub agreement: Option<Agreement>,
    /// The published mapping.
    pub mapping: Mapping,
    /// Its version.
    pub mapping_version_id: Uuid,
    /// The destination's keys.
    pub keys: DestinationKeys,
    /// The way there.
    pub client: Client,
}

impl App {
    /// Reads a destination with what is needed to send to it.
    ///
    /// # Errors
    /// No mapping published yet, a setting that is missing.
    pub async fn outlet(&self, destination_id: Uuid) -> Result<Outlet, Error> {
        let destination = self.get_destination(destination_id).await?;
        let mapping_version_id =
            destination.object.mapping_version_id.ok_or(Error::Missing("published mapping"))?;
        let version = store::load_version(self.db(), mapping_version_id).await?;
        let mapping = version.ok_or(Error::Stored { what: "mapping" })?.mapping;
        let agreement = match destination.object.agreement_id {
            None => None,
            Some(id) => store::load_agreement(self.db(), id).await?.map(|(_, agreement)| agreement),
        };
        let kek = self.shared.secrets.kek.as_ref().ok_or(Error::NotConfigured("CRMSYNC_KEK"))?;
        let keys = kek.destination(destination_id)?;
        let client = self.client(&destination)?;
        Ok(Outlet { destination, agreement, mapping, mapping_version_id, keys, client })
    }
}

impl Outlet {
    /// What receives.
    #[must_use]
    pub const fn object(&self) -> &Object {
        &self.destination.object
    }

    /// Whether loads and changes may go; else only ceases do.
    #[must_use]
    pub fn sends_everything(&self) -> bool {
        self.destination.state == State::Active
    }

    /// Whether the agreement is in force by its state; its window is the gate's business.
    #[must_use]
    pub fn is_agreed(&self) -> bool {
        self.agreement.as_ref().is_some_and(|agreement| agreement.state == AgreementState::Active)
    }

    /// Id of the agreement.
    #[must_use]
    pub fn agreement_id(&self) -> Option<Uuid> {
        self.agreement.as_ref().map(|agreement| agreement.claims.agreement_id)
    }
}
