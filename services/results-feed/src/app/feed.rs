use std::collections::HashMap;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use domain::{DateTime, Utc};

use super::{App, publish::sha256};
use crate::{
    Error,
    document_type::FeedFlag,
    entitlement::Rights,
    entry::{Edition, Entry},
    frame::{Raw, hex},
    lane::Lane,
    rsc::Prefix,
    store::{self, Missed, Ticket},
};

/// How long a ticket is good.
const TICKET_SECONDS: i64 = 60;

impl App {
    /// The documents that stood at `seq` behind a handle, whoever may see them.
    pub async fn list_state(
        &self,
        feed_flag: FeedFlag,
        prefixes: &[Prefix],
        seq: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Edition>, Error> {
        store::list_state(&self.db, self.hub(feed_flag).stream_id(), prefixes, seq, after, limit).await
    }

    /// See [`store::list_missed`].
    pub async fn list_missed(
        &self,
        feed_flag: FeedFlag,
        lane: Lane,
        prefixes: &[Prefix],
        range: (i64, i64),
        limit: i64,
    ) -> Result<Vec<Missed>, Error> {
        store::list_missed(&self.db, self.hub(feed_flag).stream_id(), lane, prefixes, range, limit).await
    }

    /// Entries of a lane that the ring no longer holds.
    pub async fn list_logged(
        &self,
        feed_flag: FeedFlag,
        lane: Lane,
        prefixes: &[Prefix],
        range: (i64, i64),
        limit: i64,
    ) -> Result<Vec<Entry>, Error> {
        store::list_logged(&self.db, self.hub(feed_flag).stream_id(), lane, prefixes, range, limit).await
    }

    /// The entries at these places.
    pub async fn list_entries_at(&self, feed_flag: FeedFlag, seqs: &[i64]) -> Result<Vec<Entry>, Error> {
        store::list_at(&self.db, self.hub(feed_flag).stream_id(), seqs).await
    }

    /// Documents as their senders wrote them, by their places in the log.
    pub async fn list_raw(&self, feed_flag: FeedFlag, seqs: &[i64]) -> Result<HashMap<i64, Raw>, Error> {
        store::list_raw(&self.db, self.hub(feed_flag).stream_id(), seqs).await
    }

    /// A document as its sender wrote it.
    pub async fn get_raw(&self, feed_flag: FeedFlag, seq: i64) -> Result<Raw, Error> {
        self.list_raw(feed_flag, &[seq]).await?.remove(&seq).ok_or(Error::Corrupt { what: "raw" })
    }

    /// One version of a document as its sender wrote it, where a feed referred to it.
    pub async fn get_raw_edition(&self, rights: &Rights, handle: i64, seq: i64) -> Result<Bytes, Error> {
        let (feed_flag, _) = self.find_permitted(rights, handle, seq).await?;
        let raw = store::find_raw(&self.db, self.hub(feed_flag).stream_id(), seq).await?;
        raw.ok_or(Error::NotFound("document"))
    }

    /// A ticket for one connection with a client's rights, and how many seconds it is good.
    pub async fn create_ticket(
        &self,
        client_id: &str,
        token_expires_at: DateTime<Utc>,
    ) -> Result<(String, i64), Error> {
        let mut random = [0_u8; 32];
        SystemRandom::new().fill(&mut random).map_err(|_| Error::Random)?;
        let (secret, now) = (hex(&random), self.clock.now());
        let ticket = Ticket {
            sha256: sha256(secret.as_bytes()),
            client_id: client_id.to_owned(),
            token_expires_at,
            expires_at: now + domain::TimeDelta::seconds(TICKET_SECONDS),
        };
        store::insert_ticket(&self.db, &ticket, now).await?;
        Ok((secret, TICKET_SECONDS))
    }

    /// Takes a ticket: its client, and when its token ends. It is good once.
    pub async fn take_ticket(&self, secret: &str) -> Result<(String, DateTime<Utc>), Error> {
        let taken = store::take_ticket(&self.db, &sha256(secret.as_bytes()), self.clock.now()).await?;
        taken.ok_or(Error::UnknownTicket)
    }
}
