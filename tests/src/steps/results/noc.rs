//! A NOC has the official documents sent to its server.

use anyhow::{Context, Result};
use domain::Service;
use proto::results::v1::{
    CreateDeliveryTargetRequest, DeliveryFilter, DeliveryMode, EntitlementRule, GetEntitlementsRequest,
    UpdateEntitlementsRequest, access_service_client::AccessServiceClient,
    delivery_service_client::DeliveryServiceClient,
};

use crate::{
    Race, Walk,
    partner::{self, CLIENT_ID},
};

/// What the NOC wants: what is official, and when it is protested against.
const STATUSES: [&str; 2] = ["OFFICIAL", "PROTESTED"];

/// Daniel allows originals of results and medallists; then the server is named, before anything of the race is told.
pub async fn register(walk: &Walk<'_>) -> Result<()> {
    let mut access = AccessServiceClient::new(walk.daniel.channel(walk.suite, Service::ResultsFeed)?);
    let get = GetEntitlementsRequest { client_id: CLIENT_ID.to_owned() };
    let held = access.get_entitlements(get).await?.into_inner().entitlement;
    let originals = EntitlementRule {
        prefix: "ATH".to_owned(),
        types: ["DT_RESULT", "DT_MEDALLISTS"].map(str::to_owned).to_vec(),
        representations: vec!["odf".to_owned()],
        ..EntitlementRule::default()
    };
    let request = UpdateEntitlementsRequest {
        client_id: CLIENT_ID.to_owned(),
        expected_version: held.context("no entitlement in the answer")?.version,
        rules: vec![originals],
    };
    access.update_entitlements(request).await?;
    let mut deliveries = DeliveryServiceClient::new(partner::channel(walk.suite).await?);
    let filter =
        DeliveryFilter { statuses: STATUSES.map(str::to_owned).to_vec(), ..DeliveryFilter::default() };
    let request = CreateDeliveryTargetRequest {
        name: "NOC".to_owned(),
        url: walk.suite.noc.url(),
        api_key: walk.suite.noc.key().to_owned(),
        filter: Some(filter),
        mode: DeliveryMode::Every.into(),
    };
    deliveries.create_delivery_target(request).await.context("the NOC's server is not taken")?;
    Ok(())
}

/// Everything that the NOC wants was posted to it.
pub async fn has_everything(walk: &Walk<'_>, race: &Race) -> Result<String> {
    let wanted = race.told_as(&STATUSES);
    walk.suite.noc.has_each_of(&wanted).await?;
    let documents: Vec<String> = wanted
        .iter()
        .map(|one| format!("{} v{} {}", one.document_type, one.version, one.result_status))
        .collect();
    Ok(format!(
        "NOC's server: {} as they were sent, in {} POSTs",
        documents.join(", "),
        walk.suite.noc.taken()
    ))
}
