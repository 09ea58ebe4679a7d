use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::body::Body;
use tower::{Layer, Service};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    Actor, Denied,
    policy::{Policies, Policy},
    token_verifier::TokenVerifier,
};

// Services of the gRPC project that operators use; they have no policy, and answer without a token only when named here.
const UTILITIES: &str = "grpc.";
const OPEN: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
// Which program calls; a person is never an attribute.
const CLIENT_ID: &str = "kotinos.client_id";

/// Lets a call through when its token allows the method, and puts the [`Actor`] beside the request.
#[derive(Clone)]
pub(crate) struct AuthLayer {
    verifier: TokenVerifier,
    policies: Arc<Policies>,
}

impl AuthLayer {
    pub(crate) const fn new(verifier: TokenVerifier, policies: Arc<Policies>) -> Self {
        Self { verifier, policies }
    }

    async fn check(&self, request: &mut Request<Body>) -> Result<(), Denied> {
        // Whatever lies there, nobody but this layer says who calls.
        request.extensions_mut().remove::<Actor>();
        let path = request.uri().path();
        let Some(policy) = self.policies.get(path) else { return without_policy(path) };
        if policy.public {
            return Ok(());
        }
        let actor = self.verifier.verify(bearer(request.headers())?, &policy.audience).await?;
        allow(&actor, policy)?;
        Span::current().set_attribute(CLIENT_ID, actor.client_id.clone());
        request.extensions_mut().insert(actor);
        Ok(())
    }
}

// A method that nobody has goes on, and is answered UNIMPLEMENTED: the policies are those of every service that was
// added, or the process would not have started.
fn without_policy(path: &str) -> Result<(), Denied> {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/')).map_or("", |(name, _)| name);
    if service.starts_with(UTILITIES) && !OPEN.contains(&service) {
        return Err(Denied::NoToken);
    }
    Ok(())
}

fn allow(actor: &Actor, policy: &Policy) -> Result<(), Denied> {
    if policy.scopes.iter().any(|scope| actor.has(scope)) {
        return Ok(());
    }
    Err(Denied::MissingScope(policy.scopes.join(" or ")))
}

// RFC 6750 2.1; the scheme's case does not matter (RFC 9110 11.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Denied> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Denied::NoToken)?;
    if values.next().is_some() {
        return Err(Denied::Malformed);
    }
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(Denied::Malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(Denied::NoToken) }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { layer: self.clone(), inner }
    }
}

/// [`AuthLayer`] in front of a service.
#[derive(Clone)]
pub(crate) struct Auth<S> {
    layer: AuthLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for Auth<S>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The one that was polled ready serves; its copy waits for the next call.
        let copy = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, copy);
        let layer = self.layer.clone();
        Box::pin(async move {
            match layer.check(&mut request).await {
                Ok(()) => inner.call(request).await,
                Err(denied) => Ok(crate::status(denied).into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::HeaderValue;
    use serde_json::json;
    use tonic::{Code, Status};
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::token_verifier::test_issuer::TestIssuer;

    const GET: &str = "/kotinos.profile.v1.ProfileService/GetProfile";

    // Answers OK, with the client's id when the layer has put a caller there.
    async fn call(issuer: &TestIssuer, path: &str, authorization: &[&str]) -> Status {
        let answer = |request: Request<Body>| async move {
            let actor = request.extensions().get::<Actor>();
            let message = actor.map_or_else(String::new, |actor| actor.client_id.clone());
            Ok::<_, Infallible>(Status::ok(message).into_http())
        };
        let layer = AuthLayer::new(issuer.verifier(), Arc::new(Policies::all().unwrap()));
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        for value in authorization {
            request.headers_mut().append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let response = layer.layer(tower::service_fn(answer)).oneshot(request).await.unwrap();
        Status::from_header_map(response.headers()).unwrap()
    }

    #[tokio::test]
    async fn a_token_of_the_scope_opens_the_method() {
        let issuer = TestIssuer::start().await;
        let token = issuer.sign(&issuer.claims("kotinos.profile"));
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let status = call(&issuer, GET, &[&format!("{scheme} {token}")]).await;
            assert_eq!((status.code(), status.message()), (Code::Ok, "portal"), "{scheme}");
        }
    }

    #[tokio::test]
    async fn a_refusal_says_why() {
        let issuer = TestIssuer::start().await;
        let good = issuer.claims("kotinos.profile");
        let with = |claim: &str, value: serde_json::Value| {
            let mut claims = good.clone();
            claims[claim] = value;
            format!("Bearer {}", issuer.sign(&claims))
        };
        let good = with("client_id", json!("portal"));
        let table: [(&[&str], Code, &str); 8] = [
            (&[], Code::Unauthenticated, "TOKEN_MISSING"),
            (&["Basic cG9ydGFsOg=="], Code::Unauthenticated, "TOKEN_MISSING"),
            (&["Bearer"], Code::Unauthenticated, "TOKEN_MALFORMED"),
            (&[&good, &good], Code::Unauthenticated, "TOKEN_MALFORMED"),
            (
                &[&with("iss", json!("https://elsewhere.example"))],
                Code::Unauthenticated,
                "TOKEN_FOREIGN_ISSUER",
            ),
            (&[&with("aud", json!("kotinos.mailer"))], Code::Unauthenticated, "TOKEN_WRONG_AUDIENCE"),
            (&[&with("exp", json!(1))], Code::Unauthenticated, "TOKEN_EXPIRED"),
            (&[&with("scope", json!("profile.write"))], Code::PermissionDenied, "SCOPE_MISSING"),
        ];
        for (authorization, code, reason) in table {
            let status = call(&issuer, GET, authorization).await;
            assert_eq!(status.code(), code, "{reason}");
            assert_eq!(status.get_details_error_info().unwrap().reason, reason);
            assert!(!status.message().contains("eyJ"), "{}", status.message());
        }
    }

    #[tokio::test]
    async fn what_has_no_policy_is_open_only_by_name() {
        let issuer = TestIssuer::start().await;
        let table = [
            ("/grpc.health.v1.Health/Check", Code::Ok),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Code::Ok),
            ("/grpc.channelz.v1.Channelz/GetServers", Code::Unauthenticated),
            ("/kotinos.profile.v1.ProfileService/Nothing", Code::Ok),
            ("/", Code::Ok),
        ];
        for (path, code) in table {
            assert_eq!(call(&issuer, path, &[]).await.code(), code, "{path}");
        }
    }
}
