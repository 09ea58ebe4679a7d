use axum::{
    extract::{Query as Pairs, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::{BufMut, BytesMut};

use super::{Failure, NO_SNIFF, Web, feed::reader, query::Query};
use crate::fanout::{Mode, Subscription};

/// Entries looked at for a page, unless `limit` says otherwise.
const PAGE: i64 = 100;

/// `GET /results/v1/changes`: a page of the log behind a cursor, every version, as JSON. Each frame has its cursor as on a
/// WebSocket.
pub async fn list(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let query = Query::parse(pairs)?;
    let client_id = reader(&web, &headers).await?;
    let asked = Subscription {
        stream: query.stream(),
        filter: query.filter(),
        representation: query.representation,
        cursor: query.cursor,
        mode: Mode::Every,
        client_id,
        expires_at: None,
    };
    let changes = web.app.list_changes(&asked, query.limit.unwrap_or(PAGE)).await?;
    let mut json = BytesMut::from(&br#"{"frames":["#[..]);
    let mut is_first = true;
    for sent in &changes.frames {
        sent.messages(|message| {
            if !std::mem::take(&mut is_first) {
                json.put_u8(b',');
            }
            json.put(message);
        });
    }
    json.put(format!(r#"],"cursor":"{}","more":{}}}"#, changes.cursor, changes.more).as_bytes());
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([kind, NO_SNIFF], json.freeze()).into_response())
}
