use std::collections::{BTreeMap, BTreeSet};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, value::ValueKind};

use super::{Block, Fault, VARIABLES, html};
use crate::{recipient::Fields, token::MOST_LINKS};

/// Work that one part may take: an instruction, or 64 bytes of what it makes, costs one.
const FUEL: u64 = 100_000;
/// Longest part after rendering, in bytes.
const LONGEST_OUTPUT: usize = 256 * 1_024;
const PARTS: [&str; 4] = ["subject", "preheader", "html", "text"];
// A mail needs no other templates, and nothing may turn escaping off.
const REFUSED_TAGS: [&str; 8] =
    ["include", "import", "from", "extends", "block", "macro", "call", "autoescape"];

/// A version that is ready to be rendered; it holds no person's data.
#[derive(Debug)]
pub struct Compiled {
    environment: Environment<'static>,
    languages: Vec<String>,
    default_language: String,
    links: Vec<String>,
    /// Different links of each language.
    links_held: BTreeMap<String, usize>,
}

/// The addresses that one mail leads to.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// One for each of the version's links, in order.
    pub targets: Vec<String>,
    /// The page where the person unsubscribes.
    pub unsubscribe: String,
    /// The pixel; none without consent to tracking.
    pub pixel: Option<String>,
}

/// One mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line.
    pub subject: String,
    /// The whole HTML page.
    pub html: String,
    /// The plain text.
    pub text: String,
}

/// Why a person's mail could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A part ran into an error, out of work or beyond its length.
    #[error("{part} cannot be rendered")]
    Part {
        /// subject, preheader, html or text.
        part: &'static str,
        /// What minijinja says.
        #[source]
        source: Box<minijinja::Error>,
    },
    /// A part is longer than 256 KiB.
    #[error("{part} is longer than 256 KiB")]
    TooLong {
        /// Which.
        part: &'static str,
    },
    /// A person's value would break the subject line.
    #[error("the subject holds a control character")]
    Subject,
}

impl Compiled {
    pub(super) fn empty(default_language: &str) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_debug(false);
        environment.set_auto_escape_callback(|name| {
            if name.ends_with("/html") { AutoEscape::Html } else { AutoEscape::None }
        });
        // What people wrote stays escaped, and templates cannot look around.
        for filter in ["safe", "tojson", "urlencode"] {
            environment.remove_filter(filter);
        }
        environment.remove_global("debug");
        Self {
            environment,
            languages: Vec::new(),
            default_language: default_language.to_owned(),
            links: Vec::new(),
            links_held: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, path: &str, block: &Block, declared: &[String]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut sources = [&block.subject, &block.preheader, &block.html, &block.text].map(Clone::clone);
        for (part, source) in PARTS.iter().zip(&sources) {
            faults.extend(self.check(&format!("{path}.{part}"), source, declared));
        }
        if !faults.is_empty() {
            return faults;
        }
        match html::prepare(&block.html, &mut self.links, MOST_LINKS) {
            Ok((prepared, held)) => {
                sources[2] = prepared;
                self.links_held.insert(block.language.clone(), held);
            }
            Err((line, rule)) => {
                return vec![Fault::new(format!("{path}.html"), format!("line {line}: {rule}"))];
            }
        }
        for (part, source) in PARTS.iter().zip(sources) {
            if let Err(error) =
                self.environment.add_template_owned(format!("{}/{part}", block.language), source)
            {
                faults.push(Fault::new(format!("{path}.{part}"), says(&error)));
            }
        }
        if !faults.is_empty() {
            return faults;
        }
        self.languages.push(block.language.clone());
        // With and without values, so that a wrong filter or branch is told now, and not by the first unlucky person.
        for fields in [Fields::default(), Fields::sample()] {
            let links = Links { targets: self.links.clone(), ..Links::default() };
            if let Err(error) = self.render(&block.language, &fields, &links, "") {
                faults.push(fault(path, &error));
                break;
            }
        }
        faults
    }

    fn check(&self, field: &str, source: &str, declared: &[String]) -> Option<Fault> {
        if let Some(tag) = refused_tag(source) {
            return Some(Fault::new(field, format!("{{% {tag} %}} is not for mail templates")));
        }
        let template = match self.environment.template_from_str(source) {
            Ok(template) => template,
            Err(error) => return Some(Fault::new(field, says(&error))),
        };
        let used: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
        let unknown =
            used.iter().find(|name| !declared.contains(name) && !is_global(&self.environment, name));
        unknown.map(|name| {
            let line = 1 + source.find(name.as_str()).map_or(0, |at| source[..at].matches('\n').count());
            let name: String = name.chars().take(40).collect();
            Fault::new(field, format!("line {line}: variable {name} is not declared"))
        })
    }

    /// The published targets, by link number.
    #[must_use]
    pub fn links(&self) -> &[String] {
        &self.links
    }

    /// How many different links a mail in a language holds.
    #[must_use]
    pub fn links_held(&self, language: &str) -> usize {
        self.links_held.get(language).copied().unwrap_or_default()
    }

    /// The language for a person: the tag itself, then shorter ones, then `en`, then the default, then the first.
    #[must_use]
    pub fn choose(&self, locale: &str) -> &str {
        choose(&self.languages, locale, &self.default_language).unwrap_or("en")
    }

    /// One person's words. `footer` is the sender's, as plain text.
    ///
    /// # Errors
    /// A part that fails, is too long, or would break the subject line.
    pub fn render(
        &self,
        language: &str,
        fields: &Fields,
        links: &Links,
        footer: &str,
    ) -> Result<Rendered, RenderError> {
        let subject = self.part(language, "subject", &context(fields))?;
        if subject.chars().any(char::is_control) {
            return Err(RenderError::Subject);
        }
        let preheader = self.part(language, "preheader", &context(fields))?;
        let targets: Vec<Value> =
            links.targets.iter().map(|url| Value::from_safe_string(escape(url))).collect();
        let html_context = minijinja::context! {
            _links => targets,
            _language => language,
            _preheader => Value::from_safe_string(preheader_html(&preheader)),
            _footer => Value::from_safe_string(footer_html(footer, &links.unsubscribe, language)),
            _pixel => Value::from_safe_string(links.pixel.as_deref().map(pixel_html).unwrap_or_default()),
            ..context(fields)
        };
        let html = self.part(language, "html", &html_context)?;
        let mut text = self.part(language, "text", &context(fields))?;
        text.push_str(&footer_text(footer, &links.unsubscribe, language));
        Ok(Rendered { subject, html, text })
    }

    fn part(&self, language: &str, part: &'static str, context: &Value) -> Result<String, RenderError> {
        let failed = |source| RenderError::Part { part, source: Box::new(source) };
        let template = self.environment.get_template(&format!("{language}/{part}")).map_err(failed)?;
        let text = template.render(context.clone()).map_err(failed)?;
        if text.len() > LONGEST_OUTPUT { Err(RenderError::TooLong { part }) } else { Ok(text) }
    }
}

/// The best of some languages for a person: `fr-CA -> fr -> en -> default -> the first`.
#[must_use]
pub fn choose<'a>(languages: &'a [String], locale: &str, default: &str) -> Option<&'a str> {
    let find = |tag: &str| languages.iter().find(|held| held.eq_ignore_ascii_case(tag)).map(String::as_str);
    let mut tag = locale;
    loop {
        if let Some(found) = find(tag) {
            return Some(found);
        }
        let Some((shorter, _)) = tag.rsplit_once('-') else { break };
        tag = shorter;
    }
    find("en").or_else(|| find(default)).or_else(|| languages.first().map(String::as_str))
}

fn context(fields: &Fields) -> Value {
    minijinja::context! {
        family_name => &fields.family_name,
        given_name => &fields.given_name,
        prefecture => &fields.prefecture,
        favourite_sports => &fields.favourite_sports,
    }
}

fn is_global(environment: &Environment<'_>, name: &str) -> bool {
    !VARIABLES.contains(&name)
        && environment.globals().any(|(held, value)| held == name && value.kind() == ValueKind::Plain)
}

fn refused_tag(source: &str) -> Option<&'static str> {
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        rest = &rest[at + 2..];
        let word = rest.trim_start_matches(['-', '+']).trim_start();
        let refused = |tag: &&&str| {
            word.strip_prefix(**tag)
                .is_some_and(|after| !after.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        };
        if let Some(tag) = REFUSED_TAGS.iter().find(refused) {
            return Some(tag);
        }
    }
    None
}

fn fault(path: &str, error: &RenderError) -> Fault {
    match error {
        RenderError::Part { part, source } => Fault::new(format!("{path}.{part}"), says(source)),
        RenderError::TooLong { part } => {
            Fault::new(format!("{path}.{part}"), "must render to at most 256 KiB")
        }
        RenderError::Subject => Fault::new(format!("{path}.subject"), "must render to one line"),
    }
}

fn says(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let what: String = what.chars().filter(|letter| !letter.is_control()).take(200).collect();
    error.line().map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
}

/// Escapes text for HTML, in attributes as well.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn preheader_html(preheader: &str) -> String {
    if preheader.is_empty() {
        return String::new();
    }
    format!("<div style=\"display:none;max-height:0;overflow:hidden\">{}</div>", escape(preheader))
}

fn pixel_html(url: &str) -> String {
    format!("<img src=\"{}\" width=\"1\" height=\"1\" alt=\"\">", escape(url))
}

fn unsubscribe_words(language: &str) -> &'static str {
    match language.split('-').next() {
        Some("ja") => "配信を停止する",
        Some("fr") => "Se désabonner",
        _ => "Unsubscribe",
    }
}

fn footer_html(footer: &str, unsubscribe: &str, language: &str) -> String {
    let lines = escape(footer).replace('\n', "<br>");
    let words = unsubscribe_words(language);
    format!("<hr><p>{lines}</p><p><a href=\"{}\">{words}</a></p>", escape(unsubscribe))
}

fn footer_text(footer: &str, unsubscribe: &str, language: &str) -> String {
    format!("\n\n-- \n{footer}\n{}: {unsubscribe}\n", unsubscribe_words(language))
}
