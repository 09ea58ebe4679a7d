use std::time::Duration;

use chassis::{Component, Grpc, Process, StartError};
use domain::{Service, UserId};
use proto::{
    identity::v1::session_service_server::SessionServiceServer,
    profile::v1::{
        consent_service_server::ConsentServiceServer, profile_service_server::ProfileServiceServer,
    },
    results::v1::{self as results, result_service_server::ResultServiceServer},
};
use testkit::{TestApp, races::FINAL_100M};
use url::Url;

use crate::{browser::Browser, outside::Outside, peers::Peers};

/// How long anything may take.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// Where fans believe to be.
pub const ORIGIN: &str = "https://my.example";
pub const PURPOSES: [&str; 4] = ["committee_newsletter", "ioc_newsletter", "open_tracking", "profiling"];

/// A running portal, the services that it calls, and what it reaches by plain HTTP.
pub struct World {
    pub app: TestApp,
    pub outside: Outside,
    pub peers: Peers,
    pub alice: UserId,
}

impl World {
    pub async fn start() -> Self {
        let (outside, peers) = (Outside::start().await, Peers::default());
        {
            let mut held = peers.held();
            held.locale = "en".to_owned();
            held.email = "alice@example.org".to_owned();
        }
        let (url, fakes) = (outside.url.clone(), peers.clone());
        let app = TestApp::start(Service::Portal, move |process, database_url| async move {
            components(&url, &database_url, fakes, process).await
        })
        .await;
        outside.trust(app.issuer());
        let alice = UserId::new();
        outside.user(alice, "session-1");
        Self { app, outside, peers, alice }
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }

    /// A browser in which Alice is signed in.
    pub async fn alice(&self) -> Browser<'_> {
        let mut browser = self.browser();
        browser.sign_in("/my").await;
        browser
    }

    pub async fn sessions(&self) -> i64 {
        sqlx::query_scalar("select count(*) from portal.web_session").fetch_one(&self.app.pool).await.unwrap()
    }

    /// Publishes every purpose's notice in three languages.
    pub fn publish_notices(&self) {
        for purpose in PURPOSES {
            for (language, text) in [("ja", "説明文"), ("en", "The words"), ("fr", "Le texte")] {
                self.peers.publish(
                    purpose,
                    language,
                    2,
                    &format!("{text} <b>{purpose}</b>\n\nSecond paragraph"),
                );
            }
        }
    }

    /// The 100 m final is on, with a result of two.
    pub fn final_100m(&self) {
        let mut held = self.peers.held();
        held.units = vec![
            unit(FINAL_100M, "Men's 100m Final"),
            unit("JUDM66KG--------------FNL-000100--", "Judo -66 kg"),
        ];
        let row = |code: &str, name: &str, rank: &str, mark: &str| results::ResultRow {
            competitor_code: code.to_owned(),
            name: name.to_owned(),
            noc: "JPN".to_owned(),
            bib: "101".to_owned(),
            start_order: "4".to_owned(),
            rank: rank.to_owned(),
            mark: mark.to_owned(),
            irm: String::new(),
        };
        held.result = Some(results::Result {
            unit: FINAL_100M.to_owned(),
            result_status: "LIVE".to_owned(),
            document_version: 3,
            seq: 12,
            rows: vec![
                row("1930101", "Hayato KITAMORI", "1", "9.79"),
                row("1930138", "Théo <D'ARVILLE>", "2", "9.81"),
            ],
            received_at: Some(prost_types::Timestamp { seconds: 1_912_078_260, nanos: 0 }),
        });
    }
}

fn unit(rsc: &str, name: &str) -> results::EventUnit {
    results::EventUnit {
        unit: rsc.to_owned(),
        discipline: rsc[..3].to_owned(),
        name: name.to_owned(),
        schedule_status: "RUNNING".to_owned(),
        start: Some(prost_types::Timestamp { seconds: 1_912_078_200, nanos: 0 }),
        venue: "STA".to_owned(),
        ..results::EventUnit::default()
    }
}

/// The portal and the services that it calls, in one process.
async fn components(
    outside: &Url,
    database_url: &str,
    peers: Peers,
    process: Process,
) -> Result<Vec<Component>, StartError> {
    let config = portal::Config {
        database_url: database_url.parse().unwrap(),
        public_url: ORIGIN.parse().unwrap(),
        identity_url: Some(outside.clone()),
        results_url: outside.clone(),
        max_feeds: 3,
        time_zone: chrono_tz::Asia::Tokyo,
    };
    let profile = Grpc::new()
        .add(ProfileServiceServer::new(peers.clone()))
        .add(ConsentServiceServer::new(peers.clone()));
    Ok(vec![
        portal::component(config, process).await?,
        Component::new(Service::Profile).grpc(profile),
        Component::new(Service::Identity).grpc(Grpc::new().add(SessionServiceServer::new(peers.clone()))),
        Component::new(Service::ResultsFeed).grpc(Grpc::new().add(ResultServiceServer::new(peers))),
    ])
}
