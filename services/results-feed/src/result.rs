use crate::{canonical::Node, document_type::ResultStatus};

/// A line of a start list or a result, in the sender's words. A mark is text: its order is the sender's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    /// Its name among the document's results.
    pub key: String,
    /// Code of the competitor, an athlete or a team.
    pub competitor_code: String,
    /// Name as the document gives it: given name and family name, or the team's.
    pub name: String,
    /// Organisation.
    pub noc: String,
    /// Number on the shirt.
    pub bib: String,
    /// Lane or order of start.
    pub start_order: String,
    /// Empty without a rank.
    pub rank: String,
    /// Time, distance, points.
    pub mark: String,
    /// Behind the first, as the document says.
    pub difference: String,
    /// DNS, DNF, DSQ, ...: an open set.
    pub irm: String,
}

/// What a change of status means to those who wait for official results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The result is official; `correction` when one stood before.
    BecameOfficial {
        /// An official result stood before.
        correction: bool,
    },
    /// The official result stands no longer.
    Withdrawn,
}

/// Compares the standing status before and after a version; an invalidated document has none.
#[must_use]
pub fn change(before: Option<ResultStatus>, after: Option<ResultStatus>) -> Option<Change> {
    let official = Some(ResultStatus::Official);
    match (before == official, after == official) {
        (correction, true) => Some(Change::BecameOfficial { correction }),
        (true, false) => Some(Change::Withdrawn),
        (false, false) => None,
    }
}

/// The lines of a DT_RESULT body in the sender's order (`SortOrder`, before the start `StartSortOrder`).
#[must_use]
pub fn lines(body: &Node) -> Vec<Line> {
    let Some(competition) = body.get("Competition") else { return Vec::new() };
    let mut lines: Vec<(u32, Line)> = Vec::new();
    for (key, result) in competition.children("Result") {
        let Some((_, competitor)) = result.children("Competitor").next() else { continue };
        let order = [result.text("SortOrder"), result.text("StartSortOrder")];
        let order = order.iter().find_map(|text| text.parse().ok()).unwrap_or(u32::MAX);
        lines.push((order, line(key, result, competitor)));
    }
    lines.sort_by(|(one, a), (other, b)| {
        one.cmp(other).then_with(|| a.competitor_code.cmp(&b.competitor_code))
    });
    lines.into_iter().map(|(_, line)| line).collect()
}

/// Orders lines by lane or order of start; those without one come last.
pub fn sort_by_start(lines: &mut [Line]) {
    lines.sort_by_key(|line| line.start_order.parse::<u32>().unwrap_or(u32::MAX));
}

fn line(key: &str, result: &Node, competitor: &Node) -> Line {
    let athlete =
        competitor.get("Composition").and_then(|team| team.children("Athlete").next()).map(|(_, one)| one);
    let own = |name: &str| result.text(name).to_owned();
    Line {
        key: key.to_owned(),
        competitor_code: competitor.text("Code").to_owned(),
        name: name(competitor, athlete),
        noc: competitor.text("Organisation").to_owned(),
        bib: [competitor.text("Bib"), athlete.map(|one| one.text("Bib")).unwrap_or_default()]
            .into_iter()
            .find(|bib| !bib.is_empty())
            .unwrap_or_default()
            .to_owned(),
        start_order: own("StartOrder"),
        rank: own("Rank"),
        mark: own("Result"),
        difference: own("Diff"),
        irm: own("IRM"),
    }
}

fn name(competitor: &Node, athlete: Option<&Node>) -> String {
    if let Some(team) = competitor.get("Description").map(|description| description.text("TeamName"))
        && !team.is_empty()
    {
        return team.to_owned();
    }
    let Some(description) = athlete.and_then(|athlete| athlete.get("Description")) else {
        return String::new();
    };
    format!("{} {}", description.text("GivenName"), description.text("FamilyName")).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_comes_is_corrected_and_goes() {
        let (live, official) = (Some(ResultStatus::Live), Some(ResultStatus::Official));
        assert_eq!(change(live, official), Some(Change::BecameOfficial { correction: false }));
        assert_eq!(change(official, official), Some(Change::BecameOfficial { correction: true }));
        assert_eq!(change(official, Some(ResultStatus::Protested)), Some(Change::Withdrawn));
        assert_eq!(change(official, None), Some(Change::Withdrawn));
        assert_eq!(change(None, live), None);
    }

    #[test]
    fn lines_come_in_the_senders_order() {
        let body = Node::from_bytes(
            br#"{"Competition":{"Result":{
                "1":{"SortOrder":"2","Rank":"2","Result":"9.81","Competitor":{"1":{"Code":"1","Organisation":"FRA"}}},
                "2":{"SortOrder":"10","IRM":"DNF","Competitor":{"2":{"Code":"2","Organisation":"KEN"}}},
                "3":{"SortOrder":"1","Rank":"1","Result":"9.79","StartOrder":"4","Competitor":{"3":{"Code":"3","Organisation":"JPN",
                     "Composition":{"Athlete":{"3":{"Code":"3","Bib":"101","Description":{"GivenName":"Taro","FamilyName":"SATO"}}}}}}},
                "4":{"SortOrder":"x"}}}}"#,
        )
        .unwrap();
        let lines = lines(&body);
        assert_eq!(lines.iter().map(|line| line.noc.as_str()).collect::<Vec<_>>(), ["JPN", "FRA", "KEN"]);
        assert_eq!(
            (lines[0].name.as_str(), lines[0].bib.as_str(), lines[0].mark.as_str()),
            ("Taro SATO", "101", "9.79")
        );
        assert_eq!(lines[2].irm, "DNF");
    }
}
