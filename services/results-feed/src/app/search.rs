use std::sync::Arc;

use bytes::Bytes;
use domain::Noc;
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use crate::{
    Error,
    canonical::Node,
    entitlement::{self, Participants, Representation, Rights},
    search::{Search, Version},
    store,
};

/// Most documents of an archive.
pub const MOST_ARCHIVED: usize = 2_000;
/// Most bytes of an archive's documents, unpacked.
pub const LARGEST_ARCHIVE: usize = 256 << 20;
/// Versions of one look.
const PAGE: i64 = 500;

/// A page of what a search found.
#[derive(Debug)]
pub struct SearchPage {
    /// What the reader may see of it.
    pub versions: Vec<Version>,
    /// Behind which the next page begins; none after the last one.
    pub next: Option<i64>,
}

/// A document in one of its forms.
#[derive(Debug)]
pub struct Body {
    /// Which version it is.
    pub version: Version,
    /// Its bytes.
    pub bytes: Bytes,
}

impl App {
    /// Versions behind `after` that a search asks for and the reader may see in any of these rights' representations.
    pub async fn search(
        &self,
        rights: &[Rights],
        search: &Search,
        after: i64,
        limit: i64,
    ) -> Result<SearchPage, Error> {
        let stream_id = self.hub(search.feed_flag).stream_id();
        let mut versions = store::search(&self.db, stream_id, search, after, limit).await?;
        let is_last = i64::try_from(versions.len()).is_ok_and(|count| count < limit);
        let next = versions.last().map(|version| version.seq).filter(|_| !is_last);
        versions.retain(|version| {
            let subject = version.subject(search.feed_flag);
            rights.iter().any(|rights| rights.permit(&subject))
        });
        Ok(SearchPage { versions, next })
    }

    /// A version of a document in one of its forms; the newest one where no place is named.
    pub async fn get_body(
        &self,
        rights: &Rights,
        handle: i64,
        seq: Option<i64>,
        representation: Representation,
    ) -> Result<Body, Error> {
        const MISSING: Error = Error::NotFound("document");
        let found = store::find_version(&self.db, handle, seq).await?.ok_or(MISSING)?;
        let feed_flag = self.stream_of(&found.stream_id).ok_or(MISSING)?.feed_flag();
        let (subject, rights) =
            (found.version.subject(feed_flag), rights.clone().in_representation(representation));
        if !rights.permit(&subject) {
            return Err(MISSING);
        }
        let bytes = match representation {
            Representation::Odf => found.raw,
            Representation::Json => {
                let whole = found.canonical.ok_or(MISSING)?;
                match rights.participants(&subject) {
                    Participants::All => whole,
                    Participants::Of(nocs) => cut(&whole, &nocs)?,
                }
            }
        };
        Ok(Body { version: found.version, bytes: bytes.into() })
    }

    /// What an archive will hold: every original that a search finds and the reader may see.
    pub async fn list_archive(&self, rights: Rights, search: &Search) -> Result<Vec<Version>, Error> {
        let rights = [rights.in_representation(Representation::Odf)];
        let (mut versions, mut bytes, mut after) = (Vec::new(), 0, 0);
        loop {
            let page = self.search(&rights, search, after, PAGE).await?;
            bytes += page.versions.iter().map(|version| version.bytes).sum::<usize>();
            versions.extend(page.versions);
            if versions.len() > MOST_ARCHIVED || bytes > LARGEST_ARCHIVE {
                return Err(Error::TooMany("documents for an archive: 2,000 and 256 MiB are the limit"));
            }
            let Some(next) = page.next else { return Ok(versions) };
            after = next;
        }
    }

    /// The original bytes of a version that was listed; none where the log no longer holds it.
    pub async fn raw_of(&self, search: &Search, version: &Version) -> Result<Option<Vec<u8>>, Error> {
        let stream_id = self.hub(search.feed_flag).stream_id();
        Ok(store::load_raw(&self.db, stream_id, version.seq).await?.map(|found| found.raw))
    }

    /// A place for an archive that is being written; few at a time, as each reads much.
    pub fn begin_archive(&self) -> Result<OwnedSemaphorePermit, Error> {
        let place = Arc::clone(&self.archives).try_acquire_owned();
        place.map_err(|_| Error::Unavailable("too many archives are being written"))
    }
}

fn cut(whole: &[u8], nocs: &[Noc]) -> Result<Vec<u8>, Error> {
    let whole = Node::from_bytes(whole).map_err(|_| Error::Corrupt { what: "canonical" })?;
    Ok(entitlement::cut(&whole, nocs).to_bytes())
}
