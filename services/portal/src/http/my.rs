use std::collections::BTreeMap;

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
};
use minijinja::{Value, context, value::Serde};

use super::{
    Here, Page,
    account::{SETS, Wrong, boxes, errors},
    form::Sent,
    visitor::{Visitor, see_other},
};
use crate::{
    Error,
    app::{AccountForm, Person},
};

/// Units on My Page; the rest is a page of its own.
const UNITS: usize = 6;

/// GET `/` and `/portal/`: what this is, and the way in.
pub async fn home(State(site): Here, mut visitor: Visitor) -> Page {
    if let Some(cookie) = visitor.cookie.clone() {
        match site.app.fan(cookie).await {
            Ok(_) => {}
            Err(Error::SignedOut) => visitor.cookie = None,
            Err(error) => return Err(visitor.failure(error)),
        }
    }
    visitor.page("home.html", StatusCode::OK, context! {})
}

/// GET `/my`: what concerns this fan.
pub async fn show(State(site): Here, mut visitor: Visitor) -> Page {
    let person = visitor.person().await?;
    let favourites = person.favourites();
    // My Page is more than results: without them it says so, and the rest stands.
    let units = match site.app.favourite_units(&favourites).await {
        Ok(units) => Some(units),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no results on my page");
            None
        }
    };
    let units = units.map(|units| units.into_iter().take(UNITS).collect::<Vec<_>>());
    let content = context! {
        name => person.profile.values.get("given_name").map(String::as_str).unwrap_or_default(),
        favourites,
        units => Value::from(Serde(units)),
    };
    visitor.page("my.html", StatusCode::OK, content)
}

/// GET `/my/favourites`: the sports that the fan follows.
pub async fn favourites(mut visitor: Visitor, RawQuery(query): RawQuery) -> Page {
    let person = visitor.person().await?;
    let sets = person.profile.sets.clone();
    favourites_page(&visitor, &person, StatusCode::OK, &sets, &[], query.as_deref() == Some("saved=1"))
}

/// POST `/my/favourites`: saves them.
pub async fn save_favourites(
    State(site): Here,
    mut visitor: Visitor,
    headers: HeaderMap,
    sent: Sent,
) -> Page {
    let person = visitor.person().await?;
    let fields = visitor.form(&person.fan, &headers, &sent)?;
    let sets: BTreeMap<&'static str, Vec<String>> =
        SETS.into_iter().map(|(name, _)| (name, fields.all(name))).collect();
    let form = AccountForm { sets: sets.clone(), ..AccountForm::default() };
    match site.app.save_account(&person, fields.request_id(), form).await {
        Ok(()) => Ok(see_other("/my/favourites?saved=1")),
        Err(Error::Invalid(violations)) => {
            let wrong: Vec<Wrong> = violations.into_iter().map(Wrong::from).collect();
            let sets = sets.into_iter().map(|(name, codes)| (name.to_owned(), codes)).collect();
            favourites_page(&visitor, &person, StatusCode::UNPROCESSABLE_ENTITY, &sets, &wrong, false)
        }
        Err(error) => Err(visitor.failure(error)),
    }
}

fn favourites_page(
    visitor: &Visitor,
    person: &Person,
    status: StatusCode,
    sets: &BTreeMap<String, Vec<String>>,
    wrong: &[Wrong],
    saved: bool,
) -> Page {
    let held = |name: &str| person.profile.sets.get(name).map_or(&[][..], Vec::as_slice);
    let offered: BTreeMap<&str, Vec<String>> =
        SETS.iter().map(|(name, offered)| (*name, boxes(offered, held(name)))).collect();
    let ticked: BTreeMap<&str, Vec<String>> =
        SETS.iter().map(|(name, _)| (*name, sets.get(*name).cloned().unwrap_or_default())).collect();
    let content = context! {
        offered => Value::from(Serde(offered)),
        sets => Value::from(Serde(ticked)),
        saved,
        ..errors(wrong)
    };
    visitor.page("favourites.html", status, content)
}
