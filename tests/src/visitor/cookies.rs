use anyhow::{Context, Result, ensure};
use http::{HeaderMap, header};
use url::Url;

/// A browser's cookies, as far as these sites need them (RFC 6265, and 6265bis for the prefix `__Host-`).
#[derive(Debug, Default)]
pub struct CookieJar(Vec<Cookie>);

#[derive(Debug)]
struct Cookie {
    /// Cookies do not know ports.
    host: String,
    name: String,
    value: String,
    path: String,
    secure: bool,
}

impl CookieJar {
    /// Keeps what an answer sets.
    ///
    /// # Errors
    /// A cookie that a browser would drop: it is a fault of the site.
    pub fn take(&mut self, url: &Url, headers: &HeaderMap) -> Result<()> {
        for value in headers.get_all(header::SET_COOKIE) {
            let text = value.to_str().context("a cookie that is not ASCII")?;
            let (cookie, gone) = parse(url, text)?;
            self.0.retain(|held| {
                (&held.host, &held.name, &held.path) != (&cookie.host, &cookie.name, &cookie.path)
            });
            if !gone {
                self.0.push(cookie);
            }
        }
        Ok(())
    }

    /// What goes along to an address; nothing when there is nothing.
    #[must_use]
    pub fn header(&self, url: &Url) -> Option<String> {
        let host = url.host_str()?;
        let fits = |cookie: &&Cookie| {
            cookie.host == host
                && (!cookie.secure || is_trustworthy(url))
                && (url.path() == cookie.path || url.path().starts_with(&with_slash(&cookie.path)))
        };
        let pairs: Vec<String> =
            self.0.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Names of what is kept for a host.
    #[must_use]
    pub fn names(&self, host: &str) -> Vec<String> {
        self.0.iter().filter(|cookie| cookie.host == host).map(|cookie| cookie.name.clone()).collect()
    }
}

fn parse(url: &Url, text: &str) -> Result<(Cookie, bool)> {
    let mut parts = text.split(';').map(str::trim);
    let (name, value) =
        parts.next().and_then(|pair| pair.split_once('=')).context("a cookie without a name")?;
    let host = url.host_str().context("an address without a host")?.to_owned();
    let mut cookie =
        Cookie { host, name: name.to_owned(), value: value.to_owned(), path: "/".to_owned(), secure: false };
    let (mut gone, mut has_domain, mut http_only) = (false, false, false);
    for part in parts {
        let (attribute, value) = part.split_once('=').unwrap_or((part, ""));
        match attribute.to_ascii_lowercase().as_str() {
            "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
            "max-age" => gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
            // Many sites remove a cookie by the oldest of dates (RFC 6265 5.2.1); none here means another one.
            "expires" if value.contains("1970") => gone = true,
            "secure" => cookie.secure = true,
            "httponly" => http_only = true,
            "domain" => has_domain = true,
            _ => {}
        }
    }
    ensure!(
        !cookie.secure || is_trustworthy(url),
        "{name} is Secure, and {} is not",
        url.origin().ascii_serialization()
    );
    if name.starts_with("__Host-") {
        ensure!(cookie.secure && cookie.path == "/" && !has_domain, "{name} breaks the rules of its prefix");
        ensure!(http_only, "{name} can be read by scripts");
    }
    Ok((cookie, gone))
}

// Secure Contexts, 3.1: the loopback is as good as TLS.
fn is_trustworthy(url: &Url) -> bool {
    url.scheme() == "https" || url.host_str().is_some_and(|host| host == "localhost" || host == "127.0.0.1")
}

fn with_slash(path: &str) -> String {
    if path.ends_with('/') { path.to_owned() } else { format!("{path}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(url: &str, cookies: &[&str]) -> Result<CookieJar> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::SET_COOKIE, cookie.parse().unwrap());
        }
        let mut jar = CookieJar::default();
        jar.take(&Url::parse(url).unwrap(), &headers)?;
        Ok(jar)
    }

    #[test]
    fn a_cookie_is_kept_for_its_host_on_any_port_until_it_is_removed() {
        let mut jar =
            jar("http://localhost:1/a", &["__Host-a=1; Path=/; Secure; HttpOnly", "b=2; Path=/b"]).unwrap();
        let header = |jar: &CookieJar, url: &str| jar.header(&Url::parse(url).unwrap());
        assert_eq!(header(&jar, "http://localhost:2/").as_deref(), Some("__Host-a=1"));
        assert_eq!(header(&jar, "http://localhost:2/b/c").as_deref(), Some("__Host-a=1; b=2"));
        assert_eq!(header(&jar, "http://127.0.0.1:2/"), None);
        let mut headers = HeaderMap::new();
        headers.append(header::SET_COOKIE, "__Host-a=; Path=/; Secure; HttpOnly; Max-Age=0".parse().unwrap());
        jar.take(&Url::parse("http://localhost:1/").unwrap(), &headers).unwrap();
        assert_eq!(header(&jar, "http://localhost:2/"), None);
    }

    #[test]
    fn a_cookie_that_a_browser_would_drop_is_a_fault() {
        for wrong in [
            "__Host-a=1; Path=/; HttpOnly",
            "__Host-a=1; Path=/x; Secure; HttpOnly",
            "__Host-a=1; Path=/; Secure",
        ] {
            assert!(jar("http://localhost:1/", &[wrong]).is_err(), "{wrong}");
        }
        assert!(jar("http://example.org/", &["a=1; Secure"]).is_err());
    }
}
