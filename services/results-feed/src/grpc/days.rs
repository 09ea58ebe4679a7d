use chassis::FieldViolation;
use domain::NaiveDate;
use proto::results::v1::{
    self as wire, GetManifestRequest, GetManifestResponse, ListVenueClocksRequest, ListVenueClocksResponse,
};

use super::parse;
use crate::{
    Error,
    app::App,
    document_type::ResultStatus,
    events::{document_key, timestamp},
    frame::hex,
    manifest::Line,
};

/// How fresh the data of each venue is.
pub async fn clocks(
    app: &App,
    client_id: &str,
    request: &ListVenueClocksRequest,
) -> Result<ListVenueClocksResponse, Error> {
    let stream = parse::stream("feed_flag", &request.feed_flag)?;
    let rights = app.rights(Some(client_id)).await?;
    let (now, timeout) = (app.clock().now(), app.ka_timeout());
    let clocks = app.list_venue_clocks(&rights, stream).await?;
    let clock = |clock: &crate::venue_clock::VenueClock| wire::VenueClock {
        venue: clock.venue.clone(),
        discipline: clock.discipline.clone(),
        state: clock.freshness(now, timeout).name().to_owned(),
        heard_at: Some(timestamp(clock.heard_at)),
        age_seconds: u32::try_from(clock.age(now).as_secs()).unwrap_or(u32::MAX),
    };
    Ok(ListVenueClocksResponse { clocks: clocks.iter().map(clock).collect() })
}

/// A page of a day's manifest.
pub async fn manifest(
    app: &App,
    client_id: &str,
    request: &GetManifestRequest,
) -> Result<GetManifestResponse, Error> {
    let stream = parse::stream("feed_flag", &request.feed_flag)?;
    let logical_date = date("logical_date", &request.logical_date)?;
    let revision = match i32::try_from(request.revision) {
        Ok(0) => None,
        Ok(revision) => Some(revision),
        Err(_) => return Err(FieldViolation::new("revision", "must be below 2147483648").into()),
    };
    let limit = usize::try_from(parse::page_size("page_size", request.page_size)?).unwrap_or_default();
    let after = usize::try_from(parse::handle("page_token", &request.page_token)?)
        .map_err(|_| FieldViolation::new("page_token", "must be a token as it was given"))?;
    let rights = app.rights(Some(client_id)).await?;
    let page = app.get_manifest(&rights, stream, (logical_date, revision), (after, limit)).await?;
    let manifest = page.manifest;
    Ok(GetManifestResponse {
        logical_date: manifest.logical_date.to_string(),
        revision: u32::try_from(manifest.revision).unwrap_or_default(),
        documents: u32::try_from(manifest.documents).unwrap_or_default(),
        root: hex(&manifest.root),
        up_to_seq: manifest.up_to_seq,
        made_at: Some(timestamp(manifest.made_at)),
        lines: page.lines.iter().map(|(line, may_see)| manifest_line(line, *may_see)).collect(),
        next_page_token: page.next.map(|next| next.to_string()).unwrap_or_default(),
    })
}

fn manifest_line(line: &Line, may_see: bool) -> wire::ManifestLine {
    let hash = hex(&line.hash());
    if !may_see {
        return wire::ManifestLine { hash, ..wire::ManifestLine::default() };
    }
    wire::ManifestLine {
        hash,
        handle: line.handle,
        key: Some(document_key(&line.key)),
        version: line.version,
        result_status: line.status.map(ResultStatus::name).unwrap_or_default().to_owned(),
        sha256: line.sha256.map(|hash| hex(&hash)).unwrap_or_default(),
    }
}

/// A day as YYYY-MM-DD.
pub fn date(field: &str, text: &str) -> Result<NaiveDate, Error> {
    match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(date) if text.len() == 10 => Ok(date),
        _ => Err(FieldViolation::new(field, "must be a day as YYYY-MM-DD").into()),
    }
}
