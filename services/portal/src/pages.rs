//! Templates and words. Every page is HTML that works without a script, in Japanese, English and French.

use std::{collections::BTreeMap, sync::Arc};

use chrono_tz::Tz;
use domain::{DateTime, Locale};
use minijinja::{AutoEscape, Environment, Value, context, value::Serde};

/// Disciplines that the pages offer as favourites, by ODF code, in the order of the forms.
pub const OLYMPIC_SPORTS: [&str; 45] = [
    "ARC", "ATH", "BDM", "BK3", "BKB", "BKG", "BMF", "BMX", "BOX", "CLB", "CRD", "CSL", "CSP", "CTR", "DIV",
    "EQU", "FBL", "FEN", "GAR", "GLF", "GRY", "GTR", "HBL", "HOC", "JUD", "MPN", "MTB", "OWS", "ROW", "RU7",
    "SAL", "SHO", "SKB", "SRF", "SWA", "SWM", "TEN", "TKW", "TRI", "TTE", "VBV", "VVO", "WLF", "WPO", "WRE",
];
/// Paralympic ones.
pub const PARALYMPIC_SPORTS: [&str; 6] = ["PAT", "PSW", "PJU", "PBO", "WRU", "WTE"];
/// Statuses of results and schedules that have a word of their own. Both sets are open: another one shows its code.
const STATUSES: [&str; 20] = [
    "START_LIST",
    "LIVE",
    "INTERMEDIATE",
    "UNCONFIRMED",
    "UNOFFICIAL",
    "OFFICIAL",
    "PARTIAL",
    "PROTESTED",
    "PROVISIONAL",
    "UNSCHEDULED",
    "SCHEDULED",
    "GETTING_READY",
    "RUNNING",
    "SCHEDULED_BREAK",
    "INTERRUPTED",
    "DELAYED",
    "POSTPONED",
    "RESCHEDULED",
    "CANCELLED",
    "FINISHED",
];

const TEMPLATES: [(&str, &str); 14] = [
    ("layout.html", include_str!("../templates/layout.html")),
    ("errors.html", include_str!("../templates/errors.html")),
    ("home.html", include_str!("../templates/home.html")),
    ("sports.html", include_str!("../templates/sports.html")),
    ("units.html", include_str!("../templates/units.html")),
    ("account.html", include_str!("../templates/account.html")),
    ("consents.html", include_str!("../templates/consents.html")),
    ("history.html", include_str!("../templates/history.html")),
    ("sessions.html", include_str!("../templates/sessions.html")),
    ("my.html", include_str!("../templates/my.html")),
    ("favourites.html", include_str!("../templates/favourites.html")),
    ("results.html", include_str!("../templates/results.html")),
    ("unit.html", include_str!("../templates/unit.html")),
    ("problem.html", include_str!("../templates/problem.html")),
];

const WORDS: [(Locale, &str); 3] = [
    (Locale::Ja, include_str!("../locales/ja.json")),
    (Locale::En, include_str!("../locales/en.json")),
    (Locale::Fr, include_str!("../locales/fr.json")),
];

/// Templates and catalogues, read once at the start.
#[derive(Debug, Clone)]
pub struct Pages {
    templates: Arc<Environment<'static>>,
    catalogues: Arc<BTreeMap<Locale, Catalogue>>,
}

#[derive(Debug)]
struct Catalogue {
    words: Value,
    /// Words of statuses as JSON, for the script.
    statuses: String,
}

/// A template or a catalogue that cannot be read: a defect of the build.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// A template.
    #[error("template")]
    Template(#[from] minijinja::Error),
    /// A catalogue.
    #[error("catalogue of words")]
    Words(#[from] serde_json::Error),
}

impl Pages {
    /// Reads templates and catalogues; pages write times in this zone.
    ///
    /// # Errors
    /// One of them is broken.
    pub fn load(time_zone: Tz) -> Result<Self, Broken> {
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        templates.add_filter("moment", move |seconds: i64| moment(seconds, time_zone));
        templates.add_filter("iso", iso);
        for (name, source) in TEMPLATES {
            templates.add_template(name, source)?;
        }
        let mut catalogues = BTreeMap::new();
        for (locale, source) in WORDS {
            catalogues.insert(locale, Catalogue::read(source)?);
        }
        Ok(Self { templates: Arc::new(templates), catalogues: Arc::new(catalogues) })
    }

    /// Renders a page.
    ///
    /// # Errors
    /// A template asks for what it was not given.
    pub fn render(&self, template: &str, locale: Locale, page: Value) -> Result<String, minijinja::Error> {
        let catalogue = self.catalogues.get(&locale);
        let own = context! {
            t => catalogue.map(|catalogue| catalogue.words.clone()),
            statuses => catalogue.map(|catalogue| catalogue.statuses.as_str()),
            lang => locale.tag(),
        };
        self.templates.get_template(template)?.render(context! { ..own, ..page })
    }
}

impl Catalogue {
    fn read(source: &str) -> Result<Self, serde_json::Error> {
        let words: BTreeMap<String, String> = serde_json::from_str(source)?;
        let known = |code: &'static str| Some((code, words.get(&format!("status_{code}"))?));
        let statuses: BTreeMap<&str, &String> = STATUSES.into_iter().filter_map(known).collect();
        let statuses = serde_json::to_string(&statuses)?;
        Ok(Self { words: Value::from(Serde(words)), statuses })
    }
}

// Seconds since 1970 as a time that reads alike in every language.
fn moment(seconds: i64, time_zone: Tz) -> String {
    let at = DateTime::from_timestamp(seconds, 0);
    at.map(|at| at.with_timezone(&time_zone).format("%Y-%m-%d %H:%M %Z").to_string()).unwrap_or_default()
}

// Seconds since 1970 for `<time datetime>`.
fn iso(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).map(|at| at.to_rfc3339()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
