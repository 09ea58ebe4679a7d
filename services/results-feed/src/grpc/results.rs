use proto::results::v1::{
    self as wire, GetEventUnitRequest, GetEventUnitResponse, GetResultRequest, GetResultResponse,
    GetStartListRequest, GetStartListResponse, ListEventUnitsRequest, ListEventUnitsResponse,
    ListMedalStandingsRequest, ListMedalStandingsResponse, ListScheduleRequest, ListScheduleResponse,
    result_service_server::ResultService,
};
use tonic::{Request, Response, Status};

use super::{parse, past};
use crate::{
    Error,
    app::{App, UnitResult},
    events::{status, timestamp},
    medal::Standing,
    result::Line,
    store::UnitState,
};

/// `kotinos.results.v1.ResultService`
#[derive(Debug, Clone)]
pub struct Results {
    app: App,
}

impl Results {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }

    async fn units(
        &self,
        client_id: &str,
        request: &ListEventUnitsRequest,
    ) -> Result<ListEventUnitsResponse, Error> {
        let prefixes = parse::prefixes("prefixes", &request.prefixes)?;
        let limit = parse::page_size("page_size", request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(parse::rsc("page_token", token)?),
        };
        let rights = self.app.rights(Some(client_id)).await?;
        let (units, next) = self.app.list_units(&rights, &prefixes, after.as_ref(), limit).await?;
        Ok(ListEventUnitsResponse {
            event_units: units.iter().map(event_unit).collect(),
            next_page_token: next.map(|unit| unit.to_string()).unwrap_or_default(),
        })
    }

    async fn unit(&self, client_id: &str, unit: &str) -> Result<wire::EventUnit, Error> {
        let unit = parse::rsc("unit", unit)?;
        let rights = self.app.rights(Some(client_id)).await?;
        Ok(event_unit(&self.app.get_unit(&rights, &unit).await?))
    }

    async fn result(&self, client_id: &str, unit: &str) -> Result<wire::Result, Error> {
        let unit = parse::rsc("unit", unit)?;
        let rights = self.app.rights(Some(client_id)).await?;
        Ok(result(&self.app.get_result(&rights, &unit).await?))
    }

    async fn start_list(&self, client_id: &str, unit: &str) -> Result<wire::Result, Error> {
        let unit = parse::rsc("unit", unit)?;
        let rights = self.app.rights(Some(client_id)).await?;
        Ok(result(&self.app.get_start_list(&rights, &unit).await?))
    }

    async fn schedule(
        &self,
        client_id: &str,
        request: &ListScheduleRequest,
    ) -> Result<ListScheduleResponse, Error> {
        let filter = past::schedule_filter(request, self.app.time_zone())?;
        let limit = parse::page_size("page_size", request.page_size)?;
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(parse::rsc("page_token", token)?),
        };
        let rights = self.app.rights(Some(client_id)).await?;
        let (units, next) = self.app.list_schedule(&rights, &filter, after.as_ref(), limit).await?;
        Ok(ListScheduleResponse {
            event_units: units.iter().map(event_unit).collect(),
            next_page_token: next.map(|unit| unit.to_string()).unwrap_or_default(),
        })
    }

    async fn standings(&self, client_id: &str) -> Result<Vec<wire::MedalStanding>, Error> {
        let rights = self.app.rights(Some(client_id)).await?;
        Ok(self.app.list_medal_standings(&rights).await?.iter().map(standing).collect())
    }
}

#[tonic::async_trait]
impl ResultService for Results {
    async fn get_event_unit(
        &self,
        request: Request<GetEventUnitRequest>,
    ) -> Result<Response<GetEventUnitResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let event_unit = self.unit(&client_id, &request.get_ref().unit).await.map_err(chassis::status)?;
        Ok(Response::new(GetEventUnitResponse { event_unit: Some(event_unit) }))
    }

    async fn list_event_units(
        &self,
        request: Request<ListEventUnitsRequest>,
    ) -> Result<Response<ListEventUnitsResponse>, Status> {
        let client_id = parse::reader(&request)?;
        self.units(&client_id, request.get_ref()).await.map(Response::new).map_err(chassis::status)
    }

    async fn get_result(
        &self,
        request: Request<GetResultRequest>,
    ) -> Result<Response<GetResultResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let result = self.result(&client_id, &request.get_ref().unit).await.map_err(chassis::status)?;
        Ok(Response::new(GetResultResponse { result: Some(result) }))
    }

    async fn get_start_list(
        &self,
        request: Request<GetStartListRequest>,
    ) -> Result<Response<GetStartListResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let start_list = self.start_list(&client_id, &request.get_ref().unit).await;
        let start_list = Some(start_list.map_err(chassis::status)?);
        Ok(Response::new(GetStartListResponse { start_list }))
    }

    async fn list_schedule(
        &self,
        request: Request<ListScheduleRequest>,
    ) -> Result<Response<ListScheduleResponse>, Status> {
        let client_id = parse::reader(&request)?;
        self.schedule(&client_id, request.get_ref()).await.map(Response::new).map_err(chassis::status)
    }

    async fn list_medal_standings(
        &self,
        request: Request<ListMedalStandingsRequest>,
    ) -> Result<Response<ListMedalStandingsResponse>, Status> {
        let client_id = parse::reader(&request)?;
        let standings = self.standings(&client_id).await.map_err(chassis::status)?;
        Ok(Response::new(ListMedalStandingsResponse { standings }))
    }
}

fn event_unit(state: &UnitState) -> wire::EventUnit {
    let (schedule, announced) = (&state.schedule, &state.schedule.announced);
    wire::EventUnit {
        unit: schedule.unit.to_string(),
        discipline: schedule.unit.discipline().to_owned(),
        event: schedule.unit.sport_event().to_string(),
        name: announced.name.clone(),
        schedule_status: announced.status.clone(),
        start: announced.start.map(timestamp),
        end: announced.end.map(timestamp),
        previous_start: schedule.previous_start.map(timestamp),
        venue: announced.venue.clone(),
        location: announced.location.clone(),
        result_status: state.result_status.clone(),
        medal: announced.medal,
        version: schedule.version,
    }
}

fn result(result: &UnitResult) -> wire::Result {
    wire::Result {
        unit: result.edition.key.document_code.clone(),
        result_status: status(result.edition.status),
        document_version: result.edition.version,
        seq: result.edition.seq,
        rows: result.lines.iter().map(row).collect(),
        received_at: Some(timestamp(result.received_at)),
    }
}

fn row(line: &Line) -> wire::ResultRow {
    wire::ResultRow {
        competitor_code: line.competitor_code.clone(),
        name: line.name.clone(),
        noc: line.noc.clone(),
        bib: line.bib.clone(),
        start_order: line.start_order.clone(),
        rank: line.rank.clone(),
        mark: line.mark.clone(),
        irm: line.irm.clone(),
    }
}

fn standing(standing: &Standing) -> wire::MedalStanding {
    let [gold, silver, bronze, total] = standing.counts;
    wire::MedalStanding {
        noc: standing.noc.clone(),
        rank: standing.rank.clone(),
        gold,
        silver,
        bronze,
        total,
    }
}
