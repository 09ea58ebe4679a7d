use http::{HeaderMap, HeaderValue, header};

/// The value of a cookie.
#[must_use]
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Sets a cookie for so many seconds; 0 removes it. A name that begins with `__Host-` binds it to this host and to TLS
/// (RFC 6265bis 4.1.3.2); browsers take localhost for secure.
///
/// # Errors
/// The value is no text of a header.
pub fn set_cookie(
    headers: &mut HeaderMap,
    name: &str,
    value: &str,
    max_age: u32,
) -> Result<(), header::InvalidHeaderValue> {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={max_age}");
    headers.append(header::SET_COOKIE, HeaderValue::from_str(&text)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("x__Host-a=1; __Host-a=2; __Host-ab=3"));
        assert_eq!(cookie(&headers, "__Host-a"), Some("2"));
        assert_eq!(cookie(&headers, "__Host-b"), None);
    }
}
