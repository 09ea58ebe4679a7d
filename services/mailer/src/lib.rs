//! Every mail once, to the right person, with proof: senders, templates, campaigns, messages, suppressions.
