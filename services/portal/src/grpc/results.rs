use chassis::Peer;
use proto::results::v1::{
    self as wire, GetEventUnitRequest, GetResultRequest, ListEventUnitsRequest,
    result_service_client::ResultServiceClient,
};
use tonic::{Code, Response, Status};

use crate::Error;

/// A unit of the schedule.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Unit {
    /// RSC.
    pub unit: String,
    /// First three characters.
    pub discipline: String,
    /// As the schedule names it.
    pub name: String,
    /// Status of the schedule.
    pub schedule_status: String,
    /// Status of the result; empty until there is one.
    pub result_status: String,
    /// Start, in seconds since 1970.
    pub start: i64,
    /// Venue code.
    pub venue: String,
}

/// A result as it stands.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Standing {
    /// Its status.
    pub status: String,
    /// When this version came, in seconds since 1970.
    pub received_at: i64,
    /// In the sender's order.
    pub rows: Vec<Row>,
}

/// One line of a result.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Row {
    /// The competitor's code: the key of live patches.
    pub competitor: String,
    /// Name.
    pub name: String,
    /// NOC.
    pub noc: String,
    /// Number on the shirt.
    pub bib: String,
    /// Lane or start order.
    pub start_order: String,
    /// Rank.
    pub rank: String,
    /// Mark.
    pub mark: String,
    /// Invalid result mark: DNS, DNF, DSQ and so on.
    pub irm: String,
}

impl Unit {
    /// A unit of which only the code is known.
    #[must_use]
    pub fn unscheduled(rsc: &str) -> Self {
        Self {
            unit: rsc.to_owned(),
            discipline: rsc.get(..3).unwrap_or_default().to_owned(),
            name: rsc.to_owned(),
            schedule_status: String::new(),
            result_status: String::new(),
            start: 0,
            venue: String::new(),
        }
    }
}

/// Units of these disciplines, in the order of their start.
pub async fn units(peer: Peer, prefixes: Vec<String>) -> Result<Vec<Unit>, Error> {
    let request = ListEventUnitsRequest { prefixes, page_size: 200, page_token: String::new() };
    let answer = ResultServiceClient::new(peer).list_event_units(request).await?;
    Ok(answer.into_inner().event_units.into_iter().map(unit_from_wire).collect())
}

/// One unit of the schedule, where it is on it.
pub async fn unit(peer: Peer, rsc: &str) -> Result<Option<Unit>, Error> {
    let request = GetEventUnitRequest { unit: rsc.to_owned() };
    let answer = found(ResultServiceClient::new(peer).get_event_unit(request).await)?;
    Ok(answer.and_then(|answer| answer.event_unit).map(unit_from_wire))
}

/// A unit's result as it stands, where there is one.
pub async fn standing(peer: Peer, rsc: &str) -> Result<Option<Standing>, Error> {
    let request = GetResultRequest { unit: rsc.to_owned() };
    let answer = found(ResultServiceClient::new(peer).get_result(request).await)?;
    Ok(answer.and_then(|answer| answer.result).map(standing_from_wire))
}

// What is not there, and a malformed RSC of an address, are both a page that does not exist.
fn found<T>(answer: Result<Response<T>, Status>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer.into_inner())),
        Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

fn unit_from_wire(unit: wire::EventUnit) -> Unit {
    let name = if unit.name.is_empty() { unit.unit.clone() } else { unit.name };
    Unit {
        unit: unit.unit,
        discipline: unit.discipline,
        name,
        schedule_status: unit.schedule_status,
        result_status: unit.result_status,
        start: unit.start.map_or(0, |at| at.seconds),
        venue: unit.venue,
    }
}

fn standing_from_wire(result: wire::Result) -> Standing {
    let row = |row: wire::ResultRow| Row {
        competitor: row.competitor_code,
        name: row.name,
        noc: row.noc,
        bib: row.bib,
        start_order: row.start_order,
        rank: row.rank,
        mark: row.mark,
        irm: row.irm,
    };
    Standing {
        status: result.result_status,
        received_at: result.received_at.map_or(0, |at| at.seconds),
        rows: result.rows.into_iter().map(row).collect(),
    }
}
