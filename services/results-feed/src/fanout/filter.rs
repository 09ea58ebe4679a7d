use crate::rsc::Prefix;

/// Most prefixes of a filter.
pub const MOST_PREFIXES: usize = 64;

/// What a reader wants to see: codes that begin with any of these. Equal filters are equal values: prefixes are in order,
/// and none begins with another. Never empty: the empty prefix wants everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter(Vec<Prefix>);

impl Filter {
    /// Any of these; none means all.
    #[must_use]
    pub fn new(mut prefixes: Vec<Prefix>) -> Self {
        prefixes.sort_unstable();
        let mut kept: Vec<Prefix> = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            // Whatever begins with a prefix comes right behind it in this order.
            if kept.last().is_none_or(|last| !last.matches(prefix.as_str())) {
                kept.push(prefix);
            }
        }
        if kept.is_empty() {
            kept.push(Prefix::default());
        }
        Self(kept)
    }

    /// Its prefixes: a code begins with one of them at most.
    #[must_use]
    pub fn prefixes(&self) -> &[Prefix] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(prefixes: &[&str]) -> Filter {
        Filter::new(prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect())
    }

    fn wants(filter: &Filter, code: &str) -> usize {
        filter.prefixes().iter().filter(|prefix| prefix.matches(code)).count()
    }

    #[test]
    fn what_is_asked_for_twice_is_one_filter() {
        assert_eq!(filter(&["JUD", "ATH", "ATHM100M", "ATH"]), filter(&["ATH", "JUD"]));
        assert_eq!(filter(&[]), filter(&["ATH", ""]));
        assert_ne!(filter(&["ATHM"]), filter(&["ATHW"]));
    }

    proptest! {
        #[test]
        fn a_filter_wants_what_its_prefixes_want_and_each_code_once(
            prefixes in proptest::collection::vec("[A-C]{0,3}", 0..8), code in "[A-C]{0,5}",
        ) {
            let asked: Vec<Prefix> = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
            let any = asked.is_empty() || asked.iter().any(|prefix| prefix.matches(&code));
            prop_assert_eq!(wants(&Filter::new(asked), &code), usize::from(any));
        }
    }
}
