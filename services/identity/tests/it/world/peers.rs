//! Mailer and profile, which identity calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use domain::UserId;
use proto::{
    mailer::v1::{
        GetTransactionalRequest, GetTransactionalResponse, SendTransactionalRequest,
        SendTransactionalResponse, transactional_service_server::TransactionalService,
    },
    profile::v1::{
        self as profile, BatchGetProfilesRequest, BatchGetProfilesResponse, FindProfileRequest,
        FindProfileResponse, GetProfileRequest, GetProfileResponse, Profile, UpdateProfileRequest,
        UpdateProfileResponse, profile_service_server::ProfileService,
    },
};
use tonic::{Request, Response, Status};

use super::DEADLINE;

/// Mailer and profile as identity sees them, over real gRPC.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    mails: Vec<SendTransactionalRequest>,
    profiles: HashMap<String, Profile>,
    profile_is: ProfileIs,
    mailer_is_down: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum ProfileIs {
    #[default]
    Up,
    Down,
    Silent,
}

impl Peers {
    pub fn mails(&self) -> Vec<SendTransactionalRequest> {
        self.0.lock().unwrap().mails.clone()
    }

    /// The newest mail to an address, as soon as there is one.
    pub async fn mail_to(&self, email: &str) -> SendTransactionalRequest {
        testkit::eventually(DEADLINE, || async {
            self.mails().into_iter().rev().find(|mail| mail.address == email.as_bytes())
        })
        .await
    }

    /// The digits of the newest mail to an address.
    pub async fn code_for(&self, email: &str) -> String {
        self.mail_to(email).await.variables["code"].clone()
    }

    pub fn mailer_is_down(&self, down: bool) {
        self.0.lock().unwrap().mailer_is_down = down;
    }

    pub fn profile_is(&self, is: ProfileIs) {
        self.0.lock().unwrap().profile_is = is;
    }

    pub fn forget_profile(&self, user_id: UserId) {
        self.0.lock().unwrap().profiles.remove(&user_id.to_string());
    }

    pub fn set_profile(&self, user_id: UserId, profile: Profile) {
        self.0.lock().unwrap().profiles.insert(user_id.to_string(), profile);
    }
}

#[tonic::async_trait]
impl TransactionalService for Peers {
    async fn send_transactional(
        &self,
        request: Request<SendTransactionalRequest>,
    ) -> Result<Response<SendTransactionalResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.0.lock().unwrap();
        if state.mailer_is_down {
            return Err(Status::unavailable("down"));
        }
        let transactional_id = request.request_id.clone();
        if state.mails.iter().all(|mail| mail.request_id != request.request_id) {
            state.mails.push(request);
        }
        Ok(Response::new(SendTransactionalResponse { transactional_id }))
    }

    async fn get_transactional(
        &self,
        _: Request<GetTransactionalRequest>,
    ) -> Result<Response<GetTransactionalResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

#[tonic::async_trait]
impl ProfileService for Peers {
    async fn find_profile(
        &self,
        request: Request<FindProfileRequest>,
    ) -> Result<Response<FindProfileResponse>, Status> {
        let profile_is = self.0.lock().unwrap().profile_is;
        match profile_is {
            ProfileIs::Up => {}
            ProfileIs::Down => return Err(Status::unavailable("down")),
            ProfileIs::Silent => std::future::pending().await,
        }
        let asked = request.into_inner().external_id.unwrap_or_default();
        assert_eq!(asked.r#type, "user");
        let profile = self.0.lock().unwrap().profiles.get(&asked.value).cloned();
        let profile = profile.ok_or_else(|| Status::not_found("nobody"))?;
        Ok(Response::new(FindProfileResponse { profile: Some(profile) }))
    }

    async fn get_profile(
        &self,
        _: Request<GetProfileRequest>,
    ) -> Result<Response<GetProfileResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn batch_get_profiles(
        &self,
        _: Request<BatchGetProfilesRequest>,
    ) -> Result<Response<BatchGetProfilesResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }

    async fn update_profile(
        &self,
        _: Request<UpdateProfileRequest>,
    ) -> Result<Response<UpdateProfileResponse>, Status> {
        Err(Status::unimplemented("not asked"))
    }
}

/// A profile with names, a birth date and a language.
pub fn profile_of(given_name: &str, family_name: &str, birth_date: &str, locale: &str) -> Profile {
    use profile::trait_value::Kind;
    let one = |name: &str, kind: Kind| profile::Trait {
        name: name.to_owned(),
        value: Some(profile::TraitValue { kind: Some(kind) }),
        ..profile::Trait::default()
    };
    Profile {
        profile_id: domain::new_id().to_string(),
        version: 1,
        state: "active".to_owned(),
        traits: vec![
            one("given_name", Kind::Text(given_name.to_owned())),
            one("family_name", Kind::Text(family_name.to_owned())),
            one("birth_date", Kind::Date(birth_date.to_owned())),
        ],
        locale: locale.to_owned(),
        ..Profile::default()
    }
}
