//! Words, quoted text, numbers and symbols of SOQL.

use super::malformed;
use crate::refusal::Refusal;

/// Characters of a query (Salesforce: 100,000).
pub const MAX_LENGTH: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// Quoted, escapes resolved.
    Text(String),
    /// Anything that starts with a digit: numbers, dates, times.
    Number(String),
    Symbol(&'static str),
}

impl Token {
    /// For error texts.
    pub(super) fn shown(&self) -> String {
        let text = match self {
            Self::Word(text) | Self::Text(text) | Self::Number(text) => text.as_str(),
            Self::Symbol(text) => text,
        };
        text.chars().take(40).collect()
    }
}

/// # Errors
/// `MALFORMED_QUERY` for a query that is too long, a quote left open, or a character of no token.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    if text.len() > MAX_LENGTH {
        return Err(malformed(format!("a query may have {MAX_LENGTH} characters")));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if first == '\'' {
            let (token, after) = quoted(&rest[1..])?;
            tokens.push(token);
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let (word, after) = run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        } else if first.is_ascii_digit() {
            let (number, after) =
                run(rest, |c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+'));
            tokens.push(Token::Number(number.to_owned()));
            rest = after;
        } else {
            // Longer symbols first.
            let symbols = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", ","];
            let symbol = symbols.into_iter().find(|symbol| rest.starts_with(symbol));
            let symbol =
                symbol.ok_or_else(|| malformed(format!("line 1: unexpected character '{first}'")))?;
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
        }
    }
    Ok(tokens)
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

/// The text after an opening quote, with Salesforce's backslash escapes.
fn quoted(text: &str) -> Result<(Token, &str), Refusal> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '\'' => return Ok((Token::Text(value), &text[place + 1..])),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n' | 'N') => value.push('\n'),
                Some('r' | 'R') => value.push('\r'),
                Some('t' | 'T') => value.push('\t'),
                Some(escaped @ ('\'' | '"' | '\\' | '_' | '%')) => value.push(escaped),
                _ => return Err(malformed("illegal escape sequence in a quoted text")),
            },
            c => value.push(c),
        }
    }
    Err(malformed("a quoted text does not end"))
}
