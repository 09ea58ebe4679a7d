/// Rust source with the inside of strings, chars and comments blanked, byte for byte, so that offsets and lines stay.
#[derive(Debug, Clone)]
pub struct Source {
    /// The code; quotes stay, what they hold is spaces.
    pub code: String,
    /// The string literals, in order.
    pub strings: Vec<Literal>,
}

/// A string literal.
#[derive(Debug, Clone)]
pub struct Literal {
    /// Offset of its opening quote.
    pub start: usize,
    /// What stands between the quotes, as written.
    pub text: String,
}

/// A function with a body.
#[derive(Debug, Clone)]
pub struct Function {
    pub name: String,
    pub line: usize,
    /// From `fn` to the closing brace.
    pub lines: usize,
}

/// A path of names, `a::b::c`, as an import or as written in code.
#[derive(Debug, Clone)]
pub struct Names {
    pub names: Vec<String>,
    pub line: usize,
}

impl Source {
    /// Blanks strings, chars and comments.
    pub fn read(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut code = bytes.to_vec();
        let mut strings = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            if rest.starts_with(b"//") {
                at = blank(&mut code, at, at + find(rest, b"\n"));
            } else if rest.starts_with(b"/*") {
                at = blank(&mut code, at, at + block_comment(rest));
            } else if let Some(hashes) = raw_string(bytes, at) {
                let start = at + hashes;
                let close = format!("\"{}", "#".repeat(hashes));
                let end = start + 1 + find(&bytes[start + 1..], close.as_bytes());
                strings.push(Literal { start, text: text[start + 1..end].to_owned() });
                blank(&mut code, start + 1, end);
                at = end + close.len();
            } else if bytes[at] == b'"' {
                let end = at + 1 + escaped(&rest[1..], b'"');
                strings.push(Literal { start: at, text: text[at + 1..end].to_owned() });
                at = blank(&mut code, at + 1, end) + 1;
            } else if let Some(length) = char_literal(text, at) {
                at = blank(&mut code, at + 1, at + length - 1) + 1;
            } else {
                at += 1;
            }
        }
        Self { code: String::from_utf8_lossy(&code).into_owned(), strings }
    }

    /// The same without items under `#[cfg(test)]`.
    pub fn without_tests(mut self) -> Self {
        let mut code = self.code.clone().into_bytes();
        for (start, end) in test_items(&self.code) {
            blank(&mut code, start, end);
            self.strings.retain(|literal| literal.start < start || literal.start >= end);
        }
        self.code = String::from_utf8_lossy(&code).into_owned();
        self
    }

    /// Line of an offset, from 1.
    pub fn line(&self, offset: usize) -> usize {
        line(&self.code, offset)
    }

    /// Every function with a body.
    pub fn functions(&self) -> Vec<Function> {
        let bytes = self.code.as_bytes();
        let mut functions = Vec::new();
        for start in words(&self.code, "fn") {
            let name = identifier(&self.code[start + 2..]);
            let Some(open) = body(bytes, start) else { continue };
            let end = matching(bytes, open);
            if !name.is_empty() {
                let first = self.line(start);
                functions.push(Function { name, line: first, lines: self.line(end) - first + 1 });
            }
        }
        functions
    }

    /// Imports, and paths written out in code.
    pub fn paths(&self) -> Vec<Names> {
        let mut paths = Vec::new();
        let mut rest = self.code.clone().into_bytes();
        for start in words(&self.code, "use") {
            let tree = &self.code[start + 3..];
            if !tree.starts_with(char::is_whitespace) {
                continue; // `use<'a>` of a return type
            }
            let end = find(tree.as_bytes(), b";");
            use_tree(&tree[..end], &[], self.line(start), &mut paths);
            blank(&mut rest, start, start + 3 + end);
        }
        let code = String::from_utf8_lossy(&rest).into_owned();
        inline_paths(&code, &mut paths);
        paths
    }
}

/// Offsets of a word that is no part of a longer one.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let alone = |at: usize| {
        let before = at.checked_sub(1).is_none_or(|before| !is_name(bytes[before]));
        before && bytes.get(at + word.len()).is_none_or(|after| !is_name(*after))
    };
    code.match_indices(word).map(|(at, _)| at).filter(|at| alone(*at)).collect()
}

/// Line of an offset, from 1.
pub fn line(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Offset of the bracket that closes the one at `open`; the end of the text when none does.
pub fn matching(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The name at the start of a text, after spaces.
pub fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn blank(code: &mut [u8], start: usize, end: usize) -> usize {
    let end = end.min(code.len());
    for byte in &mut code[start.min(end)..end] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
    end
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap_or(bytes.len())
}

fn escaped(bytes: &[u8], close: u8) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != close {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

fn block_comment(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The number of `#` between an `r` that stands before `at` and a quote, when a raw string starts here.
fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let prefix = at.checked_sub(1)?;
    if bytes[prefix] != b'r' || !matches!(bytes[at], b'#' | b'"') {
        return None;
    }
    let before = match prefix.checked_sub(1).map(|before| bytes[before]) {
        Some(b'b' | b'c') => prefix.checked_sub(2).map(|before| bytes[before]),
        before => before,
    };
    if before.is_some_and(is_name) {
        return None;
    }
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + hashes) == Some(&b'"')).then_some(hashes)
}

/// Length of the char literal at `at`; none where a lifetime or a label stands.
fn char_literal(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?.strip_prefix('\'')?;
    let inside = if rest.starts_with('\\') {
        escaped(rest.as_bytes(), b'\'')
    } else {
        rest.chars().next()?.len_utf8()
    };
    (rest.as_bytes().get(inside) == Some(&b'\'')).then_some(inside + 2)
}

fn body(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b'{' => return Some(at),
            b';' | b'}' | b')' | b',' => return None,
            b'(' | b'[' => at = matching(bytes, at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn test_items(code: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    let mut items = Vec::new();
    for (start, _) in code.match_indices("#[cfg(").chain(code.match_indices("#![cfg(")) {
        let open = start + find(&bytes[start..], b"[");
        let close = matching(bytes, open);
        let condition = &code[open..close];
        if words(condition, "test").is_empty() || condition.contains("not(") || condition.contains("any(") {
            continue;
        }
        if code[start..].starts_with("#!") {
            return vec![(0, code.len())];
        }
        items.push((start, item_end(code, close + 1)));
    }
    items
}

fn item_end(code: &str, after: usize) -> usize {
    let bytes = code.as_bytes();
    let mut at = after;
    loop {
        at += code[at..].len() - code[at..].trim_start().len();
        if !code[at..].starts_with("#[") {
            break;
        }
        at = matching(bytes, at + 1) + 1;
    }
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            b'{' => return (matching(bytes, at) + 1).min(bytes.len()),
            b'(' | b'[' => at = matching(bytes, at),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn use_tree(tree: &str, above: &[String], line: usize, paths: &mut Vec<Names>) {
    let tree = tree.trim().trim_start_matches("::");
    if let Some(open) = tree.find('{') {
        let mut names = above.to_vec();
        names.extend(segments(&tree[..open]));
        let inside = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
        let mut depth = 0_i32;
        let mut from = 0;
        for (at, c) in inside.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    use_tree(&inside[from..at], &names, line, paths);
                    from = at + 1;
                }
                _ => {}
            }
        }
        use_tree(&inside[from..], &names, line, paths);
    } else if !tree.is_empty() {
        let path = tree.split(" as ").next().unwrap_or(tree);
        let mut names = above.to_vec();
        names.extend(segments(path));
        paths.push(Names { names, line });
    }
}

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn inline_paths(code: &str, paths: &mut Vec<Names>) {
    let bytes = code.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !is_name(bytes[at]) {
            at += 1;
            continue;
        }
        let start = at;
        let mut names = Vec::new();
        loop {
            let name = identifier(&code[at..]);
            at += name.len().max(1);
            names.push(name);
            if !(code[at..].starts_with("::") && bytes.get(at + 2).is_some_and(|next| is_name(*next))) {
                break;
            }
            at += 2;
        }
        let before = code[..start].trim_end();
        let leads = code[at..].starts_with("::") || names.len() > 1;
        if leads && !before.ends_with("::") && !before.ends_with('.') {
            paths.push(Names { names, line: line(code, start) });
        }
    }
}

#[test]
fn strings_chars_and_comments_are_blanked() {
    let text = "let a = \"todo!( \\\" {\"; // todo!(\nlet b = r#\"{ \" \"#; /* { /* } */ */ let c = '{'; let d: &'a str;\nlet e = b'\\''; let f = br\"\\\"; fn g() {}";
    let source = Source::read(text);
    assert_eq!(source.code.len(), text.len());
    assert!(!source.code.contains("todo"), "{}", source.code);
    assert_eq!(source.code.matches('{').count(), 1, "{}", source.code);
    assert!(source.code.contains("&'a str"), "{}", source.code);
    assert_eq!(
        source.strings.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(),
        ["todo!( \\\" {", "{ \" ", "\\"]
    );
    assert_eq!(source.line(text.find("fn g").unwrap_or(0)), 3);
}

#[test]
fn test_modules_are_left_out() {
    let text = "fn a() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests { fn b() { todo!() } }\n#[cfg(not(test))]\nfn c() {}\n";
    let source = Source::read(text).without_tests();
    let names: Vec<String> = source.functions().into_iter().map(|function| function.name).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(!source.code.contains("todo"));
}

#[test]
fn functions_are_measured_from_signature_to_brace() {
    let text = "trait T { fn none(&self) -> [u8; 4]; }\nfn two<F: Fn(u8) -> u8>(\n    f: F,\n) -> [u8; 2] {\n    let s = \"}\";\n    { [f(1); 2] }\n}\n";
    let functions = Source::read(text).functions();
    assert_eq!(functions.len(), 1);
    assert_eq!((functions[0].name.as_str(), functions[0].line, functions[0].lines), ("two", 2, 6));
}

#[test]
fn paths_are_found_in_imports_and_in_code() {
    let text = "use std::{fmt::{self, Write as _}, io};\nuse ::sqlx::PgPool;\nfn a(x: axum::Router) { crate::app::run(x); y.z::<u8>(); Self::new(); }\nfn b() -> impl Sized + use<> {}";
    let found: Vec<String> =
        Source::read(text).paths().into_iter().map(|path| path.names.join("::")).collect();
    let expected = [
        "std::fmt::self",
        "std::fmt::Write",
        "std::io",
        "sqlx::PgPool",
        "axum::Router",
        "crate::app::run",
        "Self::new",
    ];
    assert_eq!(found, expected);
}
