//! Documents of clocks and days, and rules by types.

use proto::results::v1::{
    EntitlementRule, UpdateEntitlementsRequest, access_service_client::AccessServiceClient,
};

use crate::world::World;

pub const DAY: &str = "2030-08-04";
pub const VENUE_CODE: &str = "ALP-----------------------JAL-----";
pub const ALL_SPORTS: &str = "GLO-------------------------------";

/// A document of any type whose body is one element.
pub struct Control {
    pub document_type: &'static str,
    pub code: String,
    pub version: u32,
    pub date: &'static str,
    /// `hhmmssfff`
    pub time: String,
    pub body: String,
}

impl Control {
    pub fn new(document_type: &'static str, code: &str, version: u32) -> Self {
        Self {
            document_type,
            code: code.to_owned(),
            version,
            date: DAY,
            time: "090000000".to_owned(),
            body: "<Competition Gen=\"SYN-1\"/>".to_owned(),
        }
    }

    pub fn at(mut self, time: &str) -> Self {
        self.time = time.to_owned();
        self
    }

    pub fn on(mut self, date: &'static str) -> Self {
        self.date = date;
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    pub fn xml(&self) -> String {
        let Self { document_type, code, version, date, time, body, .. } = self;
        format!(
            "<OdfBody CompetitionCode=\"SYN2030\" DocumentCode=\"{code}\" DocumentType=\"{document_type}\" \
             Version=\"{version}\" FeedFlag=\"P\" Date=\"{date}\" Time=\"{time}\" LogicalDate=\"{date}\" \
             Source=\"SYNALP1\">{body}</OdfBody>"
        )
    }
}

impl World {
    /// Sends a control document that must be taken; gives its sequence number.
    pub async fn control(&self, key: &str, control: &Control) -> i64 {
        let told = self.post(key, control.xml()).await;
        assert_eq!((told.status, told.outcome.as_str()), (200, "accepted"), "{told:?}");
        told.seq
    }

    /// Gives `client_id` rules: documents of these types, of every one where none is named.
    pub async fn allow(&self, client_id: &str, expected_version: i64, types: &[&str]) {
        let rule = EntitlementRule {
            types: types.iter().map(|name| (*name).to_owned()).collect(),
            ..EntitlementRule::default()
        };
        let request = UpdateEntitlementsRequest {
            client_id: client_id.to_owned(),
            expected_version,
            rules: vec![rule],
        };
        let mut access = AccessServiceClient::new(self.app.grpc(&["results.admin"]));
        access.update_entitlements(request).await.unwrap();
    }
}
