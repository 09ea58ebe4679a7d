use chassis::FieldViolation;
use domain::{NaiveDate, Uuid};
use proto::results::v1::{
    self as wire, GetReplayRequest, GetReplayResponse, StartReplayRequest, StartReplayResponse,
    StopReplayRequest, StopReplayResponse, rehearsal_service_server::RehearsalService,
};
use tonic::{Request, Response, Status};

use super::parse;
use crate::{
    Error,
    app::{App, NewReplay},
    events::timestamp,
    replay::{FASTEST, Replay},
    stream_name::RehearsalNumber,
};

/// `kotinos.results.v1.RehearsalService`
#[derive(Debug, Clone)]
pub struct Rehearsal {
    app: App,
}

impl Rehearsal {
    /// Over the use cases.
    #[must_use]
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl RehearsalService for Rehearsal {
    async fn start_replay(
        &self,
        request: Request<StartReplayRequest>,
    ) -> Result<Response<StartReplayResponse>, Status> {
        let actor = chassis::actor(&request)?;
        let new = new_replay(request.get_ref()).map_err(chassis::status)?;
        let replay = self.app.start_replay(new, &actor.client_id).await.map_err(chassis::status)?;
        Ok(Response::new(StartReplayResponse { replay: Some(to_proto(&replay)) }))
    }

    async fn stop_replay(
        &self,
        request: Request<StopReplayRequest>,
    ) -> Result<Response<StopReplayResponse>, Status> {
        let replay_id = id(&request.get_ref().replay_id).map_err(chassis::status)?;
        let replay = self.app.stop_replay(replay_id).await.map_err(chassis::status)?;
        Ok(Response::new(StopReplayResponse { replay: Some(to_proto(&replay)) }))
    }

    async fn get_replay(
        &self,
        request: Request<GetReplayRequest>,
    ) -> Result<Response<GetReplayResponse>, Status> {
        let replay_id = id(&request.get_ref().replay_id).map_err(chassis::status)?;
        let replay = self.app.get_replay(replay_id).await.map_err(chassis::status)?;
        Ok(Response::new(GetReplayResponse { replay: Some(to_proto(&replay)) }))
    }
}

fn id(text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| FieldViolation::new("replay_id", "must be the id of a replay").into())
}

fn new_replay(request: &StartReplayRequest) -> Result<NewReplay, Error> {
    let mut wrong = Vec::new();
    let mut check = |is_right: bool, field: &'static str, rule: String| {
        if !is_right {
            wrong.push(FieldViolation::new(field, rule));
        }
    };
    let logical_date: Option<NaiveDate> = request.logical_date.parse().ok();
    let has_date = !request.logical_date.is_empty();
    check(!has_date || logical_date.is_some(), "logical_date", "must be a day as YYYY-MM-DD".to_owned());
    let has_range = request.from_seq != 0 || request.to_seq != 0;
    check(
        has_date || has_range,
        "logical_date",
        "must be a day, unless from_seq or to_seq is given".to_owned(),
    );
    check(request.from_seq >= 0, "from_seq", "must be 0 or more".to_owned());
    let is_forward = request.to_seq == 0 || request.to_seq >= request.from_seq;
    check(request.to_seq >= 0 && is_forward, "to_seq", "must be 0, or from_seq or more".to_owned());
    check(request.speed <= FASTEST, "speed", format!("must be at most {FASTEST}"));
    let number = u8::try_from(request.number).ok().and_then(RehearsalNumber::new);
    check(
        request.number == 0 || number.is_some(),
        "number",
        "must be 1 to 9, or 0 for a free one".to_owned(),
    );
    let source = parse::feed_flag("feed_flag", &request.feed_flag);
    if !wrong.is_empty() {
        return Err(Error::Invalid(wrong));
    }
    Ok(NewReplay {
        source: source?,
        logical_date,
        from_seq: request.from_seq.max(1),
        to_seq: Some(request.to_seq).filter(|to| *to > 0),
        speed: request.speed.max(1),
        number,
    })
}

fn to_proto(replay: &Replay) -> wire::Replay {
    wire::Replay {
        replay_id: replay.replay_id.to_string(),
        stream: replay.stream_id.clone(),
        source_stream: replay.source_id.clone(),
        logical_date: replay.logical_date.map(|day| day.to_string()).unwrap_or_default(),
        from_seq: replay.from_seq,
        to_seq: replay.to_seq,
        speed: replay.speed,
        stage: replay.stage.name().to_owned(),
        documents: replay.documents,
        replayed: replay.replayed,
        started_at: Some(timestamp(replay.started_at)),
        ended_at: replay.ended_at.map(timestamp),
        started_by: replay.started_by.clone(),
    }
}
