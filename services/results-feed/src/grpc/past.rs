//! What was, and the schedule.

use chassis::FieldViolation;
use chrono_tz::Tz;
use proto::results::v1::{ListChangesRequest, ListChangesResponse, ListScheduleRequest};

use super::{days::date, feed, parse};
use crate::{
    Error,
    app::{App, PastPlace},
    as_of::PastPage,
    fanout::{Filter, Mode, Subscription},
    logical_day,
    rsc::Prefix,
    store::ScheduleFilter,
};

/// Longest code of a venue in characters.
const LONGEST_VENUE: usize = 20;

/// A page of the log.
pub async fn list_changes(
    app: &App,
    client_id: String,
    request: &ListChangesRequest,
) -> Result<ListChangesResponse, Error> {
    let cursor = parse::bounded("cursor", &request.cursor)?;
    let limit = parse::page_size("page_size", request.page_size)?;
    let asked = Subscription {
        stream: parse::stream("feed_flag", &request.feed_flag)?,
        filter: Filter::new(parse::prefixes("prefixes", &request.prefixes)?),
        representation: parse::representation("representation", &request.representation)?,
        cursor: (!cursor.is_empty()).then(|| cursor.to_owned()),
        mode: Mode::Every,
        client_id: Some(client_id),
        expires_at: None,
    };
    let changes = app.list_changes(&asked, limit).await?;
    let mut frames = Vec::with_capacity(changes.frames.len());
    for sent in &changes.frames {
        sent.frames(|cursor, frame| frames.push(feed::to_proto(cursor, frame)));
    }
    Ok(ListChangesResponse { frames, cursor: changes.cursor.to_string(), more: changes.more })
}

/// A place of a past state.
pub fn place(as_of: &str, page_token: &str) -> Result<PastPlace, Error> {
    let as_of = chassis::parse("as_of", parse::bounded("as_of", as_of)?)?;
    let page = match parse::bounded("page_token", page_token)? {
        "" => None,
        token => Some(chassis::parse("page_token", token)?),
    };
    Ok(PastPlace { as_of, page })
}

/// The token of the next page of the state that stood at `seq`; empty after the last one.
pub fn next_page(next: Option<i64>, seq: i64) -> String {
    next.map(|after| PastPage { seq, after }.to_string()).unwrap_or_default()
}

/// Which units of the schedule are asked for.
pub fn schedule_filter(request: &ListScheduleRequest, zone: Tz) -> Result<ScheduleFilter, Error> {
    let starts = match request.logical_date.as_str() {
        "" => None,
        text => {
            let bounds = logical_day::bounds(date("logical_date", text)?, zone);
            Some(bounds.ok_or_else(|| FieldViolation::new("logical_date", "must be a day of the calendar"))?)
        }
    };
    let prefix = discipline("discipline", &request.discipline)?;
    let venue = match request.venue.as_str() {
        "" => None,
        venue if venue.len() <= LONGEST_VENUE && venue.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Some(venue.to_owned())
        }
        _ => return Err(FieldViolation::new("venue", "must be at most 20 letters and digits").into()),
    };
    Ok(ScheduleFilter { starts, prefix, venue })
}

fn discipline(field: &str, text: &str) -> Result<Prefix, Error> {
    let is_code = text.len() == 3 && !text.contains('-');
    if !text.is_empty() && !is_code {
        return Err(FieldViolation::new(field, "must be the three characters of a discipline").into());
    }
    Ok(chassis::parse(field, text)?)
}
