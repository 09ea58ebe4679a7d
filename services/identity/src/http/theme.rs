//! The look of a client's pages: its style sheet and its logo, out of memory.

use std::sync::Arc;

use axum::{
    extract::{Path, State, rejection::PathRejection},
    http::header,
    response::IntoResponse,
};

use super::{Page, Site, page::Failure};
use crate::{client::Client, error::Error, pages::Look, theme::Theme};

/// The address has the digest of what is behind it.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Whoever opens a logo by itself sees a picture that can do nothing, whatever stands in an SVG.
const LOGO_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; sandbox";

/// Client and version.
type Asked = Result<Path<(String, String)>, PathRejection>;

/// Where the look of a client's pages is; nothing for the suite's own.
pub fn look(client: &Client) -> Option<Look> {
    let theme = client.theme.as_ref()?;
    let at = format!("/identity/themes/{}/{}", client.client_id, theme.version());
    Some(Look { style: format!("{at}/style.css"), logo: theme.logo().map(|_| format!("{at}/logo")) })
}

/// GET `/identity/themes/{client_id}/{version}/style.css`
pub async fn style(State(site): State<Site>, asked: Asked) -> Page {
    let (theme, kept) = find(&site, asked).await?;
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, kept)];
    Ok((headers, theme.style()).into_response())
}

/// GET `/identity/themes/{client_id}/{version}/logo`
pub async fn logo(State(site): State<Site>, asked: Asked) -> Page {
    let (theme, kept) = find(&site, asked).await?;
    let logo = theme.logo().ok_or(Error::NotFound { what: "logo" })?;
    let headers = [
        (header::CONTENT_TYPE, logo.content_type()),
        (header::CACHE_CONTROL, kept),
        (header::CONTENT_SECURITY_POLICY, LOGO_POLICY),
    ];
    Ok((headers, logo.bytes().clone()).into_response())
}

// Another version than the present one is asked for by a page that was open while the theme changed, or at an instance that
// does not know of the change yet, for a second: it gets what there is, and does not keep it.
async fn find(site: &Site, asked: Asked) -> Result<(Arc<Theme>, &'static str), Failure> {
    const NO_THEME: Error = Error::NotFound { what: "theme" };
    let Ok(Path((client_id, version))) = asked else { return Err(NO_THEME.into()) };
    let client = site.app.client(&client_id).await?;
    let theme = client.and_then(|client| client.theme).ok_or(NO_THEME)?;
    let kept = if theme.version() == version { FOR_EVER } else { "no-store" };
    Ok((theme, kept))
}
