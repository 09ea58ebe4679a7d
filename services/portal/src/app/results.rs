use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use domain::{Service, SportCode, UserId};
use futures::{Stream, StreamExt, stream};
use reqwest::{
    Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use tokio::time::timeout;

use super::App;
use crate::{
    Error,
    grpc::results::{self, Standing, Unit},
};

/// How long results-feed may take to begin its answer.
const CONNECT: Duration = Duration::from_secs(5);
/// Heartbeats come each 5 s: a feed that is silent for longer has died, and the browser opens it anew.
const SILENCE: Duration = Duration::from_secs(20);
/// Length of an RSC in characters (ODF Foundation Principles 10.3).
const RSC: usize = 34;
/// Longest `Last-Event-ID` that is handed on.
const LONGEST_CURSOR: usize = 200;

/// One unit with its result.
#[derive(Debug, Clone)]
pub struct UnitPage {
    /// The unit.
    pub unit: Unit,
    /// Its result as it stands; none before the first document.
    pub standing: Option<Standing>,
}

impl App {
    /// Units of the fan's favourite sports; of every sport where none is chosen.
    pub async fn favourite_units(&self, favourites: &[String]) -> Result<Vec<Unit>, Error> {
        let prefixes = favourites.iter().filter(|code| code.parse::<SportCode>().is_ok()).cloned().collect();
        results::units(self.process.peer(Service::ResultsFeed), prefixes).await
    }

    /// One unit.
    pub async fn unit(&self, rsc: &str) -> Result<UnitPage, Error> {
        check(rsc)?;
        let peer = self.process.peer(Service::ResultsFeed);
        let unit = results::unit(peer.clone(), rsc).await?;
        let standing = results::standing(peer, rsc).await?;
        match (unit, standing) {
            (None, None) => Err(Error::NotFound),
            // A result may come before its schedule.
            (None, standing) => Ok(UnitPage { unit: Unit::unscheduled(rsc), standing }),
            (Some(unit), standing) => Ok(UnitPage { unit, standing }),
        }
    }

    /// Opens results-feed's live feed of units, and of the schedules of sports, under the portal's own token, and hands its bytes on until either side ends it,
    /// it falls silent, or the process goes down. The browser comes back with the last id that it was given.
    pub async fn open_feed(
        &self,
        user_id: UserId,
        sports: &[String],
        units: &[String],
        last_event_id: Option<&str>,
    ) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>, Error> {
        let prefixes = prefixes(sports, units)?;
        let place = self.places.take(user_id)?;
        let answer = self.ask_for_feed(&prefixes, last_event_id).await?;
        let chunks = stream::unfold((answer, place), |(mut answer, place)| async move {
            match timeout(SILENCE, answer.chunk()).await {
                Ok(Ok(Some(chunk))) => Some((Ok(chunk), (answer, place))),
                Ok(Ok(None)) => None,
                Ok(Err(error)) => {
                    tracing::info!(error = &error as &dyn std::error::Error, "live feed broke off");
                    None
                }
                Err(_) => {
                    tracing::warn!("live feed fell silent");
                    None
                }
            }
        });
        Ok(chunks.take_until(self.feeds_end.clone().cancelled_owned()))
    }

    /// Ends every live feed: the process goes down, and browsers go on elsewhere.
    pub fn end_feeds(&self) {
        self.feeds_end.cancel();
    }

    async fn ask_for_feed(
        &self,
        prefixes: &[String],
        last_event_id: Option<&str>,
    ) -> Result<Response, Error> {
        let mut url = self.results_url.join("/results/v1/feed").map_err(|_| Error::NotFound)?;
        url.query_pairs_mut().extend_pairs(prefixes.iter().map(|prefix| ("prefix", prefix)));
        let token = self.process.access_token(Service::ResultsFeed).await?;
        let mut request = self
            .process
            .stream_client()
            .get(url)
            .header(ACCEPT, "text/event-stream")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        if let Some(id) = last_event_id.filter(|id| id.len() <= LONGEST_CURSOR) {
            request = request.header("last-event-id", id);
        }
        let answer = timeout(CONNECT, request.send()).await.map_err(|elapsed| Error::Feed(elapsed.into()))?;
        let answer = answer.map_err(|error| Error::Feed(error.into()))?;
        match answer.status() {
            StatusCode::OK => Ok(answer),
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Err(Error::NotFound),
            status => Err(Error::Feed(format!("status {status}").into())),
        }
    }
}

// A sport's schedule has the code of its discipline, filled up; nothing to filter by would be everything.
fn prefixes(sports: &[String], units: &[String]) -> Result<Vec<String>, Error> {
    if sports.is_empty() && units.is_empty() {
        return Err(Error::NotFound);
    }
    let mut prefixes = Vec::with_capacity(sports.len() + units.len());
    for sport in sports {
        prefixes
            .push(format!("{:-<RSC$}", sport.parse::<SportCode>().map_err(|_| Error::NotFound)?.to_string()));
    }
    for unit in units {
        check(unit)?;
        prefixes.push(unit.clone());
    }
    Ok(prefixes)
}

// What is no RSC is not asked for.
fn check(rsc: &str) -> Result<(), Error> {
    let right = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if rsc.len() == RSC && rsc.bytes().all(right) { Ok(()) } else { Err(Error::NotFound) }
}
