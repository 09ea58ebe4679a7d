use std::{collections::BTreeSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chassis::{Code, Coded};
use minijinja::{Value, context, value::Serde};

use super::{Failure, Here, Page, Site, form::Fields, visitor::Visitor};
use crate::{Error, app::Fan, grpc::results::Unit};

/// Most sports of one live list: every one that the favourites offer. With the units they are what one feed may filter by.
const MOST_SPORTS: usize = 51;
/// Most units of one live list whose results are followed.
const MOST_UNITS: usize = 13;

/// GET `/my/results`: units of the favourite sports; `?sports=all` shows every one.
pub async fn list(State(site): Here, mut visitor: Visitor, RawQuery(query): RawQuery) -> Page {
    let person = visitor.person().await?;
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let favourites = person.favourites();
    let all = favourites.is_empty() || query.one("sports") == "all";
    let shown = if all { &[][..] } else { favourites.as_slice() };
    let units = site.app.favourite_units(shown).await.map_err(|error| visitor.failure(error))?;
    let feed = feed_of(&units);
    let content =
        context! { units => Value::from(Serde(units)), feed, all, has_favourites => !favourites.is_empty() };
    visitor.page("results.html", StatusCode::OK, content)
}

/// GET `/my/results/{unit}`: the result as it stands, which the script keeps live.
pub async fn unit(
    State(site): Here,
    mut visitor: Visitor,
    path: Result<Path<String>, PathRejection>,
) -> Page {
    visitor.person().await?;
    let page = match path {
        Ok(Path(rsc)) => site.app.unit(&rsc).await,
        Err(_) => Err(Error::NotFound),
    };
    let page = page.map_err(|error| visitor.failure(error))?;
    let status = page.standing.as_ref().map_or(&page.unit.result_status, |standing| &standing.status);
    let content = context! {
        // An RSC needs no escape in a query.
        feed => format!("/my/results/feed?unit={}", page.unit.unit),
        status => status.as_str(),
        unit => Value::from(Serde(&page.unit)),
        rows => Value::from(Serde(page.standing.as_ref().map(|standing| &standing.rows))),
        received_at => page.standing.as_ref().map(|standing| standing.received_at),
    };
    visitor.page("unit.html", StatusCode::OK, content)
}

// Where the list's changes come from: the schedules of its sports, and the results of the units that are on or just over.
fn feed_of(units: &[Unit]) -> String {
    let sports: BTreeSet<&str> = units.iter().map(|unit| unit.discipline.as_str()).collect();
    let moves = |unit: &&Unit| {
        let begun =
            matches!(unit.schedule_status.as_str(), "GETTING_READY" | "RUNNING" | "INTERRUPTED" | "FINISHED");
        begun && unit.result_status != "OFFICIAL"
    };
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    for sport in sports.into_iter().take(MOST_SPORTS) {
        pairs.append_pair("sport", sport);
    }
    for unit in units.iter().filter(moves).take(MOST_UNITS) {
        pairs.append_pair("unit", &unit.unit);
    }
    format!("/my/results/feed?{}", pairs.finish())
}

/// GET `/my/results/feed?unit=` or `?sport=&sport=&unit=`: results-feed's own events, handed on as they come. A script reads it, so what fails is a
/// status and no page.
pub async fn feed(
    State(site): Here,
    visitor: Visitor,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Fields::parse(query.unwrap_or_default().as_bytes());
    let last_event_id =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let opened = async {
        let fan = visitor.fan().await.map_err(|Failure { error, .. }| *error)?;
        open(&site, &fan, &query, last_event_id).await
    };
    opened.await.unwrap_or_else(|error| refused(&error))
}

async fn open(
    site: &Arc<Site>,
    fan: &Fan,
    query: &Fields,
    last_event_id: Option<&str>,
) -> Result<Response, Error> {
    let (sports, units) = (query.all("sport"), query.all("unit"));
    if sports.len() > MOST_SPORTS || units.len() > MOST_UNITS {
        return Err(Error::NotFound);
    }
    let events = site.app.open_feed(fan.user_id, &sports, &units, last_event_id).await?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    // Proxies that buffer would hold the feed back.
    Ok((headers, [("x-accel-buffering", "no")], Body::from_stream(events)).into_response())
}

fn refused(error: &Error) -> Response {
    let status = match error.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    tracing::info!(error = error as &dyn std::error::Error, %status, "live feed not opened");
    let mut answer = (status, [(header::CACHE_CONTROL, "no-store")]).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
    }
    answer
}
