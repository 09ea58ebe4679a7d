use axum::{
    extract::{Path, Query as Pairs, State},
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use domain::{DateTime, Locale, Utc};
use minijinja::{Value, context};

use super::{Commentator, DeskWords, Refused, commentator, locale, one, problem, render, sign_in_first};
use crate::{
    Error,
    app::{Shown, VenueHeard},
    code_table::Names,
    entitlement::{DESK, Rights},
    facts::{Fact, facts},
    http::{Web, pages, pages::words::Words},
    result::{self, Line},
    rsc::{Prefix, Rsc},
    store::DeskUnit,
};

/// Units that a desk lists: those that are on, and those nearest in time.
const UNITS: i64 = 60;
/// Values of the clock that are shown; more would not be read.
const CLOCK_FACTS: usize = 12;
/// Values of a biography that are shown.
const BIOGRAPHY_FACTS: usize = 80;
/// Longest code of a competitor that is looked up, in characters.
const LONGEST_CODE: usize = 60;
/// What of a document is no news to a commentator: versions of its vocabulary, and competitors, who stand in the result.
const NO_NEWS: [&str; 6] = ["Gen", "Sport", "Codes", "Competitor", "Result", "Language"];
/// Ages in seconds from which a venue is late and stale (KA's time-out is 30 s).
const LATE: i64 = 30;
const STALE: i64 = 90;

/// `GET /results/cis`: the disciplines.
pub async fn disciplines(
    State(web): State<Web>,
    uri: Uri,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let locale = locale(&pairs, &headers);
    let Some(commentator) = commentator(&web, &headers) else {
        return sign_in_first(&uri.to_string());
    };
    let listed = async {
        let rights = web.app.rights(Some(DESK)).await?;
        let names = web.pages.names(&web.app).await?;
        let line = |one: &crate::store::DisciplineUnits| {
            let name = names.get(&one.discipline, locale).unwrap_or(&one.discipline).to_owned();
            context! { code => one.discipline.as_str(), name, units => one.units, running => one.running }
        };
        let disciplines: Vec<Value> = web.app.list_disciplines(&rights).await?.iter().map(line).collect();
        Ok::<_, Error>(context! { disciplines, form => commentator.form.as_str() })
    };
    match listed.await {
        Ok(content) => render(&web, "cis.html", locale, content, StatusCode::OK),
        Err(error) => problem(&web, locale, &Refused::App(error)),
    }
}

/// `GET /results/cis/{prefix}?unit=&bio=`: the desk of a discipline, or of what another prefix names. The script keeps it
/// live from the cursor that stands in it.
pub async fn show(
    State(web): State<Web>,
    uri: Uri,
    Path(prefix): Path<String>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let locale = locale(&pairs, &headers);
    let Some(commentator) = commentator(&web, &headers) else {
        return sign_in_first(&uri.to_string());
    };
    let asked = Asked {
        prefix: &prefix,
        unit: one(&pairs, "unit").unwrap_or_default(),
        biography: one(&pairs, "bio").filter(|code| code.len() <= LONGEST_CODE).unwrap_or_default(),
        locale,
    };
    match desk(&web, &commentator, &asked).await {
        Ok(content) => render(&web, "cis_desk.html", locale, content, StatusCode::OK),
        Err(error) => problem(&web, locale, &Refused::App(error)),
    }
}

/// The script of the desk.
pub async fn script() -> Response {
    pages::asset("text/javascript; charset=utf-8", include_str!("../../../templates/cis.js"))
}

/// The style of the desk.
pub async fn style() -> Response {
    pages::asset("text/css; charset=utf-8", include_str!("../../../templates/cis.css"))
}

struct Asked<'a> {
    prefix: &'a str,
    unit: &'a str,
    biography: &'a str,
    locale: Locale,
}

async fn desk(web: &Web, commentator: &Commentator, asked: &Asked<'_>) -> Result<Value, Error> {
    let prefix: Prefix = asked.prefix.parse().map_err(|_| Error::NotFound("prefix"))?;
    if prefix.as_str().len() < 3 {
        return Err(Error::NotFound("discipline"));
    }
    // First of all: what changes while the page is made comes once more with the feed.
    let cursor = web.app.cursor().await?;
    let rights = web.app.rights(Some(DESK)).await?;
    let names = web.pages.names(&web.app).await?;
    let units = web.app.list_desk_units(&rights, &prefix, UNITS).await?;
    let chosen = chosen(&units, asked.unit);
    let unit = match chosen {
        Some(unit) => shown_unit(web, &rights, asked, unit, &names).await?,
        None => context! {},
    };
    let discipline = prefix.as_str().get(..3).unwrap_or_default();
    let now = web.app.clock().now();
    let words = DeskWords::of(asked.locale);
    let venues = web.app.list_venues_heard(discipline).await?;
    let venues: Vec<Value> =
        venues.iter().map(|venue| lamp(venue, now, words, &names, asked.locale)).collect();
    let chosen_code = chosen.map(|unit| unit.state.schedule.unit);
    let line = |unit: &DeskUnit| unit_line(web, unit, asked.locale, chosen_code.as_ref());
    Ok(context! {
        prefix => prefix.as_str(), discipline => names.get(discipline, asked.locale).unwrap_or(discipline),
        form => commentator.form.as_str(), ends_at => commentator.ends_at().map(|at| at.to_rfc3339()),
        units => units.iter().map(line).collect::<Vec<Value>>(), venues, now => web.pages.time(now),
        statuses => pages::statuses(asked.locale), words_of_script => words_of_script(words),
        // A prefix and a cursor need no escape in a query.
        feed => format!("/results/v1/feed?prefix={}&mode=every", prefix.as_str()), cursor => cursor.to_string(),
        biography_of => asked.biography, ..unit
    })
}

// The unit that was asked for, else the first that is on, else the last that has a result, else the first of all.
fn chosen<'a>(units: &'a [DeskUnit], asked: &str) -> Option<&'a DeskUnit> {
    let named = units.iter().find(|unit| unit.state.schedule.unit.as_str() == asked);
    let running = || units.iter().find(|unit| unit.state.schedule.announced.status == "RUNNING");
    let with_result = || units.iter().rev().find(|unit| unit.handle.is_some());
    named.or_else(running).or_else(with_result).or_else(|| units.first())
}

fn unit_line(web: &Web, unit: &DeskUnit, locale: Locale, chosen: Option<&Rsc>) -> Value {
    let (schedule, announced) = (&unit.state.schedule, &unit.state.schedule.announced);
    let words = Words::of(locale);
    context! {
        code => schedule.unit.as_str(), name => pages::name_of(&schedule.unit, announced),
        start => announced.start.map(|at| web.pages.clock(at)),
        schedule_status => announced.status.as_str(), schedule_word => words.status(&announced.status),
        result_status => unit.state.result_status.as_str(), result_word => words.status(&unit.state.result_status),
        handle => unit.handle, is_chosen => chosen == Some(&schedule.unit),
    }
}

async fn shown_unit(
    web: &Web,
    rights: &Rights,
    asked: &Asked<'_>,
    unit: &DeskUnit,
    names: &Names,
) -> Result<Value, Error> {
    let code = unit.state.schedule.unit;
    let announced = &unit.state.schedule.announced;
    let result = web.app.find_shown(rights, &code, "DT_RESULT").await?;
    let clock = web.app.find_shown(rights, &code, "DT_CURRENT").await?;
    let biography = match asked.biography {
        "" => None,
        code => web.app.find_biography(rights, code, asked.locale).await?,
    };
    let rows = result.as_ref().map(|shown| result::lines(&shown.body)).unwrap_or_default();
    let biography_name =
        rows.iter().find(|line| line.competitor_code == asked.biography).map(|line| line.name.clone());
    let clock_facts =
        clock.as_ref().map(|shown| facts(&shown.body, &NO_NEWS, CLOCK_FACTS)).unwrap_or_default();
    let biography_facts = biography
        .as_ref()
        .map(|shown| facts(&shown.body, &["Gen", "Sport", "Codes", "Language"], BIOGRAPHY_FACTS));
    let status = result.as_ref().and_then(|shown| shown.edition.status).map_or("", |status| status.name());
    Ok(context! {
        unit => code.as_str(), unit_name => pages::name_of(&code, announced),
        unit_start => announced.start.map(|at| web.pages.time(at)),
        unit_venue => names.get(&announced.venue, asked.locale).unwrap_or(&announced.venue),
        result_status => status, result_word => Words::of(asked.locale).status(status),
        result_held => result.as_ref().map(held), clock_held => clock.as_ref().map(held),
        rows => rows.iter().map(|line| row(line, names, asked.locale)).collect::<Vec<Value>>(),
        starters => starters(&rows).into_iter().map(|line| row(line, names, asked.locale)).collect::<Vec<Value>>(),
        clock_facts => clock_facts.iter().map(fact).collect::<Vec<Value>>(),
        biography_name, biography_facts => biography_facts.map(|facts| facts.iter().map(fact).collect::<Vec<Value>>()),
    })
}

// The document as the script goes on from: its handle, version and canonical body.
fn held(shown: &Shown) -> String {
    let body = shown.edition.body.as_deref().unwrap_or(b"{}");
    let body = std::str::from_utf8(body).unwrap_or("{}");
    format!(r#"{{"k":{},"v":{},"b":{body}}}"#, shown.edition.handle, shown.edition.version)
}

fn row(line: &Line, names: &Names, locale: Locale) -> Value {
    context! {
        competitor => line.competitor_code.as_str(), rank => line.rank.as_str(), start_order => line.start_order.as_str(),
        bib => line.bib.as_str(), name => line.name.as_str(), noc => line.noc.as_str(),
        noc_name => names.get(&line.noc, locale).unwrap_or(&line.noc), mark => line.mark.as_str(),
        difference => line.difference.as_str(), irm => line.irm.as_str(),
    }
}

fn starters(rows: &[Line]) -> Vec<&Line> {
    let mut starters: Vec<&Line> = rows.iter().collect();
    starters.sort_by_key(|line| line.start_order.parse::<u32>().unwrap_or(u32::MAX));
    starters
}

fn fact(fact: &Fact) -> Value {
    context! { name => fact.name.as_str(), value => fact.value.as_str() }
}

fn lamp(venue: &VenueHeard, now: DateTime<Utc>, words: &DeskWords, names: &Names, locale: Locale) -> Value {
    let age = (now - venue.heard_at).num_seconds().max(0);
    let (state, word) = match age {
        _ if !venue.is_open => ("closed", words.venue_closed),
        age if age < LATE => ("fresh", words.venue_fresh),
        age if age < STALE => ("late", words.venue_late),
        _ => ("stale", words.venue_stale),
    };
    let name = names.get(&venue.venue, locale).unwrap_or(&venue.venue);
    context! { code => venue.venue.as_str(), name, state, word, age }
}

fn words_of_script(words: &DeskWords) -> String {
    let picked = serde_json::json!({
        "connecting": words.connecting, "live": words.live, "late": words.late, "lost": words.lost, "missed": words.missed,
        "mended": words.mended, "fresh": words.venue_fresh, "lateVenue": words.venue_late, "stale": words.venue_stale,
        "closed": words.venue_closed, "seconds": words.seconds, "noClock": words.no_clock,
    });
    picked.to_string()
}
