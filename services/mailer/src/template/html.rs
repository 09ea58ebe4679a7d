//! The HTML of a block before it becomes a template: links are numbered, what runs or loads in a mail is refused, and
//! places are made for preheader, footer and pixel.

use url::Url;

/// Longest link, in bytes.
const LONGEST_LINK: usize = 2_000;
const REFUSED: [&str; 8] = ["script", "iframe", "object", "embed", "form", "base", "meta-refresh", "applet"];

/// Rewrites the HTML; each `http(s)` link becomes a hole that is filled with its own or its tracked address.
/// `links` is the version's table, to which new targets are added; what comes back beside the HTML is how many of them
/// it holds.
///
/// # Errors
/// Line and rule of what a mail must not hold.
pub fn prepare(
    source: &str,
    links: &mut Vec<String>,
    most: usize,
) -> Result<(String, usize), (usize, String)> {
    let mut out = String::with_capacity(source.len() + 256);
    let mut rest = source;
    while let Some(at) = rest.find(['<', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let line = 1 + source[..source.len() - rest.len()].matches('\n').count();
        let length = passed_over(rest).unwrap_or(0);
        if length > 0 {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let is_tag =
            rest.starts_with('<') && rest[1..].starts_with(|letter: char| letter.is_ascii_alphabetic());
        if !is_tag {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
            continue;
        }
        let end = tag_end(rest).ok_or((line, "a tag must be closed by >".to_owned()))?;
        out.push_str(&tag(&rest[..end], links, most).map_err(|rule| (line, rule))?);
        rest = &rest[end..];
    }
    out.push_str(rest);
    let held = (0..links.len()).filter(|number| out.contains(&hole(*number))).count();
    Ok((with_places(&out), held))
}

// Comments, style sheets and the template's own tags are not read as HTML.
fn passed_over(rest: &str) -> Option<usize> {
    let until = |start: &str, end: &str| {
        let inside = rest.strip_prefix(start)?;
        Some(inside.find(end).map_or(rest.len(), |at| start.len() + at + end.len()))
    };
    until("{{", "}}")
        .or_else(|| until("{%", "%}"))
        .or_else(|| until("{#", "#}"))
        .or_else(|| until("<!--", "-->"))
        .or_else(|| until("<style", "</style"))
}

// The `>` that is outside of quotes and of template tags.
fn tag_end(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut quote = None;
    let mut at = 1;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'{') => at += passed_over(&rest[at..]).map_or(0, |length| length - 1),
            (None, b'>') => return Some(at + 1),
            (None, b'"' | b'\'') => quote = Some(bytes[at]),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn tag(text: &str, links: &mut Vec<String>, most: usize) -> Result<String, String> {
    let name_end =
        1 + text[1..].find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(text.len() - 1);
    let name = text[1..name_end].to_ascii_lowercase();
    if REFUSED.contains(&name.as_str()) {
        return Err(format!("a mail must not hold <{name}>"));
    }
    let mut out = text[..name_end].to_owned();
    let mut rest = &text[name_end..];
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic() || letter == '{') {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(length) = passed_over(rest) {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let end = rest
            .find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_:{".contains(letter)))
            .unwrap_or(rest.len());
        let attribute = rest[..end.max(1)].to_ascii_lowercase();
        out.push_str(&rest[..end.max(1)]);
        rest = &rest[end.max(1)..];
        if attribute.starts_with("on") {
            return Err("a mail must not hold event handlers".to_owned());
        }
        let Some((before, value, after)) = value(rest) else { continue };
        out.push_str(before);
        out.push_str(&attribute_value(&name, &attribute, value, links, most)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

// `="value"`, `='value'` or `=value`: what stands before the value, the value, what follows.
fn value(rest: &str) -> Option<(&str, &str, &str)> {
    let after = rest.trim_start().strip_prefix('=')?.trim_start();
    let start = rest.len() - after.len();
    let quote = after.chars().next().filter(|letter| matches!(letter, '"' | '\''));
    if let Some(quote) = quote {
        let end = after[1..].find(quote)?;
        return Some((&rest[..=start], &after[1..=end], &after[1 + end..]));
    }
    let end = after.find(|letter: char| letter.is_whitespace() || letter == '>').unwrap_or(after.len());
    Some((&rest[..start], &after[..end], &after[end..]))
}

fn attribute_value(
    tag: &str,
    attribute: &str,
    value: &str,
    links: &mut Vec<String>,
    most: usize,
) -> Result<String, String> {
    match attribute {
        "href" if tag == "a" || tag == "area" => link(value, links, most),
        "href" | "src" | "background" | "action" | "formaction" | "srcset" => {
            if value.contains('{') || target(value)?.is_none() {
                return Err(format!("{attribute} must be a written-out http or https address"));
            }
            Ok(value.to_owned())
        }
        _ => Ok(value.to_owned()),
    }
}

fn link(value: &str, links: &mut Vec<String>, most: usize) -> Result<String, String> {
    // A hole in a target would make the table of targets endless, and a redirect to anywhere.
    if value.contains("{{") || value.contains("{%") {
        return Err("a link must be written out, without {{ }} or {% %}".to_owned());
    }
    if value.starts_with('#') {
        return Ok(value.to_owned());
    }
    let Some(target) = target(value)? else { return Ok(value.to_owned()) };
    let number = match links.iter().position(|held| *held == target) {
        Some(number) => number,
        None if links.len() >= most => return Err(format!("a version must hold at most {most} links")),
        None => {
            links.push(target);
            links.len() - 1
        }
    };
    Ok(hole(number))
}

fn hole(number: usize) -> String {
    format!("{{{{ _links[{number}] }}}}")
}

// The address itself for http and https; nothing for mailto.
fn target(value: &str) -> Result<Option<String>, String> {
    let text = value.trim().replace("&amp;", "&");
    let rule = || "a link must be an http, https or mailto address".to_owned();
    if text.len() > LONGEST_LINK || text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
        return Err(rule());
    }
    let url = Url::parse(&text).map_err(|_| rule())?;
    match url.scheme() {
        "mailto" => Ok(None),
        "http" | "https" if url.host().is_some() && url.username().is_empty() => Ok(Some(text)),
        _ => Err(rule()),
    }
}

fn with_places(source: &str) -> String {
    let lower = source.to_ascii_lowercase();
    if !lower.contains("<body") {
        return format!(
            "<!DOCTYPE html><html lang=\"{{{{ _language }}}}\"><head><meta charset=\"utf-8\"></head><body>\
             {{{{ _preheader }}}}{source}{{{{ _footer }}}}{{{{ _pixel }}}}</body></html>"
        );
    }
    let start = lower.find("<body").and_then(|at| tag_end(&source[at..]).map(|end| at + end)).unwrap_or(0);
    let end = lower.rfind("</body").filter(|end| *end >= start).unwrap_or(source.len());
    format!(
        "{}{{{{ _preheader }}}}{}{{{{ _footer }}}}{{{{ _pixel }}}}{}",
        &source[..start],
        &source[start..end],
        &source[end..]
    )
}
