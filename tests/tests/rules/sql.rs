//! SQL is prose: lower case, and every table by its full name, so that a service cannot touch another's by accident.

use super::{
    Violation, hold,
    source::{self, identifier},
    tree::{self, File},
};

const KEYWORDS: [&str; 46] = [
    "ADD",
    "ALTER",
    "AND",
    "AS",
    "BEGIN",
    "BY",
    "CASE",
    "CHECK",
    "COLUMN",
    "COMMENT",
    "CONSTRAINT",
    "CREATE",
    "DEFAULT",
    "DELETE",
    "DROP",
    "ELSE",
    "END",
    "EXISTS",
    "FOREIGN",
    "FROM",
    "FUNCTION",
    "GRANT",
    "GROUP",
    "IF",
    "IN",
    "INDEX",
    "INSERT",
    "INTO",
    "IS",
    "KEY",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "PARTITION",
    "PRIMARY",
    "REFERENCES",
    "SELECT",
    "SET",
    "TABLE",
    "UNIQUE",
    "UPDATE",
    "VALUES",
    "WHERE",
    "WITH",
];

/// Words that lead to the name of a table, function or sequence; the words after them may come between.
const LEADS: [(&str, &[&str]); 14] = [
    ("create table", &["if", "not", "exists"]),
    ("create unlogged table", &["if", "not", "exists"]),
    ("alter table", &["if", "exists", "only"]),
    ("drop table", &["if", "exists"]),
    ("create sequence", &["if", "not", "exists"]),
    ("create function", &[]),
    ("create or replace function", &[]),
    ("create view", &[]),
    ("create materialized view", &["if", "not", "exists"]),
    ("partition of", &[]),
    ("references", &[]),
    ("insert into", &[]),
    ("delete from", &["only"]),
    ("comment on table", &[]),
];

const CASE_TODO: &str = "write keywords in lower case";
const NAME_TODO: &str = "write <schema>.<name>, with the short name of the service that owns it";

fn check(file: &File) -> Vec<Violation> {
    let code = without_comments_and_strings(&file.text);
    let mut violations = Vec::new();
    let mut report = |at: usize, found: String, todo| {
        violations.push(Violation { file: file.path.clone(), line: source::line(&code, at), found, todo });
    };
    for keyword in KEYWORDS {
        for at in source::words(&code, keyword) {
            report(at, keyword.to_owned(), CASE_TODO);
        }
    }
    let flat: String =
        code.chars().map(|c| if c.is_whitespace() { ' ' } else { c.to_ascii_lowercase() }).collect();
    let schema = schema_of(&file.path);
    let named = LEADS.iter().flat_map(|(lead, between)| names_after(&flat, lead, between));
    for (at, name) in named.chain(indexed_tables(&flat)) {
        let own = schema.as_ref().is_none_or(|schema| name.starts_with(&format!("{schema}.")));
        if !name.contains('.') || !own {
            report(at, name, NAME_TODO);
        }
    }
    violations
}

/// The one schema that a service's migrations may write to.
fn schema_of(path: &str) -> Option<String> {
    let (service, _) = path.strip_prefix("services/")?.split_once('/')?;
    Some(match service {
        "crm-sync" => "crmsync".to_owned(),
        "results-feed" => "results".to_owned(),
        service => service.to_owned(),
    })
}

fn names_after(code: &str, lead: &str, between: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for at in phrases(code, lead) {
        let mut rest = &code[at..];
        loop {
            rest = rest.trim_start();
            let word = identifier(rest);
            if word.is_empty() || !between.contains(&word.as_str()) {
                break;
            }
            rest = &rest[word.len()..];
        }
        let name = name(rest);
        if !name.is_empty() {
            found.push((at, name));
        }
    }
    found
}

/// Ends of a phrase whose words may have any space between them.
fn phrases(code: &str, phrase: &str) -> Vec<usize> {
    let mut words = phrase.split(' ');
    let first = words.next().unwrap_or(phrase);
    let rest: Vec<&str> = words.collect();
    let end = |start: usize| {
        let mut at = start + first.len();
        for word in &rest {
            let gap = code[at..].len() - code[at..].trim_start().len();
            at += gap;
            if identifier(&code[at..]) != **word || gap == 0 {
                return None;
            }
            at += word.len();
        }
        Some(at)
    };
    source::words(code, first).into_iter().filter_map(end).collect()
}

/// Tables of `create [unique] index ... on <table>`.
fn indexed_tables(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for start in ["create index", "create unique index"].iter().flat_map(|lead| phrases(code, lead)) {
        let statement = &code[start..start + code[start..].find(';').unwrap_or(code.len() - start)];
        let on = source::words(statement, "on").first().copied();
        if let Some(on) = on {
            let rest = statement[on + 2..].trim_start();
            found.push((start, name(rest.strip_prefix("only ").unwrap_or(rest))));
        }
    }
    found
}

fn name(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '<' | '>'))
        .collect()
}

/// Bodies between `$$` are code and stay.
fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let (mut in_comment, mut in_string) = (false, false);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\n' => in_comment = false,
            '-' if !in_string && characters.peek() == Some(&'-') => in_comment = true,
            '\'' if !in_comment => in_string = !in_string,
            _ => {}
        }
        let hidden = c != '\n' && (in_comment || in_string || !c.is_ascii());
        code.push(if hidden { ' ' } else { c });
    }
    code
}

#[test]
fn migrations_read_like_prose() {
    let files = tree::files();
    let migrations =
        files.iter().filter(|file| file.path.ends_with(".sql") && !file.path.contains("/fixtures/"));
    let violations: Vec<Violation> = migrations.flat_map(check).collect();
    hold("SQL keywords are lower case, and names carry the schema of their service", &violations);
}

#[test]
fn planted_sql_is_caught() {
    let cases = [
        ("CREATE table profile.a (b int);", CASE_TODO),
        ("create table a (b int);", NAME_TODO),
        ("create table if not exists a (b int);", NAME_TODO),
        ("create table identity.a (b int);", NAME_TODO),
        ("create table profile.a (b uuid references b);", NAME_TODO),
        ("alter table only a add column b int;", NAME_TODO),
        ("create unique index a_b\n    on a (b);", NAME_TODO),
        ("create table profile.a\n    partition of b default;", NAME_TODO),
        ("create function a() returns int language sql as $$ select 1 $$;", NAME_TODO),
        ("create function profile.a() returns int language sql as $$ SELECT 1 $$;", CASE_TODO),
        ("insert into a values (1);", NAME_TODO),
    ];
    for (text, todo) in cases {
        let found = check(&File::planted("services/profile/migrations/0002_x.sql", text));
        assert_eq!(found.iter().map(|violation| violation.todo).collect::<Vec<_>>(), [todo], "{text}");
    }
}

#[test]
fn right_sql_passes() {
    let cases = [
        (
            "services/crm-sync",
            "create table if not exists crmsync.a (b text default 'SELECT'); -- CREATE table a\n",
        ),
        (
            "services/profile",
            "create index a_b on profile.a (b);\ncreate index concurrently c on only profile.a (b);",
        ),
        (
            "services/profile",
            "-- it's so\ncreate table profile.a (b uuid references profile.b on delete cascade);",
        ),
        ("crates/outbox", "create table SCHEMA.outbox (day date);"),
    ];
    for (folder, text) in cases {
        assert_eq!(check(&File::planted(&format!("{folder}/migrations/0001_x.sql"), text)), [], "{text}");
    }
}

const OUTBOX_TODO: &str =
    "copy crates/outbox/schema.sql into a migration, with SCHEMA as the service's short name";

/// The statements of a file: lines without their comments, each once.
fn statements(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("--").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// A service that publishes or consumes has the tables of the outbox, as the crate's own tests run them.
fn check_outbox(lib: &File, migrations: &str, schema: &str) -> Vec<Violation> {
    let uses = ["outbox::publish(", "outbox::consume("].iter().any(|call| lib.text.contains(call));
    let short = schema_of(&lib.path).unwrap_or_default();
    let wanted = statements(&schema.replace("SCHEMA", &short));
    if !uses || statements(migrations).contains(&wanted) {
        return Vec::new();
    }
    vec![Violation {
        file: lib.path.clone(),
        line: 1,
        found: format!("no outbox in the migrations of {short}"),
        todo: OUTBOX_TODO,
    }]
}

#[test]
fn who_publishes_has_the_tables_of_the_outbox() {
    let files = tree::files();
    let schema =
        files.iter().find(|file| file.path == "crates/outbox/schema.sql").expect("the schema").text.clone();
    let violations: Vec<Violation> = files
        .iter()
        .filter(|file| file.path.starts_with("services/") && file.path.ends_with("/src/lib.rs"))
        .flat_map(|lib| {
            let folder = lib.path.trim_end_matches("src/lib.rs");
            let own = |file: &&File| file.path.starts_with(&format!("{folder}migrations/"));
            let migrations: Vec<&str> = files.iter().filter(own).map(|file| file.text.as_str()).collect();
            check_outbox(lib, &migrations.join("\n"), &schema)
        })
        .collect();
    hold("a service that publishes or consumes facts has the outbox's tables", &violations);
}

#[test]
fn a_missing_or_changed_outbox_is_caught() {
    let lib = File::planted("services/profile/src/lib.rs", "outbox::publish(component)");
    let schema = "create table SCHEMA.outbox (\n    day date -- the day\n);";
    assert_eq!(check_outbox(&lib, "create table profile.outbox (\n    day date\n);", schema), []);
    for wrong in ["", "create table profile.outbox (\n    day text\n);"] {
        assert_eq!(check_outbox(&lib, wrong, schema).len(), 1, "{wrong}");
    }
    let silent = File::planted("services/portal/src/lib.rs", "nothing");
    assert_eq!(check_outbox(&silent, "", schema), []);
}
