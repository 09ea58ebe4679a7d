use crate::document_type::DocumentType;

/// How urgent a document is. Within a lane frames come in the order of the log; a more urgent lane goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Clocks of the day, schedule, results of units, alerts.
    Urgent,
    /// What is derived from results, medals, participants.
    Derived,
    /// Books, pictures, biographies, code tables, weather.
    Bulk,
}

/// How many lanes there are.
pub const LANES: usize = 3;

impl Lane {
    /// The most urgent one first.
    pub const ALL: [Self; LANES] = [Self::Urgent, Self::Derived, Self::Bulk];

    /// The lane of a type: a document stays in one lane, so its versions keep their order.
    #[must_use]
    pub fn of(document_type: DocumentType) -> Self {
        match document_type.name() {
            "DT_GLOBAL_GM" | "DT_GLOBAL_GN" | "DT_LOCAL_ON" | "DT_LOCAL_OFF" | "DT_KA" | "DT_PING"
            | "DT_SCHEDULE" | "DT_SCHEDULE_UPDATE" | "DT_RESULT" | "DT_CURRENT" | "DT_COMMUNICATION"
            | "DT_NOTIFICATION" | "DT_ALERT" | "DT_WEA_ALERT" => Self::Urgent,
            "DT_PDF"
            | "DT_PIC"
            | "DT_IMAGE"
            | "DT_AUDIO"
            | "DT_PRESSPHOTOFINISH_LK"
            | "DT_CODES"
            | "DT_CONFIG"
            | "DT_WEATHER"
            | "DT_VEN_COND"
            | "DT_TV_TRACKING"
            | "DT_ESL" => Self::Bulk,
            name if ["DT_BIO_", "DT_BCK", "DT_TRS", "DT_NEWS"]
                .iter()
                .any(|group| name.starts_with(group)) =>
            {
                Self::Bulk
            }
            _ => Self::Derived,
        }
    }

    /// From 0, as frames name it.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The names of its document types.
    #[must_use]
    pub fn type_names(self) -> Vec<String> {
        DocumentType::all().filter(|one| Self::of(*one) == self).map(|one| one.name().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_in_one_lane_and_a_book_overtakes_no_result() {
        let lane = |name: &str| Lane::of(name.parse().unwrap());
        assert_eq!(lane("DT_RESULT"), Lane::Urgent);
        assert_eq!(lane("DT_LOCAL_OFF"), Lane::Urgent);
        assert_eq!(lane("DT_MEDALS"), Lane::Derived);
        assert_eq!(lane("DT_CUMULATIVE_RESULT"), Lane::Derived);
        for name in ["DT_PDF", "DT_PIC", "DT_BIO_PAR", "DT_CODES", "DT_WEATHER"] {
            assert_eq!(lane(name), Lane::Bulk, "{name}");
        }
        let counted: usize = Lane::ALL.iter().map(|lane| lane.type_names().len()).sum();
        assert_eq!(counted, DocumentType::all().count());
    }
}
