use domain::{DateTime, Utc};
use proto::identity::v1::{
    self as wire, ListAuditRecordsRequest, ListAuditRecordsResponse, VerifyAuditSealsRequest,
    VerifyAuditSealsResponse, audit_service_server::AuditService,
};
use tonic::{Request, Response, Status};

use super::parse::{self, Violations};
use crate::{
    app::{App, AuditChoice, AuditRow},
    error::Error,
    events,
};

/// `kotinos.identity.v1.AuditService`
#[derive(Clone)]
pub struct Audit {
    app: App,
}

impl Audit {
    /// Over the use cases.
    pub const fn new(app: App) -> Self {
        Self { app }
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_records(
        &self,
        request: Request<ListAuditRecordsRequest>,
    ) -> Result<Response<ListAuditRecordsResponse>, Status> {
        let request = request.into_inner();
        let size = parse::page_size(request.page_size);
        let choice = choice(request).map_err(chassis::status)?;
        let rows = self.app.list_audit_records(&choice, size).await.map_err(chassis::status)?;
        let next_page_token = parse::next_page(&rows, size, |row| row.audit_id.to_string());
        let records = rows.into_iter().map(record).collect();
        Ok(Response::new(ListAuditRecordsResponse { records, next_page_token }))
    }

    async fn verify_audit_seals(
        &self,
        request: Request<VerifyAuditSealsRequest>,
    ) -> Result<Response<VerifyAuditSealsResponse>, Status> {
        let request = request.into_inner();
        let mut wrong = Violations::default();
        if request.from_seal_no < 0 {
            wrong.add("from_seal_no", "must be 0 or more");
        }
        let since = wrong.time("since", request.since);
        wrong.done(Some(())).map_err(chassis::status)?;
        let check =
            self.app.verify_audit_seals(request.from_seal_no, since).await.map_err(chassis::status)?;
        let fault = |fault: crate::app::Fault| wire::AuditFault {
            seal_no: fault.seal_no,
            what: fault.what.to_owned(),
        };
        let (last_seal_no, last_mac) = check.last.map(|last| (last.seal_no, last.mac)).unwrap_or_default();
        Ok(Response::new(VerifyAuditSealsResponse {
            seals: check.seals,
            records: check.records,
            faults: check.faults.into_iter().map(fault).collect(),
            last_seal_no,
            last_mac,
            next_seal_no: check.next.unwrap_or_default(),
        }))
    }
}

fn choice(request: ListAuditRecordsRequest) -> Result<AuditChoice, Error> {
    let mut wrong = Violations::default();
    let after = match request.page_token.as_str() {
        "" => None,
        token => wrong.parse("page_token", token),
    };
    let mut text = |field: &str, text: String| {
        if text.len() > LONGEST {
            wrong.add(field, "must be at most 200 bytes");
        }
        (!text.is_empty()).then_some(text)
    };
    let (actor, action) = (text("actor", request.actor), text("action", request.action));
    let subject = text("subject", request.subject);
    let (from, to): (Option<DateTime<Utc>>, _) =
        (wrong.time("from", request.from), wrong.time("to", request.to));
    wrong.done(Some(AuditChoice { actor, action, subject, from, to, after }))
}

const LONGEST: usize = 200;

fn record(row: AuditRow) -> wire::AuditRecord {
    wire::AuditRecord {
        audit_id: row.audit_id.to_string(),
        at: Some(events::timestamp(row.at)),
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        client_id: row.client_id,
        outcome: row.outcome,
        detail: row.detail.to_string(),
    }
}
