use chassis::FieldViolation;
use proto::profile::v1::{
    GetTraitSchemaRequest, GetTraitSchemaResponse, TraitDefinition, TraitSchema,
    schema_service_server::SchemaService,
};
use tonic::{Request, Response, Status};

use crate::{
    Error,
    schema::{self, Definition, Kind},
};

/// `kotinos.profile.v1.SchemaService`
#[derive(Debug, Clone, Copy)]
pub struct Schemas;

#[tonic::async_trait]
impl SchemaService for Schemas {
    async fn get_trait_schema(
        &self,
        request: Request<GetTraitSchemaRequest>,
    ) -> Result<Response<GetTraitSchemaResponse>, Status> {
        let asked = request.into_inner().version;
        if asked > schema::VERSION {
            let unknown = FieldViolation::new("version", "must be 0 or the version of a published schema");
            return Err(chassis::status(Error::from(unknown)));
        }
        let traits = schema::TRAITS.iter().map(to_proto).collect();
        let schema = TraitSchema { version: schema::VERSION, traits };
        Ok(Response::new(GetTraitSchemaResponse { schema: Some(schema) }))
    }
}

fn to_proto(definition: &Definition) -> TraitDefinition {
    let allowed = match definition.kind {
        Kind::Enum(values) => values.iter().map(|value| (*value).to_owned()).collect(),
        _ => Vec::new(),
    };
    TraitDefinition {
        name: definition.name.to_owned(),
        category: definition.category.name().to_owned(),
        r#type: definition.type_name().to_owned(),
        max_length: u32::try_from(definition.max_length()).unwrap_or(u32::MAX),
        allowed_values: allowed,
    }
}
