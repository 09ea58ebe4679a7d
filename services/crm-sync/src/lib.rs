//! The one door through which person data leaves: destinations, mappings, agreements, runs, the delivery ledger.
