use proto::results::v1::{self as wire, ListGapsRequest, ListGapsResponse};

use super::parse;
use crate::{
    Error,
    app::App,
    events::document_key,
    store::{SerialGap, VersionGap},
};

/// A page of what never came.
pub async fn list(app: &App, client_id: &str, request: &ListGapsRequest) -> Result<ListGapsResponse, Error> {
    let stream = parse::stream("feed_flag", &request.feed_flag)?;
    let prefixes = parse::prefixes("prefixes", &request.prefixes)?;
    let limit = parse::page_size("page_size", request.page_size)?;
    let after = parse::handle("page_token", &request.page_token)?;
    let rights = app.rights(Some(client_id)).await?;
    let gaps = app.list_gaps(&rights, stream, &prefixes, after, limit).await?;
    Ok(ListGapsResponse {
        serials: gaps.serials.into_iter().map(serials).collect(),
        versions: gaps.versions.iter().map(versions).collect(),
        next_page_token: gaps.next.map(|handle| handle.to_string()).unwrap_or_default(),
    })
}

fn serials(gap: SerialGap) -> wire::SerialGap {
    wire::SerialGap {
        source: gap.source,
        logical_date: gap.logical_date.to_string(),
        first: gap.first,
        last: gap.last,
    }
}

fn versions(gap: &VersionGap) -> wire::VersionGap {
    let (handle, key) = (gap.handle, Some(document_key(&gap.key)));
    wire::VersionGap { handle, key, first: gap.first, last: gap.last }
}
