use anyhow::{Result, bail};
use domain::Service;
use e2e::{Bearer, Channel, Suite};
use proto::{
    crmsync::v1::{ListDestinationsRequest, destination_service_client::DestinationServiceClient},
    profile::v1::{ListNoticesRequest, consent_service_client::ConsentServiceClient},
    results::v1::{ListMedalStandingsRequest, result_service_client::ResultServiceClient},
    segmentation::v1::{ListSegmentsRequest, segment_service_client::SegmentServiceClient},
};
use tonic::{Code, Status, transport};

use crate::caller::Caller;

/// What anybody, or a client of the suite, may ask of a service again and again.
#[derive(Debug, Clone)]
pub enum Question {
    /// A page, which is there.
    Page(reqwest::Client, String),
    /// The notices that profile has.
    Notices(ConsentServiceClient<Channel>),
    /// The segments there are.
    Segments(SegmentServiceClient<Channel>),
    /// The medals so far.
    Medals(ResultServiceClient<Channel>),
    /// Where crm-sync sends to: without a token, so it is refused.
    Destinations(DestinationServiceClient<transport::Channel>),
}

impl Question {
    pub async fn of(suite: &Suite, service: Service) -> Result<Self> {
        let page = |path: &str| -> Result<Self> {
            let http = reqwest::Client::builder().no_proxy().build()?;
            Ok(Self::Page(http, format!("http://{}{path}", suite.addresses.listeners(service).http())))
        };
        match service {
            Service::Identity => page("/.well-known/openid-configuration"),
            Service::Portal => page("/portal"),
            // Whatever the token is, a pixel comes.
            Service::Mailer => page("/o/pixel.gif"),
            Service::Profile => {
                Ok(Self::Notices(ConsentServiceClient::new(channel(suite, "segmentation", service).await?)))
            }
            Service::Segmentation => {
                Ok(Self::Segments(SegmentServiceClient::new(channel(suite, "mailer", service).await?)))
            }
            Service::ResultsFeed => {
                Ok(Self::Medals(ResultServiceClient::new(channel(suite, "portal", service).await?)))
            }
            Service::CrmSync => {
                let endpoint = transport::Endpoint::from_shared(suite.addresses.grpc_url(service))?;
                Ok(Self::Destinations(DestinationServiceClient::new(endpoint.connect_lazy())))
            }
            Service::AllInOne => bail!("all in one answers for others"),
        }
    }

    /// Asks it; whether the answer came that is expected.
    pub async fn ask(&self, caller: &Caller) -> bool {
        match self {
            Self::Page(http, url) => {
                let answer = http.get(url).header("traceparent", caller.traceparent()).send().await;
                let Ok(answer) = answer else { return false };
                // Whole: a request's span ends with its body.
                answer.status().is_success() && answer.bytes().await.is_ok()
            }
            Self::Notices(client) => {
                let request = caller.request(ListNoticesRequest::default());
                client.clone().list_notices(request).await.is_ok()
            }
            Self::Segments(client) => {
                let request = caller.request(ListSegmentsRequest::default());
                client.clone().list_segments(request).await.is_ok()
            }
            Self::Medals(client) => {
                let request = caller.request(ListMedalStandingsRequest::default());
                client.clone().list_medal_standings(request).await.is_ok()
            }
            Self::Destinations(client) => {
                let request = caller.request(ListDestinationsRequest::default());
                let answer = client.clone().list_destinations(request).await;
                answer.is_err_and(|status: Status| status.code() == Code::Unauthenticated)
            }
        }
    }
}

/// A connection in the name of one of the suite's own clients.
pub async fn channel(suite: &Suite, client: &str, service: Service) -> Result<Channel> {
    let provider = suite.provider().await?;
    let tokens = provider.client_token(&suite.keys, client, service.audience()).await?;
    Bearer::new(&tokens.access_token)?.channel(suite, service)
}
