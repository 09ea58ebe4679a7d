pub mod words;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use axum::{
    extract::{Path, Query as Pairs, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use chrono_tz::Tz;
use domain::{DateTime, Locale, Utc};
use minijinja::{Environment, Value, context, value::Serde};
use tokio::{sync::Mutex, time::Instant};

use self::words::Words;
use super::{Failure, NO_SNIFF, Web, query::Query};
use crate::{
    Error,
    app::{App, UnitResult},
    code_table::Names,
    frame::hex,
    medal::Standing,
    result::Line,
    rsc::Rsc,
    store::UnitState,
    unit_schedule::Announcement,
};

/// Units of a page of the list.
const PAGE: i64 = 100;
/// How long names of code tables are kept: tables change a few times in a competition.
const NAMES_KEPT: Duration = Duration::from_secs(10);
/// Scripts, styles, the icon and the feed come from here; nothing else is loaded, framed or sent anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";
const TEMPLATES: [(&str, &str); 9] = [
    ("layout.html", include_str!("../../templates/layout.html")),
    ("unit.html", include_str!("../../templates/unit.html")),
    ("units.html", include_str!("../../templates/units.html")),
    ("medals.html", include_str!("../../templates/medals.html")),
    ("missing.html", include_str!("../../templates/missing.html")),
    ("cis_layout.html", include_str!("../../templates/cis_layout.html")),
    ("cis.html", include_str!("../../templates/cis.html")),
    ("cis_desk.html", include_str!("../../templates/cis_desk.html")),
    ("cis_problem.html", include_str!("../../templates/cis_problem.html")),
];

/// The templates of the pages, and what they are filled with beside the documents. Clones share it.
#[derive(Debug, Clone)]
pub struct Pages {
    templates: Arc<Environment<'static>>,
    names: Arc<Mutex<Option<KeptNames>>>,
    time_zone: Tz,
}

#[derive(Debug)]
struct KeptNames {
    names: Arc<Names>,
    read_at: Instant,
}

/// A page to render.
#[derive(Debug)]
pub struct Page<'a> {
    /// Its template.
    pub template: &'a str,
    /// Its language.
    pub locale: Locale,
    /// The answer's status.
    pub status: StatusCode,
    /// What the template needs beside words.
    pub content: Value,
}

impl Pages {
    /// Reads the templates.
    ///
    /// # Errors
    /// A template that is no template.
    pub fn new(time_zone: Tz) -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        for (name, source) in TEMPLATES {
            templates.add_template(name, source)?;
        }
        Ok(Self { templates: Arc::new(templates), names: Arc::default(), time_zone })
    }

    /// A page that everybody gets alike: a cache in front carries the crowd, and asks again by its tag.
    pub fn shared(&self, page: &Page<'_>, asked: &HeaderMap) -> Response {
        let Some(html) = self.html(page) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let tag = format!("\"{}\"", hex(&digest(&SHA256, html.as_bytes()).as_ref()[..16]));
        let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
        let headers: [(HeaderName, HeaderValue); 6] = [
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1")),
            (header::ETAG, HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("\"\""))),
            (header::VARY, HeaderValue::from_static("accept-language")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            NO_SNIFF,
        ];
        if is_known && page.status == StatusCode::OK {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (page.status, headers, Html(html)).into_response()
    }

    /// A page of one person, which nobody stores.
    pub fn personal(&self, page: &Page<'_>, policy: &HeaderValue) -> Response {
        let Some(html) = self.html(page) else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let headers: [(HeaderName, HeaderValue); 4] = [
            (header::CONTENT_SECURITY_POLICY, policy.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            // Not `no-referrer`: with that, browsers send our own forms with `Origin: null`.
            (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            NO_SNIFF,
        ];
        (page.status, headers, Html(html)).into_response()
    }

    fn html(&self, page: &Page<'_>) -> Option<String> {
        let languages: Vec<Value> =
            [(Locale::Ja, "日本語"), (Locale::En, "English"), (Locale::Fr, "Français")]
                .map(|(locale, name)| context! { tag => locale.tag(), name })
                .to_vec();
        let words = Value::from(Serde(Words::of(page.locale)));
        let content = context! { lang => page.locale.tag(), words, languages, ..page.content.clone() };
        let rendered =
            self.templates.get_template(page.template).and_then(|template| template.render(content));
        match rendered {
            Ok(html) => Some(html),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, template = page.template, "page not rendered");
                None
            }
        }
    }

    fn missing(&self, locale: Locale, asked: &HeaderMap) -> Response {
        let (status, content) = (StatusCode::NOT_FOUND, context! {});
        self.shared(&Page { template: "missing.html", locale, status, content }, asked)
    }

    /// Names of the competition's code tables, a few seconds old at most.
    pub async fn names(&self, app: &App) -> Result<Arc<Names>, Error> {
        let mut held = self.names.lock().await;
        if let Some(kept) = held.as_ref().filter(|kept| kept.read_at.elapsed() < NAMES_KEPT) {
            return Ok(Arc::clone(&kept.names));
        }
        let names = Arc::new(app.names().await?);
        *held = Some(KeptNames { names: Arc::clone(&names), read_at: Instant::now() });
        Ok(names)
    }

    /// Day and time of day.
    pub fn time(&self, at: DateTime<Utc>) -> Value {
        let text = at.with_timezone(&self.time_zone).format("%Y-%m-%d %H:%M:%S %Z").to_string();
        context! { iso => at.to_rfc3339(), text }
    }

    /// Day and minute, in few characters.
    pub fn clock(&self, at: DateTime<Utc>) -> Value {
        let text = at.with_timezone(&self.time_zone).format("%m-%d %H:%M").to_string();
        context! { iso => at.to_rfc3339(), text }
    }
}

/// The language of a page: asked for, or as the browser prefers.
pub fn locale(query: &Query, headers: &HeaderMap) -> Locale {
    let accepted = || headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok().and_then(Locale::negotiate);
    query.language.or_else(accepted).unwrap_or_default()
}

/// Words of statuses as JSON, for scripts.
pub fn statuses(locale: Locale) -> String {
    let statuses: BTreeMap<&str, &str> = Words::of(locale).statuses().collect();
    // Words of ours: writing them has no way to fail.
    serde_json::to_string(&statuses).unwrap_or_default()
}

/// `GET /results/live`: the units in the order of their start.
pub async fn units(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let locale = locale(&query, &headers);
    let rights = web.app.rights(None).await?;
    let (units, next) = web.app.list_units(&rights, &query.prefixes, query.from.as_ref(), PAGE).await?;
    let line = |state: &UnitState| {
        let announced = &state.schedule.announced;
        context! {
            code => state.schedule.unit.as_str(),
            name => name_of(&state.schedule.unit, announced),
            start => announced.start.map(|at| web.pages.time(at)),
            status => Words::of(locale).status(&announced.status),
        }
    };
    let units: Vec<Value> = units.iter().map(line).collect();
    let content = context! { units, next => next.map(|unit| unit.to_string()) };
    Ok(web.pages.shared(&Page { template: "units.html", locale, status: StatusCode::OK, content }, &headers))
}

/// `GET /results/live/{unit}`: one unit's result, which the script keeps live.
pub async fn unit(
    State(web): State<Web>,
    Path(unit): Path<String>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let locale = locale(&query, &headers);
    let Ok(unit) = unit.parse::<Rsc>() else { return Ok(web.pages.missing(locale, &headers)) };
    // First of all: what changes while the page is made comes once more with the feed.
    let cursor = web.app.cursor().await?;
    let rights = web.app.rights(None).await?;
    let schedule = some(web.app.get_unit(&rights, &unit).await)?;
    let result = some(web.app.get_result(&rights, &unit).await)?;
    if schedule.is_none() && result.is_none() {
        return Ok(web.pages.missing(locale, &headers));
    }
    let names = web.pages.names(&web.app).await?;
    let announced = schedule.map(|state| state.schedule.announced).unwrap_or_default();
    let words = Words::of(locale);
    let scheduled = context! {
        name => name_of(&unit, &announced),
        start => announced.start.map(|at| web.pages.time(at)),
        venue => names.get(&announced.venue, locale).unwrap_or(&announced.venue),
        schedule_status => words.status(&announced.status),
        // An RSC and a cursor need no escape in a query.
        feed => format!("/results/v1/feed?prefix={unit}&cursor={cursor}"), code => unit.as_str(),
        statuses => statuses(locale),
    };
    let content = match result {
        Some(result) => context! { ..scheduled, ..live(&web.pages, locale, &names, &result) },
        None => scheduled,
    };
    Ok(web.pages.shared(&Page { template: "unit.html", locale, status: StatusCode::OK, content }, &headers))
}

fn live(pages: &Pages, locale: Locale, names: &Names, result: &UnitResult) -> Value {
    let status = result.edition.status.map_or("", |status| status.name());
    let row = |line: &Line| {
        context! {
            key => line.key.as_str(), rank => line.rank.as_str(), start_order => line.start_order.as_str(),
            bib => line.bib.as_str(), name => line.name.as_str(), noc => line.noc.as_str(),
            noc_name => names.get(&line.noc, locale).unwrap_or(&line.noc), mark => line.mark.as_str(),
            irm => line.irm.as_str(),
        }
    };
    context! {
        handle => result.edition.handle, version => result.edition.version,
        result_status => Words::of(locale).status(status),
        updated => pages.time(result.received_at),
        rows => result.lines.iter().map(row).collect::<Vec<Value>>(),
    }
}

/// `GET /results/medals`: the medal standings.
pub async fn medals(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let locale = locale(&query, &headers);
    let rights = web.app.rights(None).await?;
    let cursor = web.app.cursor().await?;
    let names = web.pages.names(&web.app).await?;
    let found = web.app.find_medal_standings(&rights).await?;
    let line = |standing: &Standing| {
        let [gold, silver, bronze, total] = standing.counts;
        let name = names.get(&standing.noc, locale).unwrap_or(&standing.noc);
        context! { rank => standing.rank.as_str(), noc => standing.noc.as_str(), name, gold, silver, bronze, total }
    };
    let content = match &found {
        Some(found) => context! {
            handle => found.edition.handle, version => found.edition.version, updated => web.pages.time(found.received_at),
            feed => format!("/results/v1/feed?prefix={}&cursor={cursor}", found.edition.key.document_code),
            code => found.edition.key.document_code.as_str(),
            standings => found.standings.iter().map(line).collect::<Vec<Value>>(),
        },
        // Standings are of the whole competition (ODF Foundation Principles 10.3: discipline GLO).
        None => context! { feed => format!("/results/v1/feed?prefix=GLO&cursor={cursor}") },
    };
    let content = context! { statuses => "{}", ..content };
    Ok(web.pages.shared(&Page { template: "medals.html", locale, status: StatusCode::OK, content }, &headers))
}

/// The script of the live page.
pub async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../../templates/live.js"))
}

/// The style of the pages.
pub async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../../templates/live.css"))
}

/// The icon of the pages.
pub async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../../templates/icon.svg"))
}

/// A file of ours.
pub fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
        NO_SNIFF,
    ];
    (headers, text).into_response()
}

/// The unit's name, its code where it has none.
pub fn name_of(unit: &Rsc, announced: &Announcement) -> String {
    if announced.name.is_empty() { unit.to_string() } else { announced.name.clone() }
}

fn some<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
