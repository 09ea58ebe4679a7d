use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::extract::MatchedPath;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use opentelemetry::{
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Status, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::{Watch, Wire};
use crate::{Metrics, semconv};

/// A SERVER span and a figure for each gRPC call, which both end with the body: a call's status is in its trailers.
#[derive(Clone)]
pub(crate) struct GrpcTrace {
    is_known: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    metrics: Metrics,
}

impl GrpcTrace {
    /// `is_known` says of a path whether it is a method of this listener; all others share one name, since a caller may
    /// make up as many as it likes.
    pub(crate) fn new(is_known: impl Fn(&str) -> bool + Send + Sync + 'static, metrics: &Metrics) -> Self {
        Self { is_known: Arc::new(is_known), metrics: metrics.clone() }
    }

    fn begin(&self, path: &str, headers: &HeaderMap) -> Call {
        let known = (self.is_known)(path).then(|| path.trim_start_matches('/'));
        let method: Arc<str> = known.unwrap_or(semconv::UNKNOWN_METHOD).into();
        let span = tracing::info_span!(parent: None, "grpc", otel.name = &*method, otel.kind = "server");
        continue_from(&span, headers);
        if let Some(service) = package_of(&method) {
            span.set_attribute(semconv::SERVICE, service.name());
        }
        span.set_attribute(semconv::RPC_SYSTEM_NAME, "grpc");
        span.set_attribute(semconv::RPC_METHOD, method.to_string());
        let trace_id = sampled_trace(&span);
        let metrics = self.metrics.clone();
        Call { span, metrics, method, began: Instant::now(), trace_id, code: tonic::Code::Cancelled }
    }
}

/// Whose package a method is in: in one process with others nothing else tells.
fn package_of(method: &str) -> Option<domain::Service> {
    let in_package = |service: &domain::Service| {
        method.strip_prefix(service.audience()).is_some_and(|rest| rest.starts_with('.'))
    };
    domain::Service::ALL.into_iter().find(in_package)
}

impl<S> Layer<S> for GrpcTrace {
    type Service = GrpcTracing<S>;

    fn layer(&self, inner: S) -> GrpcTracing<S> {
        GrpcTracing { inner, trace: self.clone() }
    }
}

/// [`GrpcTrace`] over a service.
#[derive(Clone)]
pub(crate) struct GrpcTracing<S> {
    inner: S,
    trace: GrpcTrace,
}

impl<S, Q, B> Service<Request<Q>> for GrpcTracing<S>
where
    S: Service<Request<Q>, Response = Response<B>, Future: Send + 'static>,
    B: Wire,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let mut call = self.trace.begin(request.uri().path(), request.headers());
        let answer = call.span.in_scope(|| self.inner.call(request));
        Box::pin(async move {
            let answer = answer.instrument(call.span.clone()).await?;
            // There already when there is nothing but an error.
            call.trailers(answer.headers());
            Ok(answer.map(|body| body.watched(call)))
        })
    }
}

/// A gRPC call that is under way. One that is dropped before its status was seen was given up by its caller.
struct Call {
    span: Span,
    metrics: Metrics,
    method: Arc<str>,
    began: Instant,
    trace_id: Option<String>,
    code: tonic::Code,
}

impl Watch for Call {
    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(code) = trailers.get(tonic::Status::GRPC_STATUS) {
            self.code = tonic::Code::from_bytes(code.as_bytes());
        }
    }

    fn failed(&mut self) {
        self.code = tonic::Code::Unknown;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = semconv::grpc_code(self.code);
        self.span.set_attribute(semconv::RPC_RESPONSE_STATUS_CODE, code);
        if semconv::is_failure(self.code) {
            self.span.set_attribute(semconv::ERROR_TYPE, code);
            self.span.set_status(Status::error(""));
        }
        self.metrics.rpc_call(
            Arc::clone(&self.method),
            self.code,
            self.began.elapsed(),
            self.trace_id.take(),
        );
    }
}

/// A SERVER span and a figure for each HTTP request, which both end with the body.
///
/// A request is named by its route's pattern: neither a path's values nor the query are seen, as both may be personal.
/// The router must have matched before: this is a layer of `Router::layer`.
#[derive(Clone)]
pub(crate) struct HttpTrace {
    metrics: Metrics,
}

impl HttpTrace {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self { metrics: metrics.clone() }
    }

    fn begin<Q>(&self, request: &Request<Q>) -> Exchange {
        let method = semconv::http_method(request.method());
        let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let span = tracing::info_span!(parent: None, "http", otel.name = name, otel.kind = "server");
        continue_from(&span, request.headers());
        span.set_attribute(semconv::HTTP_REQUEST_METHOD, method);
        if let Some(route) = route {
            span.set_attribute(semconv::HTTP_ROUTE, route.to_owned());
        }
        let trace_id = sampled_trace(&span);
        Exchange {
            span,
            metrics: self.metrics.clone(),
            method,
            route: route.unwrap_or(semconv::UNMATCHED_ROUTE).into(),
            began: Instant::now(),
            trace_id,
            status: None,
            broken: false,
            enters: false,
        }
    }
}

impl<S> Layer<S> for HttpTrace {
    type Service = HttpTracing<S>;

    fn layer(&self, inner: S) -> HttpTracing<S> {
        HttpTracing { inner, trace: self.clone() }
    }
}

/// [`HttpTrace`] over a service.
#[derive(Clone)]
pub(crate) struct HttpTracing<S> {
    inner: S,
    trace: HttpTrace,
}

impl<S, Q, B> Service<Request<Q>> for HttpTracing<S>
where
    S: Service<Request<Q>, Response = Response<B>, Future: Send + 'static>,
    B: Wire,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let mut exchange = self.trace.begin(&request);
        let answer = exchange.span.in_scope(|| self.inner.call(request));
        Box::pin(async move {
            let answer = answer.instrument(exchange.span.clone()).await?;
            exchange.head(&answer);
            Ok(answer.map(|body| body.watched(exchange)))
        })
    }
}

/// An HTTP request that is under way.
struct Exchange {
    span: Span,
    metrics: Metrics,
    method: &'static str,
    route: Arc<str>,
    began: Instant,
    trace_id: Option<String>,
    // None until there is a head.
    status: Option<http::StatusCode>,
    broken: bool,
    // Whether the body enters the span by itself.
    enters: bool,
}

/// In the extensions of an answer: its body enters the request's span for what it does on its behalf, and for nothing else.
/// For bodies of very many small pieces, where the entering for each is a good part of the work.
#[derive(Debug, Clone, Copy)]
pub struct EntersSpan;

/// The label of a request whose caller went away before there was an answer; no such status is ever sent.
const GIVEN_UP: u16 = 499;

impl Exchange {
    fn head<B>(&mut self, answer: &Response<B>) {
        self.status = Some(answer.status());
        self.enters = answer.extensions().get::<EntersSpan>().is_some();
        // The routes say whose they are, see `of_service`.
        if let Some(service) = answer.extensions().get::<domain::Service>() {
            self.span.set_attribute(semconv::SERVICE, service.name());
        }
    }
}

impl Watch for Exchange {
    fn span(&self) -> Option<&Span> {
        (!self.enters).then_some(&self.span)
    }

    fn failed(&mut self) {
        self.broken = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let status = self.status.map_or(GIVEN_UP, |status| status.as_u16());
        if self.status.is_some() {
            self.span.set_attribute(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
        }
        if status >= 500 || self.broken {
            self.span.set_attribute(semconv::ERROR_TYPE, status.to_string());
            self.span.set_status(Status::error(""));
        }
        let (route, took) = (Arc::clone(&self.route), self.began.elapsed());
        self.metrics.http_request(self.method, route, status, took, self.trace_id.take());
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Makes `span` a child of its caller's (W3C Trace Context). Before anything else is asked of it: then it has begun.
fn continue_from(span: &Span, headers: &HeaderMap) {
    let context =
        TraceContextPropagator::new().extract_with_context(&opentelemetry::Context::new(), &Headers(headers));
    if context.span().span_context().is_valid() {
        // Fails only when nothing traces.
        let _ = span.set_parent(context);
    }
}

/// The trace that a figure points at; one that is not kept would be a dead end.
fn sampled_trace(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    (span.is_valid() && span.is_sampled()).then(|| span.trace_id().to_string())
}

#[cfg(test)]
mod tests;
