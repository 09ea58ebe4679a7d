//! Figures as text: Markdown, so that they can be copied where they are told.

use std::{fmt, time::Duration};

/// Who did how much; then what was asked of it.
#[derive(Debug)]
pub struct Table {
    contestants: Vec<Vec<String>>,
    verdicts: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// With the titles of its columns; the first column says who.
    pub fn new(titles: &[&str]) -> Self {
        let own = |titles: &[&str]| titles.iter().map(|title| (*title).to_owned()).collect();
        Self {
            contestants: vec![own(titles)],
            verdicts: vec![own(&["ours", "measured", "target", ""])],
            notes: Vec::new(),
        }
    }

    /// One contestant.
    pub fn row(&mut self, cells: Vec<String>) {
        self.contestants.push(cells);
    }

    /// A line of text below.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// A figure that nobody set a target for.
    pub fn told(&mut self, what: &str, measured: f64) {
        self.verdict(what, measured, "none".to_owned(), String::new());
    }

    /// A figure of which more is better; `bound` says by what, where the target is missed.
    pub fn at_least(&mut self, what: &str, measured: f64, target: f64, bound: &str) {
        let verdict = if measured >= target {
            "reached".to_owned()
        } else if measured.is_nan() {
            String::new()
        } else {
            format!("{:.2} of it, bound by {bound}", measured / target)
        };
        self.verdict(what, measured, format!(">= {}", number(target)), verdict);
    }

    /// A figure of which less is better; `bound` says by what, where the target is missed.
    pub fn at_most(&mut self, what: &str, measured: f64, target: f64, bound: &str) {
        let verdict = if measured <= target {
            "reached".to_owned()
        } else if measured.is_nan() {
            String::new()
        } else if target == 0.0 {
            format!("missed, bound by {bound}")
        } else {
            format!("{:.1} times it, bound by {bound}", measured / target)
        };
        self.verdict(what, measured, format!("<= {}", number(target)), verdict);
    }

    fn verdict(&mut self, what: &str, measured: f64, target: String, verdict: String) {
        self.verdicts.push(vec![what.to_owned(), number(measured), target, verdict]);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_rows(f, &self.contestants)?;
        if self.verdicts.len() > 1 {
            writeln!(f)?;
            write_rows(f, &self.verdicts)?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "- {note}"))
    }
}

// The first row has the titles; the first column is text.
fn write_rows(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column: usize| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
    for (line, row) in rows.iter().enumerate() {
        for column in 0..columns {
            write!(f, "| {:<width$} ", cell(row, column), width = width(column))?;
        }
        writeln!(f, "|")?;
        if line == 0 {
            (0..columns).try_for_each(|column| write!(f, "|{}", "-".repeat(width(column) + 2)))?;
            writeln!(f, "|")?;
        }
    }
    Ok(())
}

/// Three digits that matter, thousands apart. What is not a number was not measured.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "not measured".to_owned();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in milliseconds.
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// The value that this share of all are not above; sorts them. None of none: not a number.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not above the length")]
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The run whose figure is in the middle, whole: figures of different runs are not mixed.
pub fn middle<T>(mut runs: Vec<T>, figure: impl Fn(&T) -> f64) -> Option<T> {
    runs.sort_by(|one, other| figure(one).total_cmp(&figure(other)));
    let half = runs.len() / 2;
    runs.into_iter().nth(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_no_figure_and_reaches_nothing() {
        assert_eq!(number(quantile(&mut [], 0.99)), "not measured");
        let mut table = Table::new(&["who"]);
        table.at_least("more", f64::NAN, 1.0, "nothing");
        table.at_most("less", f64::NAN, 1.0, "nothing");
        assert!(!table.to_string().contains("reached"), "{table}");
    }

    #[test]
    fn a_target_is_reached_or_its_bound_is_told() {
        let mut table = Table::new(&["who"]);
        table.at_least("more", 2_000_000.0, 1_000.0, "x");
        table.at_least("too little", 250.0, 1_000.0, "the disk");
        table.at_most("none", 3.0, 0.0, "the network");
        let text = table.to_string();
        for part in
            ["2,000,000", "| reached", "0.25 of it, bound by the disk", "missed, bound by the network"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            [0.5, 0.99, 1.0].map(|share| number(quantile(&mut values, share))),
            ["50.0", "99.0", "100"]
        );
        assert_eq!([-571.4, -1_234.0, 12_345.0].map(number), ["-571", "-1,234", "12,345"]);
        assert_eq!(middle(vec![3, 1, 2], |run| f64::from(*run)), Some(2));
    }
}
