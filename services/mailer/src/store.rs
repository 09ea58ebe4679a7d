//! All SQL of mailer. Domain types in and out.
//! Each operation is a span, but for those that a loop repeats without work.

mod campaigns;
mod chunks;
mod engagements;
mod messages;
mod recipients;
mod reports;
mod senders;
mod suppressions;
mod templates;
mod transactionals;

pub use campaigns::{
    Started, find_by_request, find_number, insert_campaign, list_due, list_freezing, list_sending,
    load_campaign, load_campaign_for_update, load_started, save_campaign, save_progress, save_watermark,
    states,
};
pub use chunks::{
    Chunk, epochs, finish_chunk, insert_chunk, is_all_done, lease_chunk, lease_retries, release_chunk,
    renew_chunk,
};
pub use engagements::{insert_engagements, language_of, recent_clicks, reclassify};
pub use messages::{
    CampaignReport, LedgerKey, LedgerLine, Ledgered, cancel_deferred, delete_handing, held_states,
    insert_handing, save_outcomes, without_rows,
};
pub use recipients::{
    address_hash_key, erase_recipient, is_caught_up, load_recipients, save_consents, save_consumed,
    save_profile, user_of,
};
pub use reports::{list_by_campaign, list_by_profile, report};
pub use senders::{insert_sender, load_sender};
pub use suppressions::{
    Withdrawal, due_withdrawals, insert_suppression, list_suppressions, load_standing,
    load_standing_for_update, lock_suppressions, save_ended, save_withdrawn,
};
pub use templates::{
    insert_template, insert_version, load_version, newest_version, publish_version, template_exists,
};
pub use transactionals::{
    Held, Queued, find_transactional_by_request, finish_transactional, insert_transactional,
    lease_transactionals, load_transactional, postpone_transactional,
};
