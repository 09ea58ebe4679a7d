//! The fans' face: web sessions, account, consents, My Page, live results.
