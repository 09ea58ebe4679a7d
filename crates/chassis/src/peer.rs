mod answer;
mod balance;
mod channels;
mod payload;
mod replicas;
mod retry;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, Uri,
    header::{AUTHORIZATION, HeaderName},
    request::Parts,
};
use opentelemetry::{
    propagation::{Injector, TextMapPropagator as _},
    trace::Status as SpanStatus,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body};
use tower::Service;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use self::{answer::Answer, channels::Link, payload::Payload, retry::Failure};
use crate::{layers::deadline, peer_token::OwnTokens, policy::Policies, semconv};

pub(crate) use channels::Channels;
pub use replicas::Replicas;

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const SERVER_ADDRESS: &str = "server.address";
/// A call without a deadline of its own, to a method that nobody knows.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
/// A stream may go on for ever, but not before it begins. Its connection's end does not always reach a call that was just
/// handed over to it, so that nothing else would end the wait.
const STREAM_HEAD: Duration = Duration::from_secs(30);
/// Kept back of the caller's own time, to answer in.
const OWN_TIME: Duration = Duration::from_millis(5);

/// Connections in a row that may turn out to have closed, before a call waits as after any other failure.
const MOST_TURNED_AWAY: u32 = 3;

/// Where a peer answers; none while that is not known yet.
pub(crate) type PeerPlaces = Arc<dyn Fn() -> Option<Replicas> + Send + Sync>;

/// What stands in `authorization`.
#[derive(Clone)]
pub(crate) enum TokenSource {
    /// Nothing.
    None,
    /// Somebody's token, on whose behalf we call.
    Fixed(String),
    /// Our own, for this audience.
    Own(OwnTokens, &'static str),
}

/// Another service, as the channel of any of its generated clients: `ProfileServiceClient::new(peer)`.
///
/// A call carries a token, the trace, and a deadline: the rest of the present call's time, or the method's own. One that
/// could not arrive is repeated, and one that was answered UNAVAILABLE too when its method says that this does no harm.
#[derive(Clone)]
pub struct Peer {
    channels: Channels,
    places: PeerPlaces,
    token_source: TokenSource,
    policies: Arc<Policies>,
}

impl Peer {
    pub(crate) fn new(
        channels: Channels,
        places: PeerPlaces,
        token_source: TokenSource,
        policies: Arc<Policies>,
    ) -> Self {
        Self { channels, places, token_source, policies }
    }

    /// A peer at a known address, with a known token or none: for drivers and tests.
    #[must_use]
    pub fn fixed(uri: Uri, token: Option<String>) -> Self {
        Self::fixed_replicas(vec![uri], token)
    }

    /// The same with several replicas.
    #[must_use]
    pub fn fixed_replicas(uris: Vec<Uri>, token: Option<String>) -> Self {
        let token_source = token.map_or(TokenSource::None, TokenSource::Fixed);
        let replicas = Replicas::from(uris);
        // The descriptors are part of the program, and a test reads them all.
        let policies = Arc::new(Policies::all().unwrap_or_default());
        Self::new(Channels::default(), Arc::new(move || Some(replicas.clone())), token_source, policies)
    }

    async fn send(
        &self,
        replicas: Option<Replicas>,
        request: Request<Body>,
        rules: Rules,
    ) -> Result<Response<Body>, Status> {
        let replicas =
            replicas.ok_or_else(|| Status::unavailable("the address of the peer is not known yet"))?;
        let link = self.channels.link(&replicas)?;
        let (mut head, body) = request.into_parts();
        let token = self.token().await?;
        if let Some(token) = &token {
            head.headers.insert(AUTHORIZATION, bearer(token)?);
        }
        TraceContextPropagator::new()
            .inject_context(&Span::current().context(), &mut Headers(&mut head.headers));
        let payload = if rules.buffered { Payload::read(body).await? } else { Payload::Once(Some(body)) };
        let answer = attempts(&link, &head, payload, rules).await?;
        if let (TokenSource::Own(tokens, audience), Some(token)) = (&self.token_source, &token)
            && answer::code(answer.headers()) == Some(Code::Unauthenticated)
        {
            tokens.refused(audience, token).await;
        }
        Ok(answer)
    }

    async fn token(&self) -> Result<Option<String>, Status> {
        match &self.token_source {
            TokenSource::None => Ok(None),
            TokenSource::Fixed(token) => Ok(Some(token.clone())),
            TokenSource::Own(tokens, audience) => Ok(Some(tokens.token(audience).await?)),
        }
    }

    fn rules(&self, path: &str) -> Rules {
        let policy = self.policies.get(path);
        let left = match (deadline::remaining(), policy) {
            (Some(left), _) => Some(left.saturating_sub(OWN_TIME)),
            (None, Some(policy)) if policy.server_streaming => None,
            (None, Some(policy)) => Some(policy.max_deadline),
            (None, None) => Some(DEFAULT_DEADLINE),
        };
        Rules {
            until: left.map(|left| Instant::now() + left),
            begins: Instant::now() + left.unwrap_or(STREAM_HEAD),
            idempotent: policy.is_some_and(|policy| policy.idempotent),
            buffered: policy.is_some_and(|policy| !policy.client_streaming),
        }
    }
}

/// What holds for one call.
#[derive(Clone, Copy)]
struct Rules {
    until: Option<Instant>,
    // By when there is the head of an answer.
    begins: Instant,
    idempotent: bool,
    // The request is one message, which can be kept to be repeated.
    buffered: bool,
}

async fn attempts(
    link: &Link,
    head: &Parts,
    mut payload: Payload,
    rules: Rules,
) -> Result<Response<Body>, Status> {
    link.budget.called(Instant::now());
    let (mut attempt, mut turned_away) = (1, 0);
    loop {
        let mut request = Request::from_parts(head.clone(), payload.body());
        if let Some(until) = rules.until
            && !head.headers.contains_key(GRPC_TIMEOUT)
        {
            request
                .headers_mut()
                .insert(GRPC_TIMEOUT, timeout(until.saturating_duration_since(Instant::now())));
        }
        let outcome = link.balance.call(request).await;
        // Nobody has seen it: the next replica costs neither time nor budget.
        if matches!(outcome, Err(Failure::NotTaken(_)))
            && turned_away < MOST_TURNED_AWAY
            && payload.is_repeatable()
        {
            turned_away += 1;
            continue;
        }
        let harmless = match retry::trouble(&outcome) {
            None => false,
            Some(retry::Trouble::NotSent) => true,
            Some(retry::Trouble::Unavailable) => rules.idempotent,
        };
        if !harmless
            || attempt == retry::MOST
            || !payload.is_repeatable()
            || !link.budget.take(Instant::now())
        {
            return outcome.map_err(retry::status);
        }
        tracing::debug!(attempt, "the peer is not available, trying again");
        tokio::time::sleep(retry::wait()).await;
        attempt += 1;
    }
}

// At most eight digits and a unit (gRPC over HTTP/2); a day is as good as more.
fn timeout(left: Duration) -> HeaderValue {
    let milliseconds = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).clamp(1, 86_400_000);
    HeaderValue::try_from(format!("{milliseconds}m")).unwrap_or_else(|_| HeaderValue::from_static("1m"))
}

fn bearer(token: &str) -> Result<HeaderValue, Status> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Status::unauthenticated("the access token cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Headers that a trace is written into.
pub(crate) struct Headers<'a>(pub(crate) &'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Notes how a call ended on its span: whatever is not OK is an error to whoever asked.
fn note(span: &Span, code: Code) {
    let name = semconv::grpc_code(code);
    span.set_attribute(semconv::RPC_RESPONSE_STATUS_CODE, name);
    if code != Code::Ok {
        span.set_attribute(semconv::ERROR_TYPE, name);
        span.set_status(SpanStatus::error(""));
    }
}

impl Service<Request<Body>> for Peer {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        // Whether the channel is ready belongs to the call, under its deadline: one without endpoints never is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (peer, replicas) = (self.clone(), (self.places)());
        let path = request.uri().path();
        let method = path.trim_start_matches('/');
        let span = tracing::info_span!("grpc", otel.name = method, otel.kind = "client");
        span.set_attribute(semconv::RPC_SYSTEM_NAME, "grpc");
        span.set_attribute(semconv::RPC_METHOD, method.to_owned());
        if let Some(host) = replicas.as_ref().and_then(Replicas::host) {
            span.set_attribute(SERVER_ADDRESS, host.to_owned());
        }
        // Here and not later: the future may be run by another task, which has no deadline.
        let rules = self.rules(path);
        let inside = span.clone();
        let call = async move {
            let sent = peer.send(replicas, request, rules);
            let answer = timeout_at(rules.begins, sent).await.unwrap_or_else(|_| Err(answer::late()));
            match &answer {
                Ok(answer) => {
                    if let Some(code) = answer::code(answer.headers()) {
                        note(&inside, code);
                    }
                }
                Err(status) => note(&inside, status.code()),
            }
            Ok(answer?.map(|body| Body::new(Answer::new(body, rules.until, inside))))
        };
        Box::pin(call.instrument(span))
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = match &self.token_source {
            TokenSource::None => "none",
            TokenSource::Fixed(_) => "fixed",
            TokenSource::Own(..) => "own",
        };
        f.debug_struct("Peer").field("places", &(self.places)()).field("token", &token).finish()
    }
}

#[cfg(test)]
mod tests;
