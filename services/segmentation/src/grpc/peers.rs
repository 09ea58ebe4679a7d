//! Other services, as segmentation sees them.

use chassis::{Peer, PeerError};
use proto::profile::v1::{
    GetTraitSchemaRequest, TraitDefinition, schema_service_client::SchemaServiceClient,
};

use crate::rule::KnownTrait;

/// profile's answers.
#[derive(Debug, Clone)]
pub struct Profiles {
    schemas: SchemaServiceClient<Peer>,
}

impl Profiles {
    /// Over a channel.
    #[must_use]
    pub fn new(peer: Peer) -> Self {
        Self { schemas: SchemaServiceClient::new(peer) }
    }

    /// The traits that rules may name.
    ///
    /// # Errors
    /// Profile does not answer.
    pub async fn known_traits(&self) -> Result<Vec<KnownTrait>, PeerError> {
        let request = GetTraitSchemaRequest { version: 0 };
        let answer = self.schemas.clone().get_trait_schema(request).await?;
        let schema = answer.into_inner().schema.unwrap_or_default();
        let known = |definition: TraitDefinition| KnownTrait {
            name: definition.name,
            category: definition.category,
            multi_valued: definition.r#type.ends_with("set"),
            allowed_values: definition.allowed_values,
        };
        Ok(schema.traits.into_iter().map(known).collect())
    }
}
