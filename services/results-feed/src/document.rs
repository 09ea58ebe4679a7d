use crate::document_type::{DocumentType, ResultStatus};

/// SHA-256 of a document's canonical bytes.
pub type Sha256 = [u8; 32];

/// The head of a document: the newest version that its sender gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Document {
    /// From 1.
    pub version: i32,
    /// Of the canonical bytes; `None` where an invalidation came before the version that it invalidates.
    pub sha256: Option<Sha256>,
    /// Its status, where its type has one.
    pub status: Option<ResultStatus>,
    /// Withdrawn by its sender until a higher version comes; the one before does not return.
    pub invalidated: bool,
    /// Sequence number in the feed log.
    pub seq: i64,
}

/// What a sender offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// From 1.
    pub version: i32,
    /// `None` invalidates.
    pub sha256: Option<Sha256>,
    /// Its status, where its type has one.
    pub status: Option<ResultStatus>,
}

/// What becomes of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is the newest version now.
    Accepted,
    /// The newest version stands no longer.
    Invalidated,
    /// It was there already.
    Duplicate,
    /// Another content under a version that is there; the first one stands.
    Conflict,
    /// A newer version is there: kept in the log only.
    Late,
}

impl Document {
    /// Decides on an offer for a document whose head is `current`. Versions order; holes among them are legal (ODF
    /// Foundation Principles 6.19), and so is any order of arrival (4.3).
    #[must_use]
    pub fn offer(current: Option<&Self>, offer: &Version) -> Outcome {
        let fresh = if offer.sha256.is_some() { Outcome::Accepted } else { Outcome::Invalidated };
        let Some(head) = current else { return fresh };
        if offer.version > head.version {
            return fresh;
        }
        if offer.version < head.version {
            return Outcome::Late;
        }
        match (offer.sha256, head.sha256) {
            (None, _) if head.invalidated => Outcome::Duplicate,
            (None, _) => Outcome::Invalidated,
            // Its invalidation overtook it.
            (Some(_), None) => Outcome::Late,
            (Some(offered), Some(held)) if offered == held && offer.status == head.status => {
                Outcome::Duplicate
            }
            (Some(_), Some(_)) => Outcome::Conflict,
        }
    }

    /// The status that readers hold for this head; an invalidated document has none.
    #[must_use]
    pub fn standing_status(&self) -> Option<ResultStatus> {
        if self.invalidated { None } else { self.status }
    }
}

/// Whether a late reader may be given a newer version instead of this one. Never for what goes into or out of OFFICIAL or
/// PROTESTED, for changed notes, and for types of which each document counts.
#[must_use]
pub fn is_conflatable(
    document_type: DocumentType,
    before: Option<ResultStatus>,
    after: Option<ResultStatus>,
    changes_notes: bool,
) -> bool {
    let weighty = |status: Option<ResultStatus>| status.is_some_and(ResultStatus::is_weighty);
    let moved = before != after && (weighty(before) || weighty(after));
    !moved && !document_type.is_never_conflated() && !changes_notes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(version: i32, content: u8) -> Document {
        Document { version, sha256: Some([content; 32]), status: None, invalidated: false, seq: 1 }
    }

    fn offer(version: i32, content: u8) -> Version {
        Version { version, sha256: Some([content; 32]), status: None }
    }

    fn invalidation(version: i32) -> Version {
        Version { version, sha256: None, status: None }
    }

    #[test]
    fn a_higher_version_is_accepted_whatever_is_missing_between() {
        assert_eq!(Document::offer(None, &offer(7, 1)), Outcome::Accepted);
        assert_eq!(Document::offer(Some(&head(3, 1)), &offer(9, 2)), Outcome::Accepted);
    }

    #[test]
    fn a_repeat_is_a_duplicate_and_another_content_a_conflict() {
        assert_eq!(Document::offer(Some(&head(3, 1)), &offer(3, 1)), Outcome::Duplicate);
        assert_eq!(Document::offer(Some(&head(3, 1)), &offer(3, 2)), Outcome::Conflict);
        assert_eq!(Document::offer(Some(&head(3, 1)), &offer(2, 2)), Outcome::Late);
    }

    #[test]
    fn an_invalidation_lasts_until_a_higher_version() {
        let mut current = head(3, 1);
        assert_eq!(Document::offer(Some(&current), &invalidation(2)), Outcome::Late);
        assert_eq!(Document::offer(Some(&current), &invalidation(3)), Outcome::Invalidated);
        current.invalidated = true;
        assert_eq!(Document::offer(Some(&current), &invalidation(3)), Outcome::Duplicate);
        assert_eq!(Document::offer(Some(&current), &offer(3, 1)), Outcome::Duplicate);
        assert_eq!(Document::offer(Some(&current), &offer(4, 1)), Outcome::Accepted);
    }

    #[test]
    fn an_invalidation_may_come_before_its_version() {
        let tombstone = Document { sha256: None, invalidated: true, ..head(3, 0) };
        assert_eq!(Document::offer(None, &invalidation(3)), Outcome::Invalidated);
        assert_eq!(Document::offer(Some(&tombstone), &offer(3, 1)), Outcome::Late);
        assert_eq!(Document::offer(Some(&tombstone), &offer(4, 1)), Outcome::Accepted);
    }

    #[test]
    fn what_matters_is_never_left_out() {
        let result: DocumentType = "DT_RESULT".parse().unwrap();
        let update: DocumentType = "DT_SCHEDULE_UPDATE".parse().unwrap();
        let (live, official, protested) =
            (Some(ResultStatus::Live), Some(ResultStatus::Official), Some(ResultStatus::Protested));
        assert!(is_conflatable(result, live, live, false));
        assert!(is_conflatable(result, official, official, false));
        assert!(!is_conflatable(result, live, official, false));
        assert!(!is_conflatable(result, official, live, false));
        assert!(!is_conflatable(result, official, protested, false));
        assert!(!is_conflatable(result, official, None, false));
        assert!(!is_conflatable(update, None, None, false));
        assert!(!is_conflatable(result, live, live, true));
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_arrival_the_highest_version_stands(mut versions in proptest::collection::vec(1..20_i32, 1..30)) {
            let mut current: Option<Document> = None;
            for version in &versions {
                let content = u8::try_from(*version).unwrap();
                if Document::offer(current.as_ref(), &offer(*version, content)) == Outcome::Accepted {
                    current = Some(head(*version, content));
                }
            }
            versions.sort_unstable();
            prop_assert_eq!(current.map(|document| document.version), versions.last().copied());
        }
    }
}
