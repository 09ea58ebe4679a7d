use anyhow::{Context, Result, ensure};
use domain::Service;
use proto::profile::v1::{
    ConsentAnswer, ExternalId, FindProfileRequest, RecordConsentsRequest,
    consent_service_client::ConsentServiceClient, profile_service_client::ProfileServiceClient,
};

use crate::{
    Step, Walk,
    staff::{Bearer, Channel},
    steps::{crm, notices, profile},
    until,
};

/// What sends a person's favourites to the CRM.
const PURPOSES: [&str; 2] = ["ioc_newsletter", "profiling"];

impl Walk<'_> {
    /// Goes the steps after which whatever changes about Alice goes to the CRM, and lets Bob and the staff go there too.
    /// Returns the four profiles.
    ///
    /// # Errors
    /// Something is not as expected.
    pub async fn connect_crm(&mut self, tell: &mut dyn FnMut(&Step)) -> Result<Vec<String>> {
        self.sign_up(tell).await?;
        profile::go(self).await.context("profile and consents")?;
        crm::go(self).await.context("the CRM")?;
        let channel = self.portal_at_profile().await?;
        let mut people = vec![self.ids.alice.clone()];
        for address in [self.bob.address, self.chie.address, self.daniel.address] {
            people.push(permit(&channel, address).await.with_context(|| address.to_owned())?);
        }
        until("the CRM to know everybody", async || {
            Ok((self.suite.crm().contacts().await?.len() == people.len()).then_some(()))
        })
        .await?;
        Ok(people)
    }

    /// A connection to profile as the portal has it for itself: it may edit everybody's.
    ///
    /// # Errors
    /// Identity refuses.
    pub async fn portal_at_profile(&self) -> Result<Channel> {
        let provider = self.suite.provider().await?;
        let tokens = provider.client_token(&self.suite.keys, "portal", Service::Profile.audience()).await?;
        Bearer::new(&tokens.access_token)?.channel(self.suite, Service::Profile)
    }
}

async fn permit(channel: &Channel, address: &str) -> Result<String> {
    let external_id = ExternalId { r#type: "email".to_owned(), value: address.to_owned() };
    let request = FindProfileRequest { external_id: Some(external_id) };
    let found = ProfileServiceClient::new(channel.clone()).find_profile(request).await?.into_inner();
    let profile_id = found.profile.context("no profile in the answer")?.profile_id;
    let answer = |purpose: &str| ConsentAnswer {
        purpose: purpose.to_owned(),
        status: "given".to_owned(),
        notice_version: notices::VERSION,
        notice_language: "en".to_owned(),
        ..ConsentAnswer::default()
    };
    let request = RecordConsentsRequest {
        profile_id: profile_id.clone(),
        request_id: domain::new_id().to_string(),
        answers: PURPOSES.map(answer).into(),
        method: "consents page".to_owned(),
    };
    let recorded = ConsentServiceClient::new(channel.clone()).record_consents(request).await?.into_inner();
    ensure!(recorded.records.len() == PURPOSES.len(), "{} consents are recorded", recorded.records.len());
    Ok(profile_id)
}
