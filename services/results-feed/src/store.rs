//! All SQL. Domain types in and out.
//! Each operation is a span, but for those that a loop repeats without work.

mod access;
mod days;
mod decisions;
mod deliverable;
mod delivery;
mod desk;
mod documents;
mod embargoes;
mod entitlements;
mod feed;
mod gaps;
mod log;
mod log_parts;
mod packing;
mod quarantine;
mod rehearsal;
mod schedule;
mod search;
mod time_travel;

pub use access::{StoredKey, find_key, insert_key, list_keys, revoke_key};
pub use days::{
    find_manifest, insert_manifest, list_clocks, list_closing, list_day, list_due, load_day, save_clock,
    save_day,
};
pub use decisions::{
    Asked, Explained, StoredDecision, delete_decisions, find_explained, insert_decisions,
    insert_refused_read, list_decisions,
};
pub use deliverable::{
    Deliverable, What, delete_resends, insert_resends, insert_set_aside, list_deliverable, list_resends,
    list_set_aside,
};
pub use delivery::{
    DeliverySession, StoredTarget, begin_term, count_targets, delete_target, find_target, forgive_target,
    insert_target, list_running_targets, list_targets, load_progress, load_target_for_update, park_target,
    save_progress, save_target,
};
pub use desk::{
    DeskUnit, DisciplineUnits, VenueSignal, find_biography, list_code_tables, list_disciplines,
    list_units_around, list_venue_signals,
};
pub use documents::{
    Found, find_by_code, find_edition, list_editions, load_heads, newest_medal_standings, save_heads,
};
pub use embargoes::{
    Due, Held, embargo_versions, has_due, insert_release_entries, list_standing, release_until,
    released_until, remove_embargoes_of, replace_embargoes, save_embargoes, take_due,
};
pub use entitlements::{
    insert_rights_entry, list_entitlements, load_entitlement, load_entitlement_for_update, load_history,
    next_change, released_at, save_entitlement, versions_at,
};
pub use feed::{
    Missed, Ticket, find_raw, insert_ticket, list_at, list_facts, list_logged, list_missed, list_raw,
    list_state, rights_changes, take_ticket,
};
pub use gaps::{Serial, SerialGap, VersionGap, insert_serials, list_serial_gaps, list_version_gaps};
pub use log::{
    Position, insert_entitlement_entry, insert_rows, list_after, lock_stream, make_streams, position,
    renew_epoch, save_seq,
};
pub use log_parts::{
    compact_part, epoch_and_whole_from, list_parts, make_part, save_swept, save_whole_from, sweep,
    swept_until, try_parts_turn, whole_from,
};
pub use quarantine::{
    Quarantined, delete_quarantined, find_quarantined, insert_quarantined, list_quarantined,
};
pub use rehearsal::{
    advance_replay, begin_stream, busy_streams, claim_replay, clear_stream, count_originals, find_replay,
    forget_days, insert_replay, list_originals, list_positions, release_replay, set_replay_stage,
    stop_replay,
};
pub use schedule::{
    ScheduleFilter, UnitState, find_unit, list_schedule, list_units, load_schedules, page_schedules,
    save_schedules,
};
pub use search::{RawDocument, find_version, load_raw, search};
pub use time_travel::{closed_seq, find_start_list, seq_at, standing_at, stream_of, taken_at};

use domain::{DateTime, Noc, Utc};

use crate::{
    Error,
    document::Sha256,
    document_type::{DocumentType, ResultStatus},
    entitlement::Facts,
    entry::LARGEST_BODY,
    rsc::Prefix,
};

// Lists leave out larger bodies.
#[expect(clippy::cast_possible_truncation, reason = "256 KiB")]
const LARGEST: i32 = LARGEST_BODY as i32;

// What `like any` takes. A prefix holds nothing that `like` would take for a pattern.
fn patterns(prefixes: &[Prefix]) -> Vec<String> {
    match prefixes {
        [] => vec!["%".to_owned()],
        some => some.iter().map(|prefix| format!("{}%", prefix.as_str())).collect(),
    }
}

fn digest(bytes: &[u8]) -> Result<Sha256, Error> {
    bytes.try_into().map_err(|_| Error::Corrupt { what: "sha256" })
}

fn size(octets: Option<i32>) -> Result<usize, Error> {
    octets.and_then(|octets| usize::try_from(octets).ok()).ok_or(Error::Corrupt { what: "canonical" })
}

fn status(name: Option<String>) -> Result<Option<ResultStatus>, Error> {
    match name {
        Some(name) => name.parse().map(Some).map_err(|_| Error::Corrupt { what: "result_status" }),
        None => Ok(None),
    }
}

fn facts(
    nocs: &[String],
    status_since: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
) -> Result<Facts, Error> {
    let nocs: Result<Vec<Noc>, _> = nocs.iter().map(|noc| noc.parse()).collect();
    let nocs = nocs.map_err(|_| Error::Corrupt { what: "nocs" })?.into();
    Ok(Facts { nocs, status_since: status_since.unwrap_or(received_at), received_at })
}

// An array of arrays can't be unnested into arrays.
fn join(nocs: &[Noc]) -> String {
    nocs.iter().map(Noc::as_str).collect::<Vec<_>>().join(" ")
}

fn document_type(name: &str) -> Result<DocumentType, Error> {
    name.parse().map_err(|_| Error::Corrupt { what: "document_type" })
}
