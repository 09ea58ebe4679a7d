//! The truth about a person: traits, external ids, consent records, preferences, merges, erasures.
