//! Search, and documents in pieces.

use std::pin::Pin;

use futures::Stream;
use proto::results::v1::{
    self as wire, GetDocumentRequest, GetDocumentResponse, SearchDocumentsRequest, SearchDocumentsResponse,
};
use tonic::Status;

use super::parse;
use crate::{
    Error,
    app::App,
    entitlement::Representation,
    events::{document_key, status, timestamp},
    search::Version,
};

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

/// Pieces of a document.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<GetDocumentResponse, Status>> + Send>>;

/// A page of what a search finds.
pub async fn search(
    app: &App,
    client_id: &str,
    request: SearchDocumentsRequest,
) -> Result<SearchDocumentsResponse, Error> {
    let search = parse::search("search", &request.search.unwrap_or_default())?;
    let limit = parse::page_size("page_size", request.page_size)?;
    let after = match request.page_token.as_str() {
        "" => 0,
        token => chassis::parse("page_token", parse::bounded("page_token", token)?)?,
    };
    let rights = app.rights(Some(client_id)).await?;
    let rights = [rights.clone(), rights.in_representation(Representation::Odf)];
    let page = app.search(&rights, &search, after, limit).await?;
    Ok(SearchDocumentsResponse {
        documents: page.versions.iter().map(found).collect(),
        next_page_token: page.next.map(|seq| seq.to_string()).unwrap_or_default(),
    })
}

/// A document in pieces; the first one names it.
pub async fn pieces(app: &App, client_id: &str, request: &GetDocumentRequest) -> Result<Pieces, Error> {
    let wrong = |field, rule| Error::from(chassis::FieldViolation::new(field, rule));
    if request.handle < 1 {
        return Err(wrong("handle", "must be the short name of a document"));
    }
    if request.seq < 0 {
        return Err(wrong("seq", "must be 0 or more"));
    }
    let representation = match wire::DocumentRepresentation::try_from(request.representation) {
        Ok(wire::DocumentRepresentation::Unspecified | wire::DocumentRepresentation::Raw) => {
            Representation::Odf
        }
        Ok(wire::DocumentRepresentation::Canonical) => Representation::Json,
        Err(_) => return Err(wrong("representation", "must be RAW or CANONICAL")),
    };
    let rights = app.rights(Some(client_id)).await?;
    let seq = Some(request.seq).filter(|seq| *seq > 0);
    let mut body = match parse::bounded("as_of", &request.as_of)? {
        "" => app.get_body(&rights, request.handle, seq, representation).await?,
        _ if seq.is_some() => return Err(wrong("as_of", "must be empty where seq names the version")),
        as_of => {
            let as_of = chassis::parse("as_of", as_of)?;
            app.get_past_body(client_id, request.handle, as_of, representation).await?
        }
    };
    let mut document = Some(found(&body.version));
    let pieces = std::iter::from_fn(move || {
        if body.bytes.is_empty() && document.is_none() {
            return None;
        }
        let piece = body.bytes.split_to(body.bytes.len().min(PIECE));
        Some(Ok(GetDocumentResponse { document: document.take(), piece: piece.to_vec() }))
    });
    Ok(Box::pin(futures::stream::iter(pieces)))
}

fn found(version: &Version) -> wire::FoundDocument {
    wire::FoundDocument {
        handle: version.handle,
        key: Some(document_key(&version.key)),
        version: version.version,
        result_status: status(version.status),
        seq: version.seq,
        invalidation: version.is_invalidation,
        logical_date: version.logical_date.map(|day| day.to_string()).unwrap_or_default(),
        received_at: Some(timestamp(version.received_at)),
        bytes: u64::try_from(version.bytes).unwrap_or(u64::MAX),
    }
}
