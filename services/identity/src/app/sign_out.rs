//! Every way in which a session ends: its user signs out, somebody ends it from elsewhere, its time is over. One path:
//! the session, the tokens bound to it, the fact, the audit and the ledger of clients to be told, in one transaction.

use std::collections::HashMap;

use domain::{Service, SessionId, UserId, Uuid};
use sqlx::PgTransaction;

use super::{App, authorize::HintClaims};
use crate::{
    authorization,
    client::Client,
    error::Error,
    events,
    logout_delivery::LogoutDelivery,
    params::Params,
    revocation::Revoked,
    session::{self, Cause, Session},
    store::{self, record::AuditRecord, session::Ended},
    subject,
};

/// A request to sign out (OIDC RP-Initiated Logout 1.0, section 2).
#[derive(Clone, Default)]
pub struct LogoutRequest {
    id_token_hint: Option<String>,
    client_id: Option<String>,
    post_logout_redirect_uri: Option<String>,
    state: Option<String>,
    confirmed: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignedOut {
    /// Nothing yet: the user is asked first, since no token shows that the request comes from a client of this session.
    Ask,
    /// No session is left in this browser. The browser goes to this URL, or to our own page without one.
    Done(Option<String>),
}

/// Longest `state`, in bytes.
const LONGEST_STATE: usize = 2_048;

impl LogoutRequest {
    /// Reads the parameters. What cannot be used counts as absent: it leads to our own page, never to an error elsewhere.
    pub fn parse(params: &Params) -> Self {
        if params.has_repeated() {
            return Self::default();
        }
        let get = |name| params.get(name).map(str::to_owned);
        Self {
            id_token_hint: get("id_token_hint"),
            client_id: get("client_id"),
            post_logout_redirect_uri: get("post_logout_redirect_uri"),
            state: get("state").filter(|state| state.len() <= LONGEST_STATE),
            confirmed: false,
        }
    }

    /// The same after its user agreed on our own page.
    #[must_use]
    pub fn confirmed(mut self) -> Self {
        self.confirmed = true;
        self
    }
}

impl App {
    /// Signs the browser's user out, at once when the ID token is this session's and after a question otherwise.
    ///
    /// # Errors
    /// The database.
    pub async fn sign_out(
        &self,
        request: LogoutRequest,
        session: Option<&Session>,
    ) -> Result<SignedOut, Error> {
        let hinted = self.hinted_client(&request).await?;
        if let Some(session) = session {
            let own = match &hinted {
                Some((client, hint)) => self.is_of_session(client, hint, session)?,
                None => false,
            };
            if !own && !request.confirmed {
                return Ok(SignedOut::Ask);
            }
            self.end_session(session.session_id, Cause::Logout).await?;
        }
        // Only a client that shows one of its ID tokens may send the browser on (section 3).
        let target = match (&hinted, &request.post_logout_redirect_uri) {
            (Some((client, _)), Some(uri)) if client.has_post_logout_redirect_uri(uri) => Some(uri),
            _ => None,
        };
        let state = request.state.as_deref().map(|state| ("state", state));
        Ok(SignedOut::Done(target.map(|uri| match state {
            Some(pair) => authorization::with_query(uri, &[pair]),
            None => uri.clone(),
        })))
    }

    /// Ends one session, whoever asks; a session that has ended stays as it is.
    ///
    /// # Errors
    /// The database.
    pub async fn end_session(&self, session_id: SessionId, cause: Cause) -> Result<(), Error> {
        let mut tx = chassis::begin(&self.db).await?;
        self.end_within(&mut tx, &[session_id.into()], cause).await?;
        tx.commit().await?;
        self.revocations.note([Revoked::Session(session_id)]);
        self.nudges.logout.notify_one();
        Ok(())
    }

    /// Ends sessions as part of a transaction. Nudge `logout` after the commit.
    pub(super) async fn end_within(
        &self,
        tx: &mut PgTransaction<'_>,
        session_ids: &[Uuid],
        cause: Cause,
    ) -> Result<(), Error> {
        let now = self.now();
        let ended = store::session::end(tx, session_ids, cause, now).await?;
        let mut clients: HashMap<String, Option<Client>> = HashMap::new();
        let mut previous = None;
        for row in &ended {
            // Rows of one session stand together, one for each client to be told.
            if previous.replace(row.session_id) != Some(row.session_id) {
                self.note_end(tx, row.session_id, row.user_id, cause).await?;
            }
            let Some(client_id) = &row.client_id else { continue };
            if !clients.contains_key(client_id) {
                let client = self.client_within(tx, client_id).await?;
                clients.insert(client_id.clone(), client);
            }
            let Some(Some(client)) = clients.get(client_id) else { continue };
            let delivery = self.delivery(row, client)?;
            store::delivery::insert(tx, &delivery, cause).await?;
        }
        Ok(())
    }

    /// Ends sessions that were idle for too long or have got too old; how many. At most 200 at a time.
    pub(super) async fn end_overdue(&self) -> Result<usize, Error> {
        let now = self.now();
        let mut tx = chassis::begin(&self.db).await?;
        let overdue = store::session::overdue(&mut *tx, now - session::IDLE, now).await?;
        if !overdue.is_empty() {
            self.end_within(&mut tx, &overdue, Cause::Expiry).await?;
        }
        tx.commit().await?;
        Ok(overdue.len())
    }

    async fn note_end(
        &self,
        tx: &mut PgTransaction<'_>,
        session_id: SessionId,
        user_id: UserId,
        cause: Cause,
    ) -> Result<(), Error> {
        let fact = events::session_ended(session_id, user_id, cause, self.now());
        outbox::append(tx, Service::Identity, &fact).await?;
        let record = AuditRecord {
            // Who ended it from elsewhere stands in the record of that action.
            actor: if cause == Cause::Logout { user_id.to_string() } else { "system".to_owned() },
            action: "end_session",
            subject: session_id.to_string(),
            outcome: cause.name(),
            ..AuditRecord::default()
        };
        store::record::insert(&mut **tx, &record, self.now()).await?;
        tracing::info!(%user_id, %session_id, cause = cause.name(), "session ended");
        Ok(())
    }

    fn delivery(&self, ended: &Ended, client: &Client) -> Result<LogoutDelivery, Error> {
        Ok(LogoutDelivery {
            delivery_id: domain::new_id(),
            session_id: ended.session_id,
            user_id: ended.user_id,
            client_id: client.client_id.clone(),
            sid: subject::session_subject(self.keys(), client, ended.session_id)?,
            attempts: 0,
            since: self.now(),
        })
    }

    // The client to which we gave this ID token; its age does not matter (section 2).
    async fn hinted_client(&self, request: &LogoutRequest) -> Result<Option<(Client, HintClaims)>, Error> {
        let Some(hint) = &request.id_token_hint else { return Ok(None) };
        let Some(claims) = self.read_token::<HintClaims>("JWT", hint)? else { return Ok(None) };
        let named = request.client_id.as_ref().is_none_or(|client_id| *client_id == claims.aud);
        if claims.iss != self.issuer() || !named {
            return Ok(None);
        }
        Ok(self.client(&claims.aud).await?.map(|client| (client, claims)))
    }

    fn is_of_session(&self, client: &Client, hint: &HintClaims, session: &Session) -> Result<bool, Error> {
        let sid = subject::session_subject(self.keys(), client, session.session_id)?;
        let sub = subject::subject(self.keys(), client, session.user_id)?;
        Ok(hint.sid.as_deref() == Some(sid.as_str()) && hint.sub == sub)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_a_repeated_parameter_says_nothing() {
        let params = Params::parse(b"id_token_hint=a&id_token_hint=b&post_logout_redirect_uri=c").unwrap();
        let request = LogoutRequest::parse(&params);
        assert!(request.id_token_hint.is_none() && request.post_logout_redirect_uri.is_none());
    }

    #[test]
    fn a_request_is_not_confirmed_by_a_parameter() {
        let params = Params::parse(b"confirmed=true&confirm=1").unwrap();
        assert!(!LogoutRequest::parse(&params).confirmed);
        assert!(LogoutRequest::parse(&params).confirmed().confirmed);
    }
}
