//! Opens and clicks, and whether a person or a machine was behind them.

use domain::{CampaignId, DateTime, ProfileId, TimeDelta, Utc};

/// All links of a mail within this time: a scanner.
const SCAN: TimeDelta = TimeDelta::seconds(5);

/// What was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The pixel.
    Open,
    /// The link of this number.
    Click(u16),
}

/// Who fetched it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A person, as far as can be told.
    Human,
    /// A scanner, a proxy or a prefetch.
    Machine,
}

/// One request for a pixel or a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engagement {
    /// Of whose campaign.
    pub campaign_id: CampaignId,
    /// By the mail to whom.
    pub profile_id: ProfileId,
    /// What.
    pub kind: Kind,
    /// By whom.
    pub class: Class,
    /// When.
    pub at: DateTime<Utc>,
}

impl Class {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Machine => "machine",
        }
    }
}

/// What one request tells by itself: nobody follows a link by HEAD, and scanners and mail proxies say who they are.
#[must_use]
pub fn class_of_request(is_head: bool, user_agent: &str) -> Class {
    const MACHINES: [&str; 14] = [
        "bot",
        "crawler",
        "spider",
        "scanner",
        "proofpoint",
        "mimecast",
        "barracuda",
        "safelinks",
        "googleimageproxy",
        "yahoomailproxy",
        "python-requests",
        "go-http-client",
        "headlesschrome",
        "preview",
    ];
    let agent = user_agent.to_ascii_lowercase();
    // Apple's Mail Privacy Protection fetches with this agent and nothing more.
    let is_proxy = agent.trim() == "mozilla/5.0";
    if is_head || is_proxy || MACHINES.iter().any(|name| agent.contains(name)) {
        Class::Machine
    } else {
        Class::Human
    }
}

/// Whether these clicks of one mail, in any order, hold all its links within seconds: then a machine made them.
/// A mail with one link tells nothing by that.
#[must_use]
pub fn is_scan(clicks: &[(u16, DateTime<Utc>)], links: usize) -> bool {
    if links < 2 {
        return false;
    }
    clicks.iter().any(|(_, start)| {
        let mut seen: Vec<u16> = clicks
            .iter()
            .filter(|(_, at)| at >= start && *at - *start <= SCAN)
            .map(|(link, _)| *link)
            .collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len() >= links
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipient::tests::at;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

    #[test]
    fn a_browser_is_human_and_a_head_request_or_a_scanner_is_not() {
        assert_eq!(class_of_request(false, FIREFOX), Class::Human);
        assert_eq!(class_of_request(false, ""), Class::Human);
        assert_eq!(class_of_request(true, FIREFOX), Class::Machine);
        for agent in ["Mozilla/5.0", "Googlebot/2.1", "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"] {
            assert_eq!(class_of_request(false, agent), Class::Machine, "{agent}");
        }
    }

    #[test]
    fn all_links_within_seconds_are_a_scan_and_one_click_is_not() {
        assert!(is_scan(&[(0, at(0)), (1, at(3))], 2));
        assert!(is_scan(&[(1, at(3)), (0, at(0))], 2));
        assert!(!is_scan(&[(0, at(0))], 2));
        assert!(!is_scan(&[(0, at(0)), (1, at(30))], 2));
        assert!(!is_scan(&[(0, at(0)), (0, at(1))], 2));
        assert!(!is_scan(&[(0, at(0))], 1));
        assert!(!is_scan(&[], 0));
    }
}
