use axum::{
    extract::{FromRequest, Request},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tungstenite::handshake::derive_accept_key;

use crate::http::Refusal;

/// The one subprotocol (RFC 6455 1.9).
const PROTOCOL: &str = "kotinos.feed.v1";
const VERSION: &str = "13";

/// A request for a WebSocket by HTTP/1.1 (RFC 6455 4.2.1).
pub struct Handshake {
    accept: String,
    speaks_ours: bool,
    /// What the connection becomes when [`Handshake::answer`] has gone out; nothing where it is gone by then.
    pub socket: BoxFuture<'static, Option<(TcpStream, Bytes)>>,
}

impl<S: Sync> FromRequest<S> for Handshake {
    type Rejection = Response;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Response> {
        let key = key_of(request.method(), request.headers()).map_err(refuse)?;
        let accept = derive_accept_key(key.as_bytes());
        let speaks_ours = has_token(request.headers(), header::SEC_WEBSOCKET_PROTOCOL, PROTOCOL);
        Ok(Self { accept, speaks_ours, socket: Box::pin(chassis::socket_of(&mut request)) })
    }
}

impl Handshake {
    /// The answer that ends it (RFC 6455 4.2.2).
    pub fn answer(&self) -> Response {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&self.accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if self.speaks_ours {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
        }
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

// The caller's key, where the request is what the RFC asks for.
fn key_of<'a>(method: &Method, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
    let wrong = |rule| Refusal { status: StatusCode::BAD_REQUEST, reason: "NO_WEBSOCKET_HANDSHAKE", rule };
    if method != Method::GET {
        return Err(wrong("the method must be GET"));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(wrong("the header Connection must have Upgrade"));
    }
    if !has_token(headers, header::UPGRADE, "websocket") {
        return Err(wrong("the header Upgrade must have websocket"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        let (status, reason) = (StatusCode::UPGRADE_REQUIRED, "WEBSOCKET_VERSION");
        return Err(Refusal { status, reason, rule: "the header Sec-WebSocket-Version must be 13" });
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    key.filter(|key| is_key(key)).ok_or(wrong("the header Sec-WebSocket-Key must be 16 bytes in Base64"))
}

// Sixteen bytes in Base64 (RFC 4648 4).
fn is_key(key: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.strip_suffix("==").is_some_and(|digits| digits.len() == 22 && digits.bytes().all(is_digit))
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| one.trim().eq_ignore_ascii_case(token))
}

fn refuse(refusal: Refusal) -> Response {
    let is_version = refusal.status == StatusCode::UPGRADE_REQUIRED;
    let mut answer = refusal.into_response();
    if is_version {
        // RFC 6455 4.4 and RFC 9110 15.5.22.
        answer.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
        answer.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handshake(change: impl FnOnce(&mut HeaderMap)) -> Result<String, (StatusCode, &'static str)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("WebSocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        change(&mut headers);
        key_of(&Method::GET, &headers)
            .map(|key| derive_accept_key(key.as_bytes()))
            .map_err(|refusal| (refusal.status, refusal.reason))
    }

    #[test]
    fn the_answer_to_the_key_of_the_rfc_is_that_of_the_rfc() {
        assert_eq!(handshake(|_| {}).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        let bad = Err((StatusCode::BAD_REQUEST, "NO_WEBSOCKET_HANDSHAKE"));
        let set = |name: header::HeaderName, value: &'static str| {
            handshake(|headers| {
                headers.insert(name, HeaderValue::from_static(value));
            })
        };
        assert_eq!(set(header::CONNECTION, "keep-alive"), bad);
        assert_eq!(set(header::UPGRADE, "h2c"), bad);
        for key in ["", "short==", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j!Q=="] {
            assert_eq!(set(header::SEC_WEBSOCKET_KEY, key), bad, "{key}");
        }
        let version = Err((StatusCode::UPGRADE_REQUIRED, "WEBSOCKET_VERSION"));
        assert_eq!(set(header::SEC_WEBSOCKET_VERSION, "8"), version);
        assert_eq!(handshake(|headers| drop(headers.remove(header::SEC_WEBSOCKET_VERSION))), version);
        assert_eq!(handshake(|headers| drop(headers.remove(header::SEC_WEBSOCKET_KEY))), bad);
    }
}
