use anyhow::{Result, bail, ensure};
use http::Method;
use scraper::{ElementRef, Selector};
use url::Url;

use super::page::text_of;

/// A form of a page, being filled in.
#[derive(Debug, Clone)]
pub struct Form {
    pub(super) action: Url,
    pub(super) method: Method,
    /// Where it stands.
    pub(super) page: Url,
    controls: Vec<Control>,
}

#[derive(Debug, Clone)]
struct Control {
    name: String,
    /// The input's type, `select`, `textarea` or `button`.
    kind: String,
    /// What the browser may fill in (HTML, 4.10.18.7): which is how a person's data are told apart in any language.
    purpose: String,
    value: String,
    /// Whether it is sent: a box that is ticked, a choice that is made, the button that is pressed.
    on: bool,
}

impl Form {
    pub(super) fn read(page: &Url, form: ElementRef<'_>) -> Result<Self> {
        let action = form.attr("action").unwrap_or_default();
        let action = if action.is_empty() { page.clone() } else { page.join(action)? };
        let is_post = form.attr("method").is_some_and(|method| method.eq_ignore_ascii_case("post"));
        let method = if is_post { Method::POST } else { Method::GET };
        let mut controls = Vec::new();
        if let Ok(selector) = Selector::parse("input[name], select[name], textarea[name], button[name]") {
            for element in form.select(&selector).filter(|element| element.attr("disabled").is_none()) {
                read_control(element, &mut controls);
            }
        }
        // A person presses the first button, unless told otherwise.
        if let Some(first) = controls.iter_mut().find(|control| control.is_button()) {
            first.on = true;
        }
        Ok(Self { action, method, page: page.clone(), controls })
    }

    /// Writes into the one field that is called `key`, or is for that purpose, or of that type.
    ///
    /// # Errors
    /// There is none.
    pub fn fill(&mut self, key: &str, value: &str) -> Result<&mut Self> {
        let Some(at) = self.field(key) else {
            bail!("the form has no field for {key}, only {}", self.names())
        };
        value.clone_into(&mut self.controls[at].value);
        Ok(self)
    }

    /// Whether [`Form::fill`] finds a field for `key`.
    #[must_use]
    pub fn has_field(&self, key: &str) -> bool {
        self.field(key).is_some()
    }

    fn field(&self, key: &str) -> Option<usize> {
        let position = |fits: &dyn Fn(&Control) -> bool| {
            self.controls.iter().position(|control| control.is_field() && fits(control))
        };
        position(&|control| control.name == key)
            .or_else(|| position(&|control| control.purpose.split(' ').any(|word| word == key)))
            .or_else(|| position(&|control| control.kind == key))
    }

    /// Writes into every field of a type: password and its repetition.
    ///
    /// # Errors
    /// There is none.
    pub fn fill_each(&mut self, kind: &str, value: &str) -> Result<&mut Self> {
        let mut found = false;
        for control in self.controls.iter_mut().filter(|control| control.kind == kind) {
            value.clone_into(&mut control.value);
            found = true;
        }
        ensure!(found, "the form has no field of type {kind}, only {}", self.names());
        Ok(self)
    }

    /// Ticks the box that is called `key`, or has it as its value; or removes the tick.
    ///
    /// # Errors
    /// There is none.
    pub fn tick(&mut self, key: &str, on: bool) -> Result<&mut Self> {
        let fits = |control: &&mut Control| control.is_box() && (control.name == key || control.value == key);
        match self.controls.iter_mut().find(fits) {
            Some(control) => control.on = on,
            None => bail!("the form has no box for {key}, only {}", self.names()),
        }
        Ok(self)
    }

    /// Whether a box is ticked.
    #[must_use]
    pub fn is_ticked(&self, key: &str) -> bool {
        self.controls
            .iter()
            .any(|control| control.is_box() && (control.name == key || control.value == key) && control.on)
    }

    /// Chooses exactly these of a field with several values: boxes of one name, or a list.
    ///
    /// # Errors
    /// A value that is not offered.
    pub fn choose(&mut self, name: &str, values: &[&str]) -> Result<&mut Self> {
        for value in values {
            let offered = self.controls.iter().any(|control| control.name == name && control.value == *value);
            ensure!(offered, "the form does not offer {value} for {name}, only {}", self.names());
        }
        for control in self.controls.iter_mut().filter(|control| control.name == name) {
            control.on = values.contains(&control.value.as_str());
        }
        Ok(self)
    }

    /// What is chosen of a field, or written into it.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<String> {
        let held = self.controls.iter().filter(|control| control.name == name && control.on);
        held.map(|control| control.value.clone()).collect()
    }

    /// Whether there is a button with this name and value.
    #[must_use]
    pub fn offers(&self, name: &str, value: &str) -> bool {
        self.controls
            .iter()
            .any(|control| control.is_button() && control.name == name && control.value == value)
    }

    /// Presses the button with this name and value.
    ///
    /// # Errors
    /// There is none.
    pub fn press(&mut self, name: &str, value: &str) -> Result<&mut Self> {
        ensure!(self.offers(name, value), "the form has no button {name}={value}, only {}", self.names());
        for control in self.controls.iter_mut().filter(|control| control.is_button()) {
            control.on = control.name == name && control.value == value;
        }
        Ok(self)
    }

    /// What is sent.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        let sent = self.controls.iter().filter(|control| control.on);
        sent.map(|control| (control.name.clone(), control.value.clone())).collect()
    }

    fn names(&self) -> String {
        let names = self.controls.iter().map(|control| {
            let Control { name, kind, value, .. } = control;
            if control.is_box() || control.is_button() {
                format!("{name}={value}")
            } else {
                format!("{name} ({kind})")
            }
        });
        names.collect::<Vec<_>>().join(", ")
    }
}

impl Control {
    /// Something to write into, or a list with one choice.
    fn is_field(&self) -> bool {
        !self.is_box() && !self.is_button() && self.kind != "hidden"
    }

    fn is_box(&self) -> bool {
        matches!(self.kind.as_str(), "checkbox" | "radio" | "option")
    }

    fn is_button(&self) -> bool {
        matches!(self.kind.as_str(), "submit" | "button" | "image")
    }
}

fn read_control(element: ElementRef<'_>, controls: &mut Vec<Control>) {
    let attribute = |name: &str| element.attr(name).unwrap_or_default().to_owned();
    let (name, purpose) = (attribute("name"), attribute("autocomplete"));
    let mut add = |kind: &str, value: String, on: bool| {
        controls.push(Control {
            name: name.clone(),
            kind: kind.to_owned(),
            purpose: purpose.clone(),
            value,
            on,
        });
    };
    match element.value().name() {
        "select" => read_select(element, &mut add),
        "textarea" => add("textarea", element.text().collect(), true),
        "button" => {
            let kind = element.attr("type").unwrap_or("submit");
            if kind == "submit" {
                add("submit", attribute("value"), false);
            }
        }
        _ => {
            let kind = element.attr("type").unwrap_or("text").to_ascii_lowercase();
            let is_box = kind == "checkbox" || kind == "radio";
            let value = element.attr("value").unwrap_or(if is_box { "on" } else { "" }).to_owned();
            let on = match kind.as_str() {
                "checkbox" | "radio" => element.attr("checked").is_some(),
                "submit" | "image" => false,
                _ => true,
            };
            add(&kind, value, on);
        }
    }
}

// A list with one choice is filled in like a field; one with several is a row of boxes.
fn read_select(element: ElementRef<'_>, add: &mut impl FnMut(&str, String, bool)) {
    let Ok(selector) = Selector::parse("option") else { return };
    let options: Vec<(String, bool)> = element
        .select(&selector)
        .map(|option| {
            let value = option.attr("value").map_or_else(|| text_of(option), str::to_owned);
            (value, option.attr("selected").is_some())
        })
        .collect();
    if element.attr("multiple").is_some() {
        for (value, selected) in options {
            add("option", value, selected);
        }
        return;
    }
    let chosen = options.iter().find(|(_, selected)| *selected).or(options.first());
    add("select", chosen.map(|(value, _)| value.clone()).unwrap_or_default(), true);
}

#[cfg(test)]
mod tests {
    use crate::Page;

    fn page(body: &str) -> Page {
        let url = "http://localhost:1/account?x=1".parse().unwrap();
        Page { url, status: 200, headers: http::HeaderMap::new(), body: body.to_owned() }
    }

    const FORM: &str = r#"<form action="/other"><input name="q"></form>
        <form method="post"><input type="hidden" name="csrf" value="t">
        <input name="address" autocomplete="section-a email"><input type="password" name="one"><input type="password" name="two">
        <select name="prefecture"><option value="">-</option><option value="JP-13" selected>Tokyo</option></select>
        <fieldset><input type="checkbox" name="sport" value="ATH" checked><input type="checkbox" name="sport" value="JUD"></fieldset>
        <button name="do" value="save">Save</button><button name="do" value="drop">Drop</button></form>"#;

    #[test]
    fn a_form_sends_what_a_browser_would() {
        let mut form = page(FORM).form_with("input[name=csrf]").unwrap();
        form.fill("email", "a@b.example").unwrap().fill_each("password", "secret").unwrap();
        form.choose("sport", &["JUD"]).unwrap().fill("prefecture", "JP-01").unwrap();
        let sent: Vec<String> = form.fields().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = [
            "csrf=t",
            "address=a@b.example",
            "one=secret",
            "two=secret",
            "prefecture=JP-01",
            "sport=JUD",
            "do=save",
        ];
        assert_eq!(sent, expected);
        assert_eq!(
            form.action.as_str(),
            "http://localhost:1/account?x=1",
            "a form without an action leads to its page"
        );
        assert!(form.is_ticked("JUD") && !form.is_ticked("ATH"));
        assert_eq!(form.press("do", "drop").unwrap().fields().last().unwrap().1, "drop");
    }

    #[test]
    fn what_is_not_there_is_an_error_that_says_what_is() {
        let mut form = page(FORM).form_with("input[name=csrf]").unwrap();
        let told = form.fill("phone", "1").unwrap_err().to_string();
        assert!(told.contains("phone") && told.contains("address (text)"), "{told}");
        assert!(form.choose("sport", &["SWM"]).is_err());
        assert!(form.tick("newsletter", true).is_err());
        assert!(page(FORM).form_with("input[name=none]").is_err());
    }
}
