use std::collections::BTreeSet;

use crate::canonical::Node;

/// A medal of a sport event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Medal {
    /// `ME_GOLD`, `ME_SILVER` or `ME_BRONZE`.
    pub medal: String,
    /// Who has it.
    pub competitor_code: String,
    /// For whom.
    pub noc: String,
}

/// What a new version of the medallists changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A competitor has a medal now.
    Awarded(Medal),
    /// A competitor has it no longer.
    Withdrawn(Medal),
}

/// A line of the medal standings as the document has it; nothing is added up here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Organisation.
    pub noc: String,
    /// Its rank in the sender's order.
    pub rank: String,
    /// Gold, silver, bronze, total.
    pub counts: [u32; 4],
}

/// The differences between two versions of a DT_MEDALLISTS body; `None` is a document that is not or no longer there.
#[must_use]
pub fn changes(before: Option<&Node>, after: Option<&Node>) -> Vec<Change> {
    let (before, after) = (medals(before), medals(after));
    let withdrawn = before.difference(&after).cloned().map(Change::Withdrawn);
    let awarded = after.difference(&before).cloned().map(Change::Awarded);
    withdrawn.chain(awarded).collect()
}

fn medals(body: Option<&Node>) -> BTreeSet<Medal> {
    let mut medals = BTreeSet::new();
    let Some(competition) = body.and_then(|body| body.get("Competition")) else { return medals };
    for (_, medal) in competition.children("Medal") {
        let code = medal.text("Code");
        if !matches!(code, "ME_GOLD" | "ME_SILVER" | "ME_BRONZE") {
            continue;
        }
        for (_, competitor) in medal.children("Competitor") {
            medals.insert(Medal {
                medal: code.to_owned(),
                competitor_code: competitor.text("Code").to_owned(),
                noc: competitor.text("Organisation").to_owned(),
            });
        }
    }
    medals
}

/// The lines of a DT_MEDALS body in the sender's order.
#[must_use]
pub fn standings(body: &Node) -> Vec<Standing> {
    let Some(competition) = body.get("Competition") else { return Vec::new() };
    let mut lines: Vec<(u32, Standing)> = Vec::new();
    for (_, line) in competition.children("MedalLine") {
        let Some((_, total)) = line.children("MedalNumber").find(|(gender, _)| *gender == "TOT") else {
            continue;
        };
        let count = |name: &str| total.text(name).parse().unwrap_or(0);
        let order = line.text("SortRank").parse().unwrap_or(u32::MAX);
        let standing = Standing {
            noc: line.text("Organisation").to_owned(),
            rank: line.text("Rank").to_owned(),
            counts: [count("Gold"), count("Silver"), count("Bronze"), count("Total")],
        };
        lines.push((order, standing));
    }
    lines.sort_by(|(one, a), (other, b)| one.cmp(other).then_with(|| a.noc.cmp(&b.noc)));
    lines.into_iter().map(|(_, standing)| standing).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn medallists(lines: &[(&str, &str)]) -> Node {
        let medals: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(at, (code, noc))| {
                format!(r#""{at:06}":{{"Code":"{code}","Competitor":{{"c{noc}":{{"Code":"c{noc}","Organisation":"{noc}"}}}}}}"#)
            })
            .collect();
        Node::from_bytes(format!(r#"{{"Competition":{{"Medal":{{{}}}}}}}"#, medals.join(",")).as_bytes())
            .unwrap()
    }

    #[test]
    fn a_disqualification_moves_the_medals() {
        let before = medallists(&[("ME_GOLD", "JPN"), ("ME_SILVER", "FRA")]);
        let after = medallists(&[("ME_GOLD", "FRA")]);
        let noc = |change: &Change| match change {
            Change::Awarded(medal) => format!("+{} {}", medal.medal, medal.noc),
            Change::Withdrawn(medal) => format!("-{} {}", medal.medal, medal.noc),
        };
        let changed: Vec<String> = changes(Some(&before), Some(&after)).iter().map(noc).collect();
        assert_eq!(changed, ["-ME_GOLD JPN", "-ME_SILVER FRA", "+ME_GOLD FRA"]);
        assert_eq!(changes(None, Some(&after)).len(), 1);
        assert_eq!(changes(Some(&after), Some(&after)), []);
        assert_eq!(changes(Some(&before), None).len(), 2);
    }

    #[test]
    fn standings_keep_the_senders_order() {
        let body = Node::from_bytes(
            br#"{"Competition":{"MedalLine":{
                "FRA":{"Organisation":"FRA","Rank":"2","SortRank":"2","MedalNumber":{"TOT":{"Type":"TOT","Silver":"1","Total":"1"}}},
                "JPN":{"Organisation":"JPN","Rank":"1","SortRank":"1","MedalNumber":{"TOT":{"Type":"TOT","Gold":"1","Total":"1"}}}}}}"#,
        )
        .unwrap();
        let lines = standings(&body);
        assert_eq!(lines[0], Standing { noc: "JPN".to_owned(), rank: "1".to_owned(), counts: [1, 0, 0, 1] });
        assert_eq!(lines[1].noc, "FRA");
    }
}
