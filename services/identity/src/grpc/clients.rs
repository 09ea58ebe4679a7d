use base64::{Engine as _, engine::general_purpose::STANDARD};
use proto::identity::v1::{
    self as wire, CreateClientRequest, CreateClientResponse, DeleteClientRequest, DeleteClientResponse,
    GetClientRequest, GetClientResponse, ListClientsRequest, ListClientsResponse, RotateClientSecretRequest,
    RotateClientSecretResponse, UpdateClientRequest, UpdateClientResponse,
    client_service_server::ClientService,
};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{
    app::{App, ClientRow, Draft},
    client,
    error::Error,
    events,
    theme::{Logo, Theme},
};

const LONGEST_JWKS: usize = 65_536;

/// `kotinos.identity.v1.ClientService`
#[derive(Clone)]
pub struct Clients {
    app: App,
}

impl Clients {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl ClientService for Clients {
    async fn create_client(
        &self,
        request: Request<CreateClientRequest>,
    ) -> Result<Response<CreateClientResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let request_id = wrong.parse("request_id", &request.request_id);
        let draft = draft(&mut wrong, request.client.unwrap_or_default());
        let (request_id, draft) = wrong.done(request_id.zip(draft)).map_err(chassis::status)?;
        let created = self.app.create_client(&actor, request_id, draft).await;
        let (row, secret) = created.map_err(chassis::status)?;
        let client_secret = secret.unwrap_or_default();
        Ok(Response::new(CreateClientResponse { client: Some(to_proto(row)), client_secret }))
    }

    async fn get_client(
        &self,
        request: Request<GetClientRequest>,
    ) -> Result<Response<GetClientResponse>, Status> {
        let client_id = client_id(&request.get_ref().client_id).map_err(chassis::status)?;
        let row = self.app.get_client(client_id).await.map_err(chassis::status)?;
        Ok(Response::new(GetClientResponse { client: Some(to_proto(row)) }))
    }

    async fn list_clients(
        &self,
        request: Request<ListClientsRequest>,
    ) -> Result<Response<ListClientsResponse>, Status> {
        let request = request.into_inner();
        let mut wrong = Violations::default();
        if !request.page_token.is_empty() && !client::is_client_id(&request.page_token) {
            wrong.add("page_token", "must be the next_page_token of a page");
        }
        wrong.done(Some(())).map_err(chassis::status)?;
        let size = parse::page_size(request.page_size);
        let rows = self.app.list_clients(&request.page_token, size).await.map_err(chassis::status)?;
        let next_page_token = parse::next_page(&rows, size, |row| row.client.client_id.clone());
        let clients = rows.into_iter().map(to_proto_of_list).collect();
        Ok(Response::new(ListClientsResponse { clients, next_page_token }))
    }

    async fn update_client(
        &self,
        request: Request<UpdateClientRequest>,
    ) -> Result<Response<UpdateClientResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let draft = draft(&mut wrong, request.client.unwrap_or_default());
        let version = wrong.version(request.expected_version);
        let draft = wrong.done(draft).map_err(chassis::status)?;
        let row = self.app.update_client(&actor, draft, version).await.map_err(chassis::status)?;
        Ok(Response::new(UpdateClientResponse { client: Some(to_proto(row)) }))
    }

    async fn delete_client(
        &self,
        request: Request<DeleteClientRequest>,
    ) -> Result<Response<DeleteClientResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let version = wrong.version(request.expected_version);
        let client_id = wrong.client_id(&request.client_id);
        let client_id = wrong.done(client_id).map_err(chassis::status)?;
        self.app.delete_client(&actor, client_id, version).await.map_err(chassis::status)?;
        Ok(Response::new(DeleteClientResponse {}))
    }

    async fn rotate_client_secret(
        &self,
        request: Request<RotateClientSecretRequest>,
    ) -> Result<Response<RotateClientSecretResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let request = request.into_inner();
        let mut wrong = Violations::default();
        let client_id = wrong.client_id(&request.client_id);
        let request_id = wrong.parse("request_id", &request.request_id);
        let version = wrong.version(request.expected_version);
        let (client_id, request_id) = wrong.done(client_id.zip(request_id)).map_err(chassis::status)?;
        let rotated = self.app.rotate_client_secret(&actor, client_id, version, request_id).await;
        let (row, client_secret) = rotated.map_err(chassis::status)?;
        Ok(Response::new(RotateClientSecretResponse { client: Some(to_proto(row)), client_secret }))
    }
}

fn client_id(text: &str) -> Result<&str, Error> {
    let mut wrong = Violations::default();
    let client_id = wrong.client_id(text);
    wrong.done(client_id)
}

// The registration's own rules are the client's to check; here only what has a form of its own.
fn draft(wrong: &mut Violations, client: wire::Client) -> Option<Draft> {
    let jwks = match client.jwks.as_str() {
        "" => Value::Null,
        text if text.len() > LONGEST_JWKS => {
            wrong.add("client.jwks", "must be at most 64 KiB");
            return None;
        }
        text => match serde_json::from_str(text) {
            Ok(jwks) => jwks,
            Err(_) => {
                wrong.add("client.jwks", "must be a JSON object");
                return None;
            }
        },
    };
    let draft = json!({
        "client_id": client.client_id,
        "name": client.name,
        "kind": client.kind,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "jwks": jwks,
        "redirect_uris": client.redirect_uris,
        "post_logout_redirect_uris": client.post_logout_redirect_uris,
        "backchannel_logout_uri": or_null(client.backchannel_logout_uri),
        "grant_types": client.grant_types,
        "scopes": client.scopes,
        "audiences": client.audiences,
        "pkce_required": !client.pkce_optional,
        "id_token_signed_response_alg": or_null(client.id_token_signed_response_alg),
    });
    let Value::Object(mut fields) = draft else { return None };
    let mut add = |name: &str, given: Option<Value>| {
        fields.extend(given.map(|given| (name.to_owned(), given)));
    };
    add("profile", client.profile.map(Value::from));
    add(
        "require_pushed_authorization_requests",
        client.require_pushed_authorization_requests.map(Value::from),
    );
    add("dpop_bound_access_tokens", client.dpop_bound_access_tokens.map(Value::from));
    add("access_token_format", client.access_token_format.map(Value::from));
    add("jwks_uri", client.jwks_uri.map(or_null));
    add("token_url_audience", client.token_url_audience.map(Value::from));
    let seconds = |seconds: u32| if seconds == 0 { Value::Null } else { seconds.into() };
    add("access_token_seconds", client.access_token_seconds.map(seconds));
    add("refresh_grace_seconds", client.refresh_grace_seconds.map(Value::from));
    add("theme", client.theme.map(theme));
    Some(Draft(fields))
}

fn or_null(text: String) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

// In the form of the bootstrap file. One that says nothing takes a client's theme away.
fn theme(theme: wire::Theme) -> Value {
    if theme == wire::Theme::default() {
        return Value::Null;
    }
    let logo = |logo: wire::Logo| json!({"media_type": logo.media_type, "data": STANDARD.encode(logo.data)});
    json!({
        "accent": or_null(theme.accent),
        "accent_dark": or_null(theme.accent_dark),
        "logo": theme.logo.map(logo),
    })
}

fn theme_to_proto(theme: &Theme) -> wire::Theme {
    let logo =
        |logo: &Logo| wire::Logo { media_type: logo.media_type().to_owned(), data: logo.bytes().to_vec() };
    wire::Theme {
        accent: theme.accent().to_string(),
        accent_dark: theme.accent_dark().map(|dark| dark.to_string()).unwrap_or_default(),
        logo: theme.logo().map(logo),
    }
}

// A page of logos would be larger than a message may be.
fn to_proto_of_list(row: ClientRow) -> wire::Client {
    let mut client = to_proto(row);
    if let Some(logo) = client.theme.as_mut().and_then(|theme| theme.logo.as_mut()) {
        logo.data.clear();
    }
    client
}

fn to_proto(row: ClientRow) -> wire::Client {
    let client = row.client;
    wire::Client {
        client_id: client.client_id,
        version: row.version,
        name: client.name,
        kind: client.kind.name().to_owned(),
        token_endpoint_auth_method: client.auth_method.name().to_owned(),
        jwks: client.jwks.map(|jwks| jwks.to_string()).unwrap_or_default(),
        redirect_uris: client.redirect_uris,
        post_logout_redirect_uris: client.post_logout_redirect_uris,
        backchannel_logout_uri: client.backchannel_logout_uri.unwrap_or_default(),
        grant_types: client.grant_types,
        scopes: client.scopes,
        audiences: client.audiences,
        pkce_optional: !client.pkce_required,
        id_token_signed_response_alg: client.id_token_alg.name().to_owned(),
        updated_at: Some(events::timestamp(row.updated_at)),
        profile: Some(client.profile.name().to_owned()),
        require_pushed_authorization_requests: Some(client.par_required),
        dpop_bound_access_tokens: Some(client.dpop_required),
        access_token_format: Some(client.tokens.format.name().to_owned()),
        jwks_uri: Some(client.jwks_uri.unwrap_or_default()),
        token_url_audience: Some(client.token_url_audience),
        access_token_seconds: Some(client.tokens.access_seconds.unwrap_or_default()),
        refresh_grace_seconds: Some(client.tokens.refresh_grace_seconds),
        theme: client.theme.as_deref().map(theme_to_proto),
    }
}
