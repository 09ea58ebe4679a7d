//! One question of each service, asked as services ask each other: [`chassis::Peer`], a token, a deadline.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use chassis::Peer;
use domain::Service;
use e2e::{Staff, Suite};
use http::Uri;
use proto::{
    crmsync::v1::{ListDestinationsRequest, destination_service_client::DestinationServiceClient},
    identity::v1::{ListStaffGrantsRequest, staff_service_client::StaffServiceClient},
    mailer::v1::{ListSuppressionsRequest, suppression_service_client::SuppressionServiceClient},
    profile::v1::{ListNoticesRequest, consent_service_client::ConsentServiceClient},
    results::v1::{ListMedalStandingsRequest, result_service_client::ResultServiceClient},
    segmentation::v1::{ListSegmentsRequest, segment_service_client::SegmentServiceClient},
};
use tokio::time::timeout;
use tonic::{Request, Status};

use crate::load::Outcome;

/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// For each service, the token of somebody who may ask: a client of the suite, or staff, who sign up first.
pub async fn tokens(suite: &Suite, services: &[Service]) -> Result<BTreeMap<Service, String>> {
    let mut tokens = BTreeMap::new();
    let provider = suite.provider().await?;
    for (service, client) in [
        (Service::Profile, "segmentation"),
        (Service::Segmentation, "mailer"),
        (Service::ResultsFeed, "portal"),
    ] {
        if services.contains(&service) {
            let token = provider.client_token(&suite.keys, client, service.audience()).await?;
            tokens.insert(service, token.access_token);
        }
    }
    let staff: [(&str, &[&str], &[Service]); 2] = [
        ("daniel@staff.example", &["identity.admin", "crmsync.read"], &[Service::Identity, Service::CrmSync]),
        ("chie@staff.example", &["mailer.admin"], &[Service::Mailer]),
    ];
    for (address, scopes, allowed) in staff {
        let asked: Vec<Service> =
            allowed.iter().copied().filter(|service| services.contains(service)).collect();
        if !asked.is_empty() {
            let person = Staff::sign_up(suite, address, scopes).await;
            let token = person.with_context(|| format!("{address} signs up"))?.access_token()?.to_owned();
            tokens.extend(asked.into_iter().map(|service| (service, token.clone())));
        }
    }
    Ok(tokens)
}

/// All replicas of a service, behind the channel that services have.
pub fn peer(addresses: &[String], token: &str) -> Result<Peer> {
    let uris: Vec<Uri> = addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>()?;
    Ok(Peer::fixed_replicas(uris, Some(token.to_owned())))
}

/// Asks, and says how it failed if it did.
pub async fn ask(service: Service, peer: Peer) -> Outcome {
    match timeout(DEADLINE, answer(service, peer)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(status)) => Err(told(&status)),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// A status in a line, with what lies under it.
pub fn told(status: &Status) -> String {
    let mut text = format!("{:?}, {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn answer(service: Service, peer: Peer) -> Result<(), Status> {
    match service {
        Service::Identity => {
            let request = timed(ListStaffGrantsRequest::default());
            StaffServiceClient::new(peer).list_staff_grants(request).await.map(drop)
        }
        Service::Profile => {
            let request = timed(ListNoticesRequest::default());
            ConsentServiceClient::new(peer).list_notices(request).await.map(drop)
        }
        Service::Segmentation => {
            let request = timed(ListSegmentsRequest::default());
            SegmentServiceClient::new(peer).list_segments(request).await.map(drop)
        }
        Service::Mailer => {
            let request = timed(ListSuppressionsRequest { profile_id: domain::new_id().to_string() });
            SuppressionServiceClient::new(peer).list_suppressions(request).await.map(drop)
        }
        Service::CrmSync => {
            let request = timed(ListDestinationsRequest::default());
            DestinationServiceClient::new(peer).list_destinations(request).await.map(drop)
        }
        Service::ResultsFeed => {
            let request = timed(ListMedalStandingsRequest::default());
            ResultServiceClient::new(peer).list_medal_standings(request).await.map(drop)
        }
        Service::Portal | Service::AllInOne => Err(Status::unimplemented("no such question")),
    }
}

fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}
