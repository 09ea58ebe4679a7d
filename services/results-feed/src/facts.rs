use crate::canonical::Node;

/// A value of a document with what it is called there: documents of many disciplines differ, and a reader at a desk
/// wants all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Names of the elements and attributes that lead to it, such as `Clock Period`.
    pub name: String,
    /// The value.
    pub value: String,
}

/// The values of a body in the order of its keys, at most so many; those below an element of a left-out name are not
/// among them.
#[must_use]
pub fn facts(body: &Node, left_out: &[&str], most: usize) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(competition) = body.get("Competition") {
        walk(competition, &mut Vec::new(), left_out, most, &mut facts);
    }
    facts
}

fn walk<'a>(node: &'a Node, path: &mut Vec<&'a str>, left_out: &[&str], most: usize, facts: &mut Vec<Fact>) {
    let Node::Object(members) = node else { return };
    // The shape of ODF's extensions: a code with its value (`<ExtendedInfo Type="UI" Code="WIND" Value="+0.4"/>`).
    if let (code, value) = (node.text("Code"), node.text("Value"))
        && !code.is_empty()
        && !value.is_empty()
    {
        push(code.to_owned(), value, most, facts);
        return;
    }
    for (name, member) in members {
        if left_out.contains(&name.as_str()) {
            continue;
        }
        match member {
            Node::Text(text) if name == "#text" => push(path.join(" "), text, most, facts),
            Node::Text(text) => push(called(path, name), text, most, facts),
            Node::Object(_) if is_place(name) => walk(member, path, left_out, most, facts),
            Node::Object(_) => {
                path.push(name);
                walk(member, path, left_out, most, facts);
                path.pop();
            }
        }
    }
}

fn push(name: String, value: &str, most: usize, facts: &mut Vec<Fact>) {
    if facts.len() < most && !value.is_empty() {
        facts.push(Fact { name, value: value.to_owned() });
    }
}

fn called(path: &[&str], name: &str) -> String {
    path.last().map_or_else(|| name.to_owned(), |last| format!("{last} {name}"))
}

// Children without a name of their own are keyed by their place.
fn is_place(name: &str) -> bool {
    name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_the_names_that_lead_to_them() {
        let body = Node::from_bytes(
            br##"{"Competition":{"Codes":"x","Clock":{"Period":"H1","Time":"12:30"},"Competitor":{"1":{"Code":"1"}},
                "ExtendedInfos":{"ExtendedInfo":{"000000":{"Type":"UI","Code":"WIND","Value":"+0.4"}}},
                "Hobby":{"Language":"ENG","Text":{"#text":"Chess & tea"}}}}"##,
        )
        .unwrap();
        let found: Vec<String> = facts(&body, &["Codes", "Competitor", "Language"], 10)
            .iter()
            .map(|fact| format!("{}={}", fact.name, fact.value))
            .collect();
        assert_eq!(found, ["Clock Period=H1", "Clock Time=12:30", "WIND=+0.4", "Hobby Text=Chess & tea"]);
        assert_eq!(facts(&body, &[], 2).len(), 2);
        assert_eq!(facts(&Node::empty(), &[], 2), []);
    }
}
