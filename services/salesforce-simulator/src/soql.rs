//! A subset of SOQL: one object, `fields | FIELDS(..) | COUNT()`, conditions, order, limit, offset.
//! Parser only; `query` runs it. Source: "SOQL and SOSL Reference".

use chrono::{DateTime, NaiveDate, Utc};

use crate::refusal::Refusal;

mod lexer;

pub use lexer::{MAX_LENGTH, Token};

/// Depth of brackets.
const MAX_DEPTH: usize = 20;
/// Values of one `IN`.
const MAX_LIST: usize = 4_000;

/// A parsed query. Names are as written; nothing is known of the org yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub select: Select,
    pub object: String,
    pub condition: Option<Condition>,
    pub order: Vec<Order>,
    pub limit: Option<usize>,
    pub offset: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Select {
    Count,
    Items(Vec<Item>),
}

/// One item of the select list.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Field(String),
    /// `FIELDS(ALL | STANDARD | CUSTOM)`.
    Group(FieldGroup),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldGroup {
    All,
    Standard,
    Custom,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub field: String,
    pub descending: bool,
    pub nulls_last: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare { field: String, operator: Operator, value: Literal },
    In { field: String, negated: bool, values: Vec<Literal> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Text(String),
    Date(NaiveDate),
    Moment(DateTime<Utc>),
}

/// Parses a query.
///
/// # Errors
/// `MALFORMED_QUERY`, naming the token where it went wrong.
pub fn parse(text: &str) -> Result<Query, Refusal> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let query = parser.query()?;
    match parser.peek() {
        None => Ok(query),
        Some(token) => Err(unexpected(Some(token))),
    }
}

pub(crate) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::bad_request("MALFORMED_QUERY", message)
}

fn unexpected(token: Option<&Token>) -> Refusal {
    match token {
        Some(token) => malformed(format!("unexpected token: '{}'", token.shown())),
        None => malformed("unexpected end of query"),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(text)) if text.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Symbol(text)) if *text == symbol);
        self.at += usize::from(found);
        found
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Refusal> {
        if self.takes_word(word) { Ok(()) } else { Err(unexpected(self.peek())) }
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Refusal> {
        if self.takes(symbol) { Ok(()) } else { Err(unexpected(self.peek())) }
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word.clone()),
            other => Err(unexpected(other)),
        }
    }

    fn query(&mut self) -> Result<Query, Refusal> {
        self.expect_word("select")?;
        let select = self.select()?;
        self.expect_word("from")?;
        let object = self.name()?;
        let condition = if self.takes_word("where") { Some(self.condition(0)?) } else { None };
        let order = self.order()?;
        let limit = if self.takes_word("limit") { Some(self.count()?) } else { None };
        let offset = if self.takes_word("offset") { self.count()? } else { 0 };
        Ok(Query { select, object, condition, order, limit, offset })
    }

    fn select(&mut self) -> Result<Select, Refusal> {
        let mut items = Vec::new();
        loop {
            let name = self.name()?;
            if self.takes("(") {
                if name.eq_ignore_ascii_case("count") && items.is_empty() {
                    self.expect(")")?;
                    return Ok(Select::Count);
                }
                items.push(Item::Group(self.group(&name)?));
            } else {
                items.push(Item::Field(name));
            }
            if !self.takes(",") {
                return Ok(Select::Items(items));
            }
        }
    }

    fn group(&mut self, function: &str) -> Result<FieldGroup, Refusal> {
        if !function.eq_ignore_ascii_case("fields") {
            return Err(malformed(format!("unexpected token: '{function}('")));
        }
        let name = self.name()?;
        self.expect(")")?;
        match name.to_ascii_uppercase().as_str() {
            "ALL" => Ok(FieldGroup::All),
            "STANDARD" => Ok(FieldGroup::Standard),
            "CUSTOM" => Ok(FieldGroup::Custom),
            _ => Err(malformed(format!("unexpected token: '{name}'"))),
        }
    }

    /// Salesforce does not mix `AND` and `OR` without brackets, and neither do we.
    fn condition(&mut self, depth: usize) -> Result<Condition, Refusal> {
        let first = self.term(depth)?;
        let (word, join): (&str, fn(Vec<Condition>) -> Condition) = if self.takes_word("and") {
            ("and", Condition::And)
        } else if self.takes_word("or") {
            ("or", Condition::Or)
        } else {
            return Ok(first);
        };
        let mut terms = vec![first, self.term(depth)?];
        while self.takes_word(word) {
            terms.push(self.term(depth)?);
        }
        Ok(join(terms))
    }

    fn term(&mut self, depth: usize) -> Result<Condition, Refusal> {
        if depth > MAX_DEPTH {
            return Err(malformed(format!("brackets are nested deeper than {MAX_DEPTH}")));
        }
        if self.takes_word("not") {
            return Ok(Condition::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.takes("(") {
            let inner = self.condition(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        let field = self.name()?;
        let negated = self.takes_word("not");
        if self.takes_word("in") {
            return self.list(field, negated);
        }
        if negated {
            return Err(unexpected(self.peek()));
        }
        let operator = self.operator()?;
        let value = self.literal()?;
        Ok(Condition::Compare { field, operator, value })
    }

    fn operator(&mut self) -> Result<Operator, Refusal> {
        match self.next() {
            Some(Token::Symbol("=")) => Ok(Operator::Equal),
            Some(Token::Symbol("!=" | "<>")) => Ok(Operator::NotEqual),
            Some(Token::Symbol("<")) => Ok(Operator::Less),
            Some(Token::Symbol("<=")) => Ok(Operator::LessOrEqual),
            Some(Token::Symbol(">")) => Ok(Operator::Greater),
            Some(Token::Symbol(">=")) => Ok(Operator::GreaterOrEqual),
            other => Err(unexpected(other)),
        }
    }

    fn list(&mut self, field: String, negated: bool) -> Result<Condition, Refusal> {
        self.expect("(")?;
        let mut values = vec![self.literal()?];
        while self.takes(",") {
            if values.len() >= MAX_LIST {
                return Err(malformed(format!("a list may have {MAX_LIST} values")));
            }
            values.push(self.literal()?);
        }
        self.expect(")")?;
        Ok(Condition::In { field, negated, values })
    }

    fn literal(&mut self) -> Result<Literal, Refusal> {
        match self.next() {
            Some(Token::Text(text)) => Ok(Literal::Text(text.clone())),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => Ok(Literal::Null),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Ok(Literal::Bool(true)),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Ok(Literal::Bool(false)),
            Some(Token::Number(text)) => moment(text),
            other => Err(unexpected(other)),
        }
    }

    fn order(&mut self) -> Result<Vec<Order>, Refusal> {
        let mut order = Vec::new();
        if !self.takes_word("order") {
            return Ok(order);
        }
        self.expect_word("by")?;
        loop {
            let field = self.name()?;
            let descending = self.takes_word("desc");
            if !descending {
                self.takes_word("asc");
            }
            let mut nulls_last = false;
            if self.takes_word("nulls") {
                nulls_last = self.takes_word("last");
                if !nulls_last {
                    self.expect_word("first")?;
                }
            }
            order.push(Order { field, descending, nulls_last });
            if !self.takes(",") {
                return Ok(order);
            }
        }
    }

    fn count(&mut self) -> Result<usize, Refusal> {
        match self.next() {
            Some(Token::Number(text)) => {
                text.parse().map_err(|_| malformed(format!("unexpected token: '{text}'")))
            }
            other => Err(unexpected(other)),
        }
    }
}

/// `2026-07-24` or `2026-07-24T10:00:00[.000](Z | +09:00 | +0900)`.
fn moment(text: &str) -> Result<Literal, Refusal> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(Literal::Date(day));
    }
    let parsed = DateTime::parse_from_rfc3339(text);
    let parsed = parsed.or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"));
    let parsed =
        parsed.map_err(|_| malformed(format!("'{text}' is no date, and numbers have no field here")))?;
    Ok(Literal::Moment(parsed.with_timezone(&Utc)))
}

#[cfg(test)]
mod tests;
