//! A browser, or a client's back end, as far as a load generator needs one: cookies, forms, no following.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::form_urlencoded;

/// One connection at a time, opened again when the server closed it.
pub struct Client {
    pub address: SocketAddr,
    /// Of the issuer, as in its URL.
    host: String,
    cookies: BTreeMap<String, String>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub body: Bytes,
}

impl Client {
    pub fn new(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), cookies: BTreeMap::new(), sender: None }
    }

    /// Another person sits down at it.
    pub fn forget(&mut self) {
        self.cookies.clear();
    }

    /// Goes to another process from now on.
    pub fn turn_to(&mut self, address: SocketAddr) {
        if self.address != address {
            self.address = address;
            self.sender = None;
        }
    }

    pub async fn get(&mut self, target: &str, authorization: Option<&str>) -> Result<Answer> {
        self.send(Method::GET, target, authorization, Bytes::new()).await
    }

    pub async fn post(
        &mut self,
        target: &str,
        authorization: Option<&str>,
        form: &[(&str, &str)],
    ) -> Result<Answer> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, target, authorization, body.into()).await
    }

    async fn send(
        &mut self,
        method: Method,
        target: &str,
        authorization: Option<&str>,
        body: Bytes,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(&method)
            .uri(path_of(target))
            .header(header::HOST, &self.host)
            .header(header::ACCEPT, "*/*");
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body))?;
        let response = self.connected().await?.send_request(request).await;
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                self.sender = None;
                return Err(error).with_context(|| format!("{method} {}", path_of(target)));
            }
        };
        let (parts, body) = response.into_parts();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        };
        self.keep_cookies(&answer.headers);
        Ok(answer)
    }

    async fn connected(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        let is_usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().context("a connection")
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(header::SET_COOKIE) {
            let Ok(text) = value.to_str() else { continue };
            let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let is_over = text.to_ascii_lowercase().contains("max-age=0");
            if is_over || value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

impl Answer {
    /// Where a redirect leads.
    pub fn location(&self) -> Result<&str> {
        let location = self.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        location.with_context(|| format!("no redirect but {}: {}", self.status, self.beginning()))
    }

    /// A successful answer in JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        if self.status != 200 {
            bail!("{}: {}", self.status, self.beginning());
        }
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The first form: its action and its hidden fields.
    pub fn form(&self) -> Result<(String, Vec<(String, String)>)> {
        let html = String::from_utf8_lossy(&self.body);
        let no_form = || format!("no form but {}: {}", self.status, self.beginning());
        let start = html.find("<form").with_context(no_form)?;
        let form = &html[start..start + html[start..].find("</form>").with_context(no_form)?];
        let mut tags = form.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or(tag));
        let action = tags.next().and_then(|tag| attribute(tag, "action")).unwrap_or_default();
        let hidden = tags
            .filter(|tag| tag.starts_with("input") && attribute(tag, "type").as_deref() == Some("hidden"));
        let fields = hidden
            .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())));
        Ok((action, fields.collect()))
    }

    fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[start..start + tag[start..].find('"')?];
    Some(value.replace("&amp;", "&").replace("&#x2f;", "/").replace("&#x3d;", "="))
}

/// A parameter of a URL.
pub fn param(url: &str, name: &str) -> Result<String> {
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let found = form_urlencoded::parse(query.as_bytes()).find(|(own, _)| own == name);
    found.map(|(_, value)| value.into_owned()).with_context(|| format!("no {name} in {url}"))
}

// Servers name themselves by their public URL, and are reached by an address.
fn path_of(target: &str) -> &str {
    match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}
