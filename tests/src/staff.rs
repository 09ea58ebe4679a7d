use std::time::Duration;

use anyhow::{Context, Result};
use domain::Service;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Endpoint,
};

use crate::{CodeFlow, Provider, Suite, WebVisitor, app_codes, fan};

/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where the console's codes go: nobody listens there, the driver reads them off the redirect.
const REDIRECT_URI: &str = "http://127.0.0.1:49200/callback";

/// A connection that shows a token with each call.
pub type Channel = InterceptedService<tonic::transport::Channel, Bearer>;

/// Somebody of the staff at a terminal.
#[derive(Debug, Clone)]
pub struct Staff {
    /// Login address, by which the bootstrap file grants scopes.
    pub address: &'static str,
    /// Identity's id.
    pub user_id: String,
    bearer: Bearer,
}

/// An access token in every call.
#[derive(Debug, Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// Shows this token.
    ///
    /// # Errors
    /// It is no text of a header.
    pub fn new(access_token: &str) -> Result<Self> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {access_token}").parse()?;
        value.set_sensitive(true);
        Ok(Self(value))
    }

    /// The token itself.
    ///
    /// # Errors
    /// There is none: it was made of one.
    pub fn access_token(&self) -> Result<&str> {
        self.0.to_str()?.strip_prefix("Bearer ").context("a bearer without a token")
    }

    /// A connection to a service; it is made with the first call, and made again when it breaks.
    ///
    /// # Errors
    /// The address is none.
    pub fn channel(&self, suite: &Suite, service: Service) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(suite.addresses.grpc_url(service))?
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE);
        Ok(InterceptedService::new(endpoint.connect_lazy(), self.clone()))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Signs somebody up on the same pages as everybody, by the console: a public client with code and PKCE. Then turns codes by
/// app on, since a scope of staff needs two factors.
///
/// # Errors
/// The pages are not as expected.
pub async fn sign_up(
    suite: &Suite,
    provider: &Provider,
    browser: &mut WebVisitor,
    address: &str,
) -> Result<()> {
    let flow = CodeFlow::begin("console", REDIRECT_URI, "openid")?;
    let start = provider.authorize_url(&flow)?;
    fan::sign_up(suite, browser, address, start.as_str(), REDIRECT_URI).await?;
    app_codes::turn_on(browser, &provider.issuer).await
}

impl Staff {
    /// Signs up, and asks for the scopes.
    ///
    /// # Errors
    /// The pages or the tokens are not as expected.
    pub async fn sign_up(suite: &Suite, address: &'static str, scopes: &[&str]) -> Result<Self> {
        let provider = suite.provider().await?;
        let mut browser = WebVisitor::new("en")?;
        sign_up(suite, &provider, &mut browser, address).await?;
        let scope = format!("openid {}", scopes.join(" "));
        let flow = CodeFlow::begin("console", REDIRECT_URI, &scope)?;
        let start = provider.authorize_url(&flow)?;
        let answer = fan::go_on(&mut browser, start.as_str(), REDIRECT_URI).await?;
        let (tokens, claims) = provider.redeem(&flow, &answer.url, None).await?;
        let granted: Vec<&str> = tokens.scope.split(' ').collect();
        // RFC 6749 5.1: without `scope` everything that was asked for was granted.
        for scope in scopes {
            anyhow::ensure!(
                tokens.scope.is_empty() || granted.contains(scope),
                "{address} did not get the scope {scope}"
            );
        }
        let user_id = claims.sub.unwrap_or_default();
        Ok(Self { address, user_id, bearer: Bearer::new(&tokens.access_token)? })
    }

    /// A connection to a service in this person's name.
    ///
    /// # Errors
    /// The address is none.
    pub fn channel(&self, suite: &Suite, service: Service) -> Result<Channel> {
        self.bearer.channel(suite, service)
    }
    /// The token that this person got at sign-up.
    ///
    /// # Errors
    /// As those of [`Bearer::access_token`].
    pub fn access_token(&self) -> Result<&str> {
        self.bearer.access_token()
    }
}
