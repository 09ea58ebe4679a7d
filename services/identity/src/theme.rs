//! What the pages look like on which a client's users sign in: its accent in the place of the suite's, and its logo.

mod colour;
mod logo;

use std::fmt::Write as _;

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};

use crate::client::InvalidClient;

pub use colour::Colour;
pub use logo::Logo;

/// Least contrast of text with what it stands on (WCAG 2.2, 1.4.3).
const LEAST_CONTRAST: f64 = 4.5;
/// `--ground` of style.css, the darker of the two that accents are read on; on white, and as white on a button, they have
/// more.
const GROUND: Colour = Colour(0xf4, 0xf6, 0xf8);
/// The lighter of the two that dark accents are read on; on the other, and under the text of a button, they have more.
const DARK_SHEET: Colour = Colour(0x1a, 0x22, 0x2d);
/// What style.css calls its colours, for a client with an accent for dark screens. The suite itself has no dark look.
const DARK: [(&str, Colour); 9] = [
    ("--ink", Colour(0xf1, 0xf4, 0xf8)),
    ("--soft", Colour(0xb9, 0xc3, 0xcf)),
    ("--ground", Colour(0x10, 0x15, 0x1c)),
    ("--sheet", DARK_SHEET),
    ("--on-accent", Colour(0x10, 0x15, 0x1c)),
    ("--wrong", Colour(0xff, 0x9a, 0x94)),
    ("--line", Colour(0x87, 0x93, 0xa1)),
    ("--right", Colour(0x6f, 0xc0, 0x93)),
    ("--right-ground", Colour(0x12, 0x2b, 0x1e)),
];

/// The look of a client's pages. It keeps its rules, however it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    accent: Colour,
    accent_dark: Option<Colour>,
    logo: Option<Logo>,
    version: String,
}

impl Theme {
    /// Reads `{"accent", "accent_dark", "logo": {"media_type", "data"}}`, the form of the bootstrap file and of the database.
    ///
    /// # Errors
    /// The first field that breaks a rule: a colour is `#` and six hexadecimal digits and has a contrast of 4.5 (WCAG 2.2,
    /// 1.4.3) with all that pages show with it; a logo keeps the rules of [`Logo`].
    pub fn parse(theme: &Value) -> Result<Self, InvalidClient> {
        let members = members("theme", theme, &["accent", "accent_dark", "logo"])?;
        let accent = match members.get("accent") {
            Some(accent) => colour("theme.accent", accent)?,
            None => return wrong("theme.accent", "must be given"),
        };
        if accent.contrast(GROUND) < LEAST_CONTRAST {
            return wrong(
                "theme.accent",
                "must have a contrast of 4.5 with #f4f6f8 (WCAG 2.2, 1.4.3): be darker",
            );
        }
        let accent_dark =
            given(members, "accent_dark").map(|dark| colour("theme.accent_dark", dark)).transpose()?;
        if accent_dark.is_some_and(|dark| dark.contrast(DARK_SHEET) < LEAST_CONTRAST) {
            return wrong(
                "theme.accent_dark",
                "must have a contrast of 4.5 with #1a222d (WCAG 2.2, 1.4.3): be lighter",
            );
        }
        let logo = given(members, "logo").map(Logo::parse).transpose()?;
        let mut theme = Self { accent, accent_dark, logo, version: String::new() };
        theme.version = theme.digest();
        Ok(theme)
    }

    /// The same in the form in which it is read.
    pub fn to_json(&self) -> Value {
        json!({
            "accent": self.accent.to_string(),
            "accent_dark": self.accent_dark.map(|dark| dark.to_string()),
            "logo": self.logo.as_ref().map(Logo::to_json),
        })
    }

    /// Of links and buttons.
    pub const fn accent(&self) -> Colour {
        self.accent
    }

    /// The same where the browser asks for dark pages. Without it, pages stay light.
    pub const fn accent_dark(&self) -> Option<Colour> {
        self.accent_dark
    }

    /// What stands in the header.
    pub const fn logo(&self) -> Option<&Logo> {
        self.logo.as_ref()
    }

    /// 32 hexadecimal digits of what browsers are served: whatever they keep under it is never out of date.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its style sheet, behind style.css.
    pub fn style(&self) -> String {
        let (accent, hover) = (self.accent, self.accent.darker());
        let mut style = format!(":root {{ --accent: {accent}; --accent-hover: {hover}; }}\n");
        if let Some(accent) = self.accent_dark {
            let hover = accent.lighter();
            let mut rules = format!("color-scheme: dark; --accent: {accent}; --accent-hover: {hover};");
            for (name, colour) in DARK {
                // A text takes whatever is written to it.
                let _ = write!(rules, " {name}: {colour};");
            }
            let _ = writeln!(style, "@media (prefers-color-scheme: dark) {{ :root {{ {rules} }} }}");
        }
        style
    }

    fn digest(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.style().as_bytes());
        if let Some(logo) = &self.logo {
            context.update(logo.media_type().as_bytes());
            context.update(logo.bytes());
        }
        context.finish().as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

// An object with these members at most: a misspelt one must not pass for an absent one.
fn members<'a>(
    field: &'static str,
    value: &'a Value,
    known: &[&str],
) -> Result<&'a Map<String, Value>, InvalidClient> {
    let members = value.as_object().filter(|all| all.keys().all(|name| known.contains(&name.as_str())));
    members.ok_or(InvalidClient {
        field,
        rule: match field {
            "theme" => "must be an object of accent, accent_dark and logo",
            _ => "must be an object of media_type and data",
        },
    })
}

// Null counts as absent.
fn given<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn colour(field: &'static str, value: &Value) -> Result<Colour, InvalidClient> {
    let colour = value.as_str().and_then(Colour::parse);
    colour.ok_or(InvalidClient { field, rule: "must be a colour: # and six hexadecimal digits" })
}

fn wrong<T>(field: &'static str, rule: &'static str) -> Result<T, InvalidClient> {
    Err(InvalidClient { field, rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(theme: &Value) -> &'static str {
        Theme::parse(theme).unwrap_err().field
    }

    #[test]
    fn an_accent_that_cannot_be_read_is_refused_by_name() {
        // #767676 has 4.54 with white and less with the ground that links stand on too.
        for accent in ["#767676", "#ffffff", "#ffd700", "#f4f6f8"] {
            assert_eq!(field(&json!({"accent": accent})), "theme.accent", "{accent}");
        }
        for dark in ["#0b4f9c", "#000000", "#1a222d"] {
            let theme = json!({"accent": "#0b4f9c", "accent_dark": dark});
            assert_eq!(field(&theme), "theme.accent_dark", "{dark}");
        }
        for accent in ["#0b4f9c", "#8a1538", "#6e6e6e", "#000000"] {
            Theme::parse(&json!({"accent": accent, "accent_dark": "#9cc3f0"})).unwrap();
        }
    }

    #[test]
    fn what_is_no_theme_is_refused_by_name() {
        let deep = (0..100).fold(json!("#000000"), |inner, _| json!([inner]));
        let wrongs = [
            (json!(null), "theme"),
            (json!("#0b4f9c"), "theme"),
            (json!({"accent": "#0b4f9c", "colour": "#0b4f9c"}), "theme"),
            (json!({}), "theme.accent"),
            (json!({"accent": null}), "theme.accent"),
            (json!({"accent": "red"}), "theme.accent"),
            (json!({"accent": deep.clone()}), "theme.accent"),
            (json!({"accent": "#000}*{x:url(//evil.example)}"}), "theme.accent"),
            (json!({"accent": "#0b4f9c", "accent_dark": 7}), "theme.accent_dark"),
            (json!({"accent": "#0b4f9c", "logo": deep}), "theme.logo"),
        ];
        for (theme, named) in wrongs {
            assert_eq!(field(&theme), named, "{theme}");
        }
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        let theme = Theme::parse(&json!({
            "accent": "#8A1538", "accent_dark": "#f2a0b5",
            "logo": {"media_type": "image/svg+xml", "data": "PHN2Zy8+"},
        }));
        let theme = theme.unwrap();
        assert_eq!(theme.accent().to_string(), "#8a1538");
        assert_eq!(Theme::parse(&theme.to_json()).unwrap(), theme);
    }

    #[test]
    fn another_look_has_another_version() {
        let version = |theme| Theme::parse(&theme).unwrap().version().to_owned();
        let plain = version(json!({"accent": "#8a1538"}));
        assert!(plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit()), "{plain}");
        assert_eq!(plain, version(json!({"accent": "#8A1538", "accent_dark": null, "logo": null})));
        let logo = json!({"media_type": "image/svg+xml", "data": "PHN2Zy8+"});
        let others = [
            json!({"accent": "#8a1539"}),
            json!({"accent": "#8a1538", "accent_dark": "#f2a0b5"}),
            json!({"accent": "#8a1538", "logo": logo}),
        ];
        for other in others {
            assert_ne!(plain, version(other.clone()), "{other}");
        }
    }

    #[test]
    fn a_style_sheet_is_dark_only_where_it_has_a_dark_accent() {
        let light = Theme::parse(&json!({"accent": "#0b4f9c"})).unwrap().style();
        assert_eq!(light, ":root { --accent: #0b4f9c; --accent-hover: #083b75; }\n");
        let both = Theme::parse(&json!({"accent": "#0b4f9c", "accent_dark": "#9cc3f0"})).unwrap().style();
        assert!(both.starts_with(&light), "{both}");
        assert!(
            both.contains(
                "@media (prefers-color-scheme: dark) { :root { color-scheme: dark; --accent: #9cc3f0;"
            ),
            "{both}"
        );
        assert_eq!(both.matches('{').count(), both.matches('}').count());
    }

    // The rules above speak of these colours.
    #[test]
    fn the_style_sheet_of_every_page_has_the_colours_and_the_names_that_themes_put_others_in_the_place_of() {
        let style = crate::pages::STYLE;
        for own in [format!("--ground: {GROUND};"), "--sheet: #fff;".into(), "--on-accent: #fff;".into()] {
            assert!(style.contains(&own), "{own}");
        }
        for (name, _) in DARK {
            assert!(
                style.contains(&format!(" {name}: #")) && style.contains(&format!("var({name})")),
                "{name}"
            );
        }
        assert!(style.contains("var(--accent)") && style.contains("background: var(--accent-hover)"));
    }

    #[test]
    fn the_dark_colours_can_be_read() {
        let dark = |name| DARK.iter().find(|(own, _)| *own == name).unwrap().1;
        for ground in ["--ground", "--sheet", "--right-ground"] {
            for text in ["--ink", "--soft", "--wrong"] {
                assert!(dark(text).contrast(dark(ground)) >= 7.0, "{text} on {ground}");
            }
        }
        assert!(dark("--line").contrast(dark("--sheet")) >= 3.0, "borders: WCAG 2.2, 1.4.11");
        // An accent that is right on the sheet is right beside the darker two.
        for darker in ["--ground", "--on-accent"] {
            assert!(
                dark(darker).contrast(Colour(0, 0, 0)) < DARK_SHEET.contrast(Colour(0, 0, 0)),
                "{darker}"
            );
        }
    }
}
