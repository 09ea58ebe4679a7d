mod words;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Path, Query as Pairs, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use chrono_tz::Tz;
use domain::{DateTime, Locale, Utc};
use minijinja::{Environment, Value, context, value::Serde};

use self::words::Words;
use super::{Failure, NO_SNIFF, Web, query::Query};
use crate::{Error, app::UnitResult, result::Line, rsc::Rsc, store::UnitState, unit_schedule::Announcement};

/// Units of a page of the list.
const PAGE: i64 = 100;
/// Scripts, styles, the icon and the feed come from here; nothing else is loaded, framed or sent anywhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The templates of the fans' pages.
#[derive(Debug, Clone)]
pub struct Pages {
    templates: Arc<Environment<'static>>,
    time_zone: Tz,
}

impl Pages {
    /// Reads the templates.
    ///
    /// # Errors
    /// A template that is no template.
    pub fn new(time_zone: Tz) -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        templates.add_template("layout.html", include_str!("../../templates/layout.html"))?;
        templates.add_template("unit.html", include_str!("../../templates/unit.html"))?;
        templates.add_template("units.html", include_str!("../../templates/units.html"))?;
        templates.add_template("medals.html", include_str!("../../templates/medals.html"))?;
        templates.add_template("missing.html", include_str!("../../templates/missing.html"))?;
        Ok(Self { templates: Arc::new(templates), time_zone })
    }

    fn render(&self, name: &str, locale: Locale, content: Value, status: StatusCode) -> Response {
        let languages: Vec<Value> =
            [(Locale::Ja, "日本語"), (Locale::En, "English"), (Locale::Fr, "Français")]
                .map(|(locale, name)| context! { tag => locale.tag(), name })
                .to_vec();
        let page = context! { lang => locale.tag(), words => Value::from(Serde(Words::of(locale))), languages, ..content };
        let rendered = self.templates.get_template(name).and_then(|template| template.render(page));
        match rendered {
            Ok(html) => (status, page_headers(), Html(html)).into_response(),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, name, "page not rendered");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }

    fn missing(&self, locale: Locale) -> Response {
        self.render("missing.html", locale, context! {}, StatusCode::NOT_FOUND)
    }

    fn time(&self, at: DateTime<Utc>) -> Value {
        let text = at.with_timezone(&self.time_zone).format("%Y-%m-%d %H:%M:%S %Z").to_string();
        context! { iso => at.to_rfc3339(), text }
    }
}

fn page_headers() -> [(HeaderName, HeaderValue); 5] {
    [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        // Everybody gets the same page: a cache in front carries the crowd.
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=1")),
        (header::VARY, HeaderValue::from_static("accept-language")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        NO_SNIFF,
    ]
}

fn locale(query: &Query, headers: &HeaderMap) -> Locale {
    let accepted = || headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok().and_then(Locale::negotiate);
    query.language.or_else(accepted).unwrap_or_default()
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
    Ok(web.pages.render("units.html", locale, content, StatusCode::OK))
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
    let Ok(unit) = unit.parse::<Rsc>() else { return Ok(web.pages.missing(locale)) };
    let rights = web.app.rights(None).await?;
    let schedule = some(web.app.get_unit(&rights, &unit).await)?;
    let result = some(web.app.get_result(&rights, &unit).await)?;
    if schedule.is_none() && result.is_none() {
        return Ok(web.pages.missing(locale));
    }
    let announced = schedule.map(|state| state.schedule.announced).unwrap_or_default();
    let words = Words::of(locale);
    let scheduled = context! {
        name => name_of(&unit, &announced),
        start => announced.start.map(|at| web.pages.time(at)),
        venue => announced.venue,
        schedule_status => words.status(&announced.status),
    };
    let content = match result {
        Some(result) => context! { ..scheduled, ..live(&web.pages, words, &unit, &result) },
        None => scheduled,
    };
    Ok(web.pages.render("unit.html", locale, content, StatusCode::OK))
}

fn live(pages: &Pages, words: &Words, unit: &Rsc, result: &UnitResult) -> Value {
    let statuses: BTreeMap<&str, &str> = words.statuses().collect();
    let status = result.edition.status.map_or("", |status| status.name());
    let row = |line: &Line| {
        context! {
            key => line.key.as_str(), rank => line.rank.as_str(), start_order => line.start_order.as_str(),
            bib => line.bib.as_str(), name => line.name.as_str(), noc => line.noc.as_str(), mark => line.mark.as_str(),
            irm => line.irm.as_str(),
        }
    };
    context! {
        handle => result.edition.handle,
        // An RSC and a cursor need no escape in a query.
        feed => format!("/results/v1/feed?prefix={unit}&cursor={}", result.cursor),
        result_status => words.status(status),
        // Words of ours: writing them has no way to fail.
        statuses => serde_json::to_string(&statuses).unwrap_or_default(),
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
    let standings = web.app.list_medal_standings(&rights).await?;
    let line = |standing: &crate::medal::Standing| {
        let [gold, silver, bronze, total] = standing.counts;
        context! { rank => standing.rank.as_str(), noc => standing.noc.as_str(), gold, silver, bronze, total }
    };
    let content = context! { standings => standings.iter().map(line).collect::<Vec<Value>>() };
    Ok(web.pages.render("medals.html", locale, content, StatusCode::OK))
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

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
        NO_SNIFF,
    ];
    (headers, text).into_response()
}

fn name_of(unit: &Rsc, announced: &Announcement) -> String {
    if announced.name.is_empty() { unit.to_string() } else { announced.name.clone() }
}

fn some<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
