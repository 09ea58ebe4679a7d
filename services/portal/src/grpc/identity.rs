use chassis::Peer;
use domain::UserId;
use proto::identity::v1::{
    self as wire, EndSessionRequest, ListSessionsRequest, session_service_client::SessionServiceClient,
};

use crate::Error;

/// A browser session at identity, as the account page lists it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Session {
    /// Its id at identity.
    pub session_id: String,
    /// When the fan signed in, in seconds since 1970.
    pub authenticated_at: i64,
    /// When it was last used, in seconds since 1970.
    pub seen_at: i64,
    /// Sites that the session is used at.
    pub sites: Vec<String>,
}

/// The fan's sessions.
pub async fn sessions(peer: Peer, user_id: UserId) -> Result<Vec<Session>, Error> {
    let request = ListSessionsRequest { user_id: user_id.to_string() };
    let answer = SessionServiceClient::new(peer).list_sessions(request).await?;
    let session = |session: wire::Session| Session {
        session_id: session.session_id,
        authenticated_at: session.authenticated_at.map_or(0, |at| at.seconds),
        seen_at: session.seen_at.map_or(0, |at| at.seconds),
        sites: session.client_ids,
    };
    Ok(answer.into_inner().sessions.into_iter().map(session).collect())
}

/// Ends one of the fan's sessions.
pub async fn end_session(peer: Peer, user_id: UserId, session_id: &str) -> Result<(), Error> {
    let request = EndSessionRequest { user_id: user_id.to_string(), session_id: session_id.to_owned() };
    SessionServiceClient::new(peer).end_session(request).await?;
    Ok(())
}
