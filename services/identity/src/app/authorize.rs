use domain::UserId;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{App, Origin, StepUp, par};
use crate::{
    acr::{Level, Met},
    authorization::{self, Fault, Next, Request, ResponseMode},
    client::Client,
    error::Error,
    grant::{self, Grant},
    handle::{Handle, Kind},
    params::Params,
    pushed_request, scope,
    session::Session,
    store::{self, staff::Consented},
    subject,
};

/// Where a request goes next.
#[derive(Debug)]
pub enum Step {
    /// Client or redirect URI are not proved: an error page, and nothing is sent anywhere.
    Refuse(&'static str),
    /// The user signs in.
    SignIn(Request),
    /// The user, who is signed in, shows more.
    ShowMore(Request, StepUp),
    /// The user is asked to allow these scopes.
    AskConsent(Request),
    /// The client gets its answer.
    Respond(Response),
}

/// What a request leads to, before anything is written.
pub(super) enum Planned {
    /// A page, or an answer without a code.
    Step(Step),
    /// A code.
    Code {
        /// What it stands for; of the scopes those of staff are not judged yet.
        grant: Box<Grant>,
        /// The request that asked for it.
        request: Request,
        /// Whether the client is ours.
        first_party: bool,
        /// How strongly the user has signed in.
        reached: Level,
    },
}

/// An authorization response.
#[derive(Debug)]
pub struct Response {
    /// Whose it is.
    pub client_id: String,
    /// A proved redirect URI.
    pub redirect_uri: String,
    /// How it travels.
    pub mode: ResponseMode,
    /// Names and values.
    pub pairs: Vec<(&'static str, String)>,
}

const NOT_PUSHED: Fault =
    Fault { error: "invalid_request", description: "the client must push its requests (RFC 9126)" };

#[derive(Deserialize)]
pub(super) struct HintClaims {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub sid: Option<String>,
}

impl App {
    /// Judges a new authorization request.
    ///
    /// # Errors
    /// The database.
    pub async fn authorize(&self, params: &Params, session: Option<&Session>) -> Result<Step, Error> {
        if ["client_id", "redirect_uri", "request_uri"].iter().any(|name| params.repeats(name)) {
            return Ok(Step::Refuse("error_request"));
        }
        let Some(client) = self.client(params.get("client_id").unwrap_or_default()).await? else {
            return Ok(Step::Refuse("error_client"));
        };
        if let Some(request_uri) = params.get("request_uri").filter(|uri| pushed_request::is_urn(uri)) {
            return self.authorize_pushed(&client, request_uri, session).await;
        }
        let redirect_uri = params.get("redirect_uri").filter(|uri| client.has_redirect_uri(uri));
        let Some(redirect_uri) = redirect_uri else { return Ok(Step::Refuse("error_redirect_uri")) };
        let parsed = if client.requires_par() {
            Err(NOT_PUSHED)
        } else {
            Request::parse(&client, redirect_uri, params)
        };
        match parsed {
            Ok(request) => self.go_on(request, &client, session).await,
            Err(fault) => {
                let mode = authorization::response_mode(params).unwrap_or(ResponseMode::Query);
                let state =
                    params.get("state").filter(|state| state.len() <= 2_048 && !params.repeats("state"));
                Ok(Step::Respond(self.fail(&client.client_id, redirect_uri, mode, state, fault)))
            }
        }
    }

    /// Goes on with a request that waited for its user. What was proved is asked again, since clients change.
    ///
    /// # Errors
    /// The database.
    pub async fn resume(&self, request: Request, session: Option<&Session>) -> Result<Step, Error> {
        let planned = self.plan_to_resume(request, session).await?;
        self.respond(planned).await
    }

    /// What going on leads to; it reads only, so that it can be known before a sign-in's transaction.
    pub(super) async fn plan_to_resume(
        &self,
        request: Request,
        session: Option<&Session>,
    ) -> Result<Planned, Error> {
        let client = self.client(&request.client_id).await?;
        let Some(client) = client.filter(|client| client.has_redirect_uri(&request.redirect_uri)) else {
            return Ok(Planned::Step(Step::Refuse("error_client")));
        };
        self.plan(request, &client, session).await
    }

    async fn respond(&self, planned: Planned) -> Result<Step, Error> {
        match planned {
            Planned::Step(step) => Ok(step),
            code @ Planned::Code { .. } => self.carry_out(&mut *self.db.acquire().await?, code).await,
        }
    }

    /// Writes a planned code, perhaps as part of a transaction.
    pub(super) async fn carry_out(&self, db: &mut PgConnection, planned: Planned) -> Result<Step, Error> {
        let (mut grant, request, first_party, reached) = match planned {
            Planned::Step(step) => return Ok(step),
            Planned::Code { grant, request, first_party, reached } => (grant, request, first_party, reached),
        };
        if grant.scopes.iter().any(|scope| scope::is_staff(scope, first_party)) {
            // Of a user who has shown two factors. Somebody nominated becomes staff in the transaction of the sign-up.
            let held = if reached < Level::Two {
                Vec::new()
            } else {
                store::staff::scopes(&mut *db, grant.user_id).await?
            };
            grant.scopes = scope::of_user(&grant.scopes, &grant.scopes, first_party, &held);
        }
        if !store::grant::issue(db, &grant, request.pushed_request_id).await? {
            return Ok(self.refuse(&request, par::OVER));
        }
        tracing::info!(client_id = %grant.client_id, user_id = %grant.user_id, "authorization code issued");
        let code = Handle::of(Kind::Code, grant.code_id).mint(self.keys());
        let mut pairs = vec![("code", code)];
        pairs.extend(request.state.map(|state| ("state", state)));
        pairs.push(("iss", self.issuer().to_owned()));
        Ok(Step::Respond(Response {
            client_id: request.client_id,
            redirect_uri: request.redirect_uri,
            mode: request.response_mode,
            pairs,
        }))
    }

    /// The user will not allow it.
    pub fn denied(&self, request: &Request) -> Response {
        let fault = Fault { error: "access_denied", description: "the user did not allow it" };
        self.fail_request(request, fault)
    }

    /// What this user would still have to allow this client.
    ///
    /// # Errors
    /// The database.
    pub async fn missing_consent(
        &self,
        request: &Request,
        client: &Client,
        user_id: UserId,
    ) -> Result<Consented, Error> {
        let mut asked = asked(request, client);
        if request.prompt_consent {
            return Ok(asked);
        }
        if client.is_first_party() {
            return Ok(Consented::default());
        }
        let allowed = store::staff::consented(&self.db, user_id, &client.client_id).await?;
        // A claim is allowed by its name, or with the scope that opens it.
        let by_scope = request.claims.within(&client.scopes).beyond(&allowed.scopes);
        asked.claims.retain(|claim| by_scope.contains(claim) && !allowed.claims.contains(claim));
        asked.scopes.retain(|scope| !allowed.scopes.contains(scope));
        Ok(asked)
    }

    /// Notes that the user allows the client what it asks for, and answers the client.
    ///
    /// # Errors
    /// The database.
    pub async fn allow(
        &self,
        mut request: Request,
        session: &Session,
        origin: Origin,
    ) -> Result<Step, Error> {
        let Some(client) = self.client(&request.client_id).await? else {
            return Ok(Step::Refuse("error_client"));
        };
        let asked = asked(&request, &client);
        self.grant_consent(session.user_id, &client.client_id, &asked, origin).await?;
        request.prompt_consent = false;
        self.resume(request, Some(session)).await
    }

    pub(super) async fn go_on(
        &self,
        request: Request,
        client: &Client,
        session: Option<&Session>,
    ) -> Result<Step, Error> {
        let planned = self.plan(request, client, session).await?;
        self.respond(planned).await
    }

    async fn plan(
        &self,
        request: Request,
        client: &Client,
        session: Option<&Session>,
    ) -> Result<Planned, Error> {
        let mut hinted = match &request.id_token_hint {
            Some(hint) => Some(self.hinted_user(client, hint, session)?),
            None => None,
        };
        // A `sub` in claims is as good a hint, and as binding (OIDC Core 5.5.1).
        if let (Some(sub), None | Some(Some(_))) = (&request.sub, hinted) {
            hinted = Some(self.named_user(client, sub, session)?);
        }
        let needs_consent = match session {
            Some(session) => !self.missing_consent(&request, client, session.user_id).await?.is_empty(),
            None => false,
        };
        let next = authorization::next(&request, session, hinted, needs_consent, self.now());
        let mut reached = Level::One;
        if let (Next::Issue | Next::AskConsent, Some(session)) = (&next, session) {
            reached = match self.judge_level(&request, client, session).await? {
                Met::With(level) => level,
                Met::StepUp if !request.prompt_none => return self.ask_more(request, session).await,
                Met::StepUp => {
                    return Ok(Planned::Step(self.refuse(&request, authorization::LOGIN_REQUIRED)));
                }
                Met::Unmet => return Ok(Planned::Step(self.refuse(&request, authorization::UNMET))),
            };
        }
        Ok(Planned::Step(match (next, session) {
            (Next::Issue, Some(session)) => {
                let grant = Box::new(self.grant(&request, client, session, reached));
                let first_party = client.is_first_party();
                return Ok(Planned::Code { grant, request, first_party, reached });
            }
            (Next::Issue | Next::SignIn, _) => Step::SignIn(request),
            (Next::AskConsent, _) => Step::AskConsent(request),
            (Next::Fail(fault), _) => self.refuse(&request, fault),
        }))
    }

    async fn ask_more(&self, mut request: Request, session: &Session) -> Result<Planned, Error> {
        request.asked_more = true;
        Ok(Planned::Step(Step::ShowMore(request, self.step_up(session).await?)))
    }

    fn refuse(&self, request: &Request, fault: Fault) -> Step {
        Step::Respond(self.fail_request(request, fault))
    }

    // The hint names the session's user or nobody: whom else it names makes no difference.
    fn hinted_user(
        &self,
        client: &Client,
        hint: &str,
        session: Option<&Session>,
    ) -> Result<Option<UserId>, Error> {
        let claims = self.read_token::<HintClaims>("JWT", hint)?;
        let Some(claims) =
            claims.filter(|claims| claims.iss == self.issuer() && claims.aud == client.client_id)
        else {
            return Ok(None);
        };
        self.named_user(client, &claims.sub, session)
    }

    fn named_user(
        &self,
        client: &Client,
        sub: &str,
        session: Option<&Session>,
    ) -> Result<Option<UserId>, Error> {
        let Some(session) = session else { return Ok(None) };
        let own = subject::subject(self.keys(), client, session.user_id)?;
        Ok((own == sub).then_some(session.user_id))
    }

    fn grant(&self, request: &Request, client: &Client, session: &Session, reached: Level) -> Grant {
        let now = self.now();
        self.note_seen(session, now);
        let registered = request.scopes.iter().filter(|scope| client.scopes.contains(scope));
        Grant {
            code_id: domain::new_id(),
            client_id: client.client_id.clone(),
            user_id: session.user_id,
            session_id: session.session_id,
            redirect_uri: request.redirect_uri.clone(),
            code_challenge: request.code_challenge.clone(),
            nonce: request.nonce.clone(),
            scopes: registered.cloned().collect(),
            resources: request.resources.clone(),
            claims: request.claims.within(&client.scopes),
            acr: reached.name().to_owned(),
            amr: session.shown().methods(),
            jkt: request.dpop_jkt.clone(),
            auth_time: session.pwd_at,
            issued_at: now,
            expires_at: now + grant::LIFE,
            consumed_at: None,
        }
    }

    fn fail_request(&self, request: &Request, fault: Fault) -> Response {
        let Request { client_id, redirect_uri, response_mode, state, .. } = request;
        self.fail(client_id, redirect_uri, *response_mode, state.as_deref(), fault)
    }

    pub(super) fn fail(
        &self,
        client_id: &str,
        redirect_uri: &str,
        mode: ResponseMode,
        state: Option<&str>,
        fault: Fault,
    ) -> Response {
        tracing::info!(error = fault.error, description = fault.description, "authorization refused");
        let mut pairs =
            vec![("error", fault.error.to_owned()), ("error_description", fault.description.to_owned())];
        pairs.extend(state.map(|state| ("state", state.to_owned())));
        pairs.push(("iss", self.issuer().to_owned()));
        let (client_id, redirect_uri) = (client_id.to_owned(), redirect_uri.to_owned());
        Response { client_id, redirect_uri, mode, pairs }
    }
}

// What the user of this request has to allow: scopes, and claims that none of these opens.
fn asked(request: &Request, client: &Client) -> Consented {
    let scopes = scope::of_user(&request.scopes, &client.scopes, client.is_first_party(), &[]);
    let claims = request.claims.within(&client.scopes).beyond(&scopes);
    Consented { scopes, claims }
}
