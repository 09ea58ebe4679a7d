use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use chassis::{Code, Coded, FieldViolation};
use domain::UserId;
use proto::{
    identity::v1::{self as identity, session_service_server::SessionService},
    profile::v1::{
        self as profile, consent_service_server::ConsentService, profile_service_server::ProfileService,
        trait_value::Kind,
    },
    results::v1::{self as results, result_service_server::ResultService},
};
use tonic::{Request, Response, Status};

/// Profile, identity and results-feed as the portal meets them over gRPC: what they hold, and what they were asked.
#[derive(Clone, Default)]
pub struct Peers(Arc<Mutex<Held>>);

#[derive(Default)]
pub struct Held {
    /// Nobody has a profile for so many questions.
    pub unborn: usize,
    pub locale: String,
    pub email: String,
    pub traits: BTreeMap<String, Kind>,
    pub updates: Vec<profile::UpdateProfileRequest>,
    pub notices: Vec<profile::PublishedNotice>,
    pub records: Vec<profile::ConsentRecord>,
    pub answers: Vec<profile::RecordConsentsRequest>,
    pub sessions: Vec<identity::Session>,
    pub units: Vec<results::EventUnit>,
    pub unit_questions: Vec<Vec<String>>,
    pub result: Option<results::Result>,
    pub results_are_away: bool,
    /// Subjects of the tokens that came.
    pub subjects: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct Refused(Code, &'static str, Vec<FieldViolation>);

impl Coded for Refused {
    fn code(&self) -> Code {
        self.0
    }

    fn reason(&self) -> &'static str {
        self.1
    }

    fn fields(&self) -> Vec<FieldViolation> {
        self.2.clone()
    }
}

fn refuse<T>(code: Code, reason: &'static str) -> Result<Response<T>, Status> {
    Err(chassis::status(Refused(code, reason, Vec::new())))
}

impl Peers {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }

    /// Publishes the words of a purpose in a language.
    pub fn publish(&self, purpose: &str, language: &str, version: u32, text: &str) {
        self.held().notices.push(profile::PublishedNotice {
            purpose: purpose.to_owned(),
            language: language.to_owned(),
            version,
            text: text.to_owned(),
            ..profile::PublishedNotice::default()
        });
    }

    /// The newest answer about a purpose.
    pub fn status_of(&self, purpose: &str) -> String {
        let held = self.held();
        held.records
            .iter()
            .find(|record| record.purpose == purpose)
            .map_or(String::new(), |record| record.status.clone())
    }

    fn seen<T>(&self, request: &Request<T>) -> Result<MutexGuard<'_, Held>, Status> {
        let actor = chassis::actor(request)?;
        let mut held = self.held();
        held.subjects.push(actor.subject);
        Ok(held)
    }
}

fn profile_of(held: &Held) -> profile::Profile {
    let held_trait = |(name, kind): (&String, &Kind)| profile::Trait {
        name: name.clone(),
        value: Some(profile::TraitValue { kind: Some(kind.clone()) }),
        ..profile::Trait::default()
    };
    profile::Profile {
        profile_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        version: 3,
        state: "active".to_owned(),
        traits: held.traits.iter().map(held_trait).collect(),
        email: Some(profile::ProfileEmail {
            address: held.email.clone().into_bytes(),
            ..profile::ProfileEmail::default()
        }),
        locale: held.locale.clone(),
        ..profile::Profile::default()
    }
}

// A few of profile's own rules.
fn rule(name: &str, kind: &Kind) -> Option<&'static str> {
    match kind {
        Kind::Text(text) if name == "prefecture" && !text.starts_with("JP-") => {
            Some("must be an ISO 3166-2 code")
        }
        Kind::Text(text) if text.chars().count() > 80 || text.chars().any(char::is_control) => {
            Some("must be text")
        }
        Kind::Text(text) if name == "phone" && !text.starts_with('+') => Some("must be a number"),
        Kind::Date(day) if day.parse::<domain::NaiveDate>().is_err() => Some("must be a day"),
        Kind::Set(set) if set.values.iter().any(|code| code.parse::<domain::SportCode>().is_err()) => {
            Some("must be discipline codes")
        }
        _ => None,
    }
}

#[tonic::async_trait]
impl ProfileService for Peers {
    async fn get_profile(
        &self,
        _: Request<profile::GetProfileRequest>,
    ) -> Result<Response<profile::GetProfileResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn batch_get_profiles(
        &self,
        _: Request<profile::BatchGetProfilesRequest>,
    ) -> Result<Response<profile::BatchGetProfilesResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn find_profile(
        &self,
        request: Request<profile::FindProfileRequest>,
    ) -> Result<Response<profile::FindProfileResponse>, Status> {
        let mut held = self.seen(&request)?;
        let key = request.into_inner().external_id.unwrap();
        assert_eq!((key.r#type.as_str(), key.value.parse::<UserId>().is_ok()), ("user", true));
        if held.unborn > 0 {
            held.unborn -= 1;
            return refuse(Code::NotFound, "PROFILE_NOT_FOUND");
        }
        Ok(Response::new(profile::FindProfileResponse { profile: Some(profile_of(&held)) }))
    }

    async fn update_profile(
        &self,
        request: Request<profile::UpdateProfileRequest>,
    ) -> Result<Response<profile::UpdateProfileResponse>, Status> {
        let mut held = self.seen(&request)?;
        let request = request.into_inner();
        let mut wrong = Vec::new();
        for (at, update) in request.traits.iter().enumerate() {
            let kind = update.value.as_ref().and_then(|value| value.kind.as_ref()).unwrap();
            if let Some(rule) = rule(&update.name, kind) {
                wrong.push(FieldViolation::new(format!("traits[{at}].value ({})", update.name), rule));
            }
        }
        held.updates.push(request.clone());
        if !wrong.is_empty() {
            return Err(chassis::status(Refused(Code::InvalidArgument, "INVALID_FIELD", wrong)));
        }
        for update in request.traits {
            held.traits.insert(update.name, update.value.unwrap().kind.unwrap());
        }
        for name in request.remove_traits {
            held.traits.remove(&name);
        }
        if !request.locale.is_empty() {
            held.locale = request.locale;
        }
        Ok(Response::new(profile::UpdateProfileResponse { profile: Some(profile_of(&held)) }))
    }
}

#[tonic::async_trait]
impl ConsentService for Peers {
    async fn get_consents(
        &self,
        request: Request<profile::GetConsentsRequest>,
    ) -> Result<Response<profile::GetConsentsResponse>, Status> {
        let held = self.seen(&request)?;
        let mut heads: BTreeMap<String, profile::ConsentHead> = BTreeMap::new();
        // Newest first: the first of a purpose is its head.
        for record in &held.records {
            heads.entry(record.purpose.clone()).or_insert_with(|| profile::ConsentHead {
                purpose: record.purpose.clone(),
                status: record.status.clone(),
                valid_until: record.valid_until,
                ..profile::ConsentHead::default()
            });
        }
        Ok(Response::new(profile::GetConsentsResponse { heads: heads.into_values().collect(), version: 1 }))
    }

    async fn record_consents(
        &self,
        request: Request<profile::RecordConsentsRequest>,
    ) -> Result<Response<profile::RecordConsentsResponse>, Status> {
        let mut held = self.seen(&request)?;
        let request = request.into_inner();
        for answer in &request.answers {
            let published = held.notices.iter().any(|notice| {
                notice.purpose == answer.purpose
                    && notice.language == answer.notice_language
                    && notice.version == answer.notice_version
            });
            if answer.status == "given" && !published {
                return refuse(Code::FailedPrecondition, "NOTICE_NOT_PUBLISHED");
            }
        }
        for answer in &request.answers {
            let record = profile::ConsentRecord {
                purpose: answer.purpose.clone(),
                status: answer.status.clone(),
                notice: (answer.notice_version > 0).then(|| profile::Notice {
                    version: answer.notice_version,
                    language: answer.notice_language.clone(),
                    sha256: String::new(),
                }),
                method: request.method.clone(),
                at: Some(prost_types::Timestamp { seconds: 1_912_078_200, nanos: 0 }),
                ..profile::ConsentRecord::default()
            };
            held.records.insert(0, record);
        }
        held.answers.push(request);
        Ok(Response::new(profile::RecordConsentsResponse::default()))
    }

    async fn check_consents(
        &self,
        _: Request<profile::CheckConsentsRequest>,
    ) -> Result<Response<profile::CheckConsentsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_consent_records(
        &self,
        request: Request<profile::ListConsentRecordsRequest>,
    ) -> Result<Response<profile::ListConsentRecordsResponse>, Status> {
        let records = self.seen(&request)?.records.clone();
        Ok(Response::new(profile::ListConsentRecordsResponse { records }))
    }

    async fn publish_notice(
        &self,
        _: Request<profile::PublishNoticeRequest>,
    ) -> Result<Response<profile::PublishNoticeResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_notices(
        &self,
        request: Request<profile::ListNoticesRequest>,
    ) -> Result<Response<profile::ListNoticesResponse>, Status> {
        let held = self.seen(&request)?;
        let language = &request.get_ref().language;
        let notices = held.notices.iter().filter(|notice| notice.language == *language).cloned().collect();
        Ok(Response::new(profile::ListNoticesResponse { notices }))
    }
}

#[tonic::async_trait]
impl SessionService for Peers {
    async fn list_sessions(
        &self,
        request: Request<identity::ListSessionsRequest>,
    ) -> Result<Response<identity::ListSessionsResponse>, Status> {
        let sessions = self.seen(&request)?.sessions.clone();
        Ok(Response::new(identity::ListSessionsResponse { sessions }))
    }

    async fn end_session(
        &self,
        request: Request<identity::EndSessionRequest>,
    ) -> Result<Response<identity::EndSessionResponse>, Status> {
        let mut held = self.seen(&request)?;
        let id = request.into_inner().session_id;
        if !held.sessions.iter().any(|session| session.session_id == id) {
            return refuse(Code::NotFound, "SESSION_NOT_FOUND");
        }
        held.sessions.retain(|session| session.session_id != id);
        Ok(Response::new(identity::EndSessionResponse {}))
    }

    async fn end_user_sessions(
        &self,
        _: Request<identity::EndUserSessionsRequest>,
    ) -> Result<Response<identity::EndUserSessionsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_logout_deliveries(
        &self,
        _: Request<identity::ListLogoutDeliveriesRequest>,
    ) -> Result<Response<identity::ListLogoutDeliveriesResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn retry_logout_delivery(
        &self,
        _: Request<identity::RetryLogoutDeliveryRequest>,
    ) -> Result<Response<identity::RetryLogoutDeliveryResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

#[tonic::async_trait]
impl ResultService for Peers {
    async fn get_event_unit(
        &self,
        request: Request<results::GetEventUnitRequest>,
    ) -> Result<Response<results::GetEventUnitResponse>, Status> {
        let held = self.seen(&request)?;
        match held.units.iter().find(|unit| unit.unit == request.get_ref().unit) {
            Some(unit) => Ok(Response::new(results::GetEventUnitResponse { event_unit: Some(unit.clone()) })),
            None => refuse(Code::NotFound, "NOT_FOUND"),
        }
    }

    async fn list_event_units(
        &self,
        request: Request<results::ListEventUnitsRequest>,
    ) -> Result<Response<results::ListEventUnitsResponse>, Status> {
        let mut held = self.seen(&request)?;
        if held.results_are_away {
            return refuse(Code::Unavailable, "AWAY");
        }
        let prefixes = request.into_inner().prefixes;
        let shown = |unit: &&results::EventUnit| {
            prefixes.is_empty() || prefixes.iter().any(|prefix| unit.unit.starts_with(prefix.as_str()))
        };
        let event_units = held.units.iter().filter(shown).cloned().collect();
        held.unit_questions.push(prefixes);
        Ok(Response::new(results::ListEventUnitsResponse { event_units, next_page_token: String::new() }))
    }

    async fn get_result(
        &self,
        request: Request<results::GetResultRequest>,
    ) -> Result<Response<results::GetResultResponse>, Status> {
        let held = self.seen(&request)?;
        match held.result.as_ref().filter(|result| result.unit == request.get_ref().unit) {
            Some(result) => Ok(Response::new(results::GetResultResponse { result: Some(result.clone()) })),
            None => refuse(Code::NotFound, "NOT_FOUND"),
        }
    }

    async fn get_start_list(
        &self,
        _: Request<results::GetStartListRequest>,
    ) -> Result<Response<results::GetStartListResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_schedule(
        &self,
        _: Request<results::ListScheduleRequest>,
    ) -> Result<Response<results::ListScheduleResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn list_medal_standings(
        &self,
        _: Request<results::ListMedalStandingsRequest>,
    ) -> Result<Response<results::ListMedalStandingsResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}
