use std::io::{self, Write};

use axum::{
    body::Body,
    extract::{Query as Pairs, State},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use chassis::FieldViolation;
use tokio::{runtime::Handle, sync::mpsc};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{Failure, NO_SNIFF, Web, feed};
use crate::{
    Error,
    app::App,
    document_type::FeedFlag,
    search::{self, Search, Version},
};

/// Pieces of an archive that wait for its reader.
const AHEAD: usize = 4;
/// Bytes of a piece.
const PIECE: usize = 64 << 10;
/// Most values of one parameter.
const MOST_VALUES: usize = 64;

/// `GET /results/v1/documents?prefix=&type=&language=&first_day=&last_day=&received_from=&received_before=&version=&newest=&flag=`:
/// what `FeedService.SearchDocuments` finds, as a zip of the original bytes. At most 2,000 documents and 256 MiB; a token is needed.
pub async fn archive(
    State(web): State<Web>,
    Pairs(pairs): Pairs<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let client_id = feed::reader(&web, &headers).await?.ok_or(Error::NoToken)?;
    let search = parse(pairs)?;
    let place = web.app.begin_archive()?;
    let rights = web.app.rights(Some(&client_id)).await?;
    let versions = web.app.list_archive(rights, &search).await?;
    let (pieces, mut written) = mpsc::channel(AHEAD);
    let (app, runtime) = (web.app.clone(), Handle::current());
    tokio::task::spawn_blocking(move || {
        let _place = place;
        let mut out = Pieces { pieces: pieces.clone(), held: BytesMut::new() };
        if let Err(error) = write(&app, &runtime, &search, &versions, &mut out) {
            // The reader's file lacks its end, which every program for archives notices.
            tracing::info!(%error, "archive not finished");
            let _ = pieces.blocking_send(Err(error));
        }
    });
    let body = async_stream::stream! {
        while let Some(piece) = written.recv().await {
            yield piece;
        }
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"documents.zip\"")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        NO_SNIFF,
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn write(
    app: &App,
    runtime: &Handle,
    search: &Search,
    versions: &[Version],
    out: &mut Pieces,
) -> io::Result<()> {
    let mut archive = ZipWriter::new_stream(&mut *out);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for version in versions {
        let raw = runtime.block_on(app.raw_of(search, version)).map_err(io::Error::other)?;
        // Of a day that was dropped since the search.
        let Some(raw) = raw else { continue };
        archive.start_file(version.file_name(), options).map_err(io::Error::other)?;
        archive.write_all(&raw)?;
    }
    archive.finish().map_err(io::Error::other)?;
    out.flush()
}

/// Where the archive is written to: a reader that is slow holds the writing up.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    held: BytesMut,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(self.held.split().freeze())).map_err(gone)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if self.held.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

fn parse(pairs: Vec<(String, String)>) -> Result<Search, Error> {
    let mut search = Search::of(FeedFlag::Production);
    let mut wrong = Vec::new();
    for (name, value) in pairs {
        if let Err(violation) = take(&mut search, &name, &value) {
            wrong.push(violation);
        }
    }
    if wrong.is_empty() { Ok(search) } else { Err(Error::Invalid(wrong)) }
}

fn take(search: &mut Search, name: &str, value: &str) -> Result<(), FieldViolation> {
    let many = search.prefixes.len().max(search.types.len()).max(search.languages.len());
    if many > MOST_VALUES {
        return Err(FieldViolation::new(name, "must come at most 64 times"));
    }
    match name {
        "prefix" => search.prefixes.push(chassis::parse(name, value)?),
        "type" => search.types.push(chassis::parse(name, value)?),
        "language" => {
            let language = search::language(value);
            search.languages.push(language.map_err(|error| FieldViolation::new(name, error.to_string()))?);
        }
        "first_day" => search.first_day = Some(chassis::parse(name, value)?),
        "last_day" => search.last_day = Some(chassis::parse(name, value)?),
        "received_from" => search.received_from = Some(chassis::parse(name, value)?),
        "received_before" => search.received_before = Some(chassis::parse(name, value)?),
        "version" => search.version = Some(chassis::parse(name, value)?),
        "newest" => search.newest_only = chassis::parse(name, value)?,
        "flag" => search.feed_flag = chassis::parse(name, value)?,
        // A search that passed over what it does not know would find too much.
        _ => return Err(FieldViolation::new("query", "must have the parameters of a search only")),
    }
    Ok(())
}
