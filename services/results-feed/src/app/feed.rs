use std::collections::HashMap;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use domain::{DateTime, Utc};

use super::{App, publish::sha256};
use crate::{
    Error,
    canonical::Node,
    document_type::ResultStatus,
    entitlement::{self, Facts, Participants, Representation, Rights},
    entry::{Edition, Entry},
    fanout::View,
    frame::{Raw, hex},
    lane::Lane,
    rsc::Prefix,
    store::{self, Missed, Ticket},
    stream_name::StreamName,
};

/// How long a ticket is good.
const TICKET_SECONDS: i64 = 60;

impl App {
    /// The documents that stood at `seq` behind a handle, whoever may see them.
    pub async fn list_state(
        &self,
        stream: StreamName,
        prefixes: &[Prefix],
        seq: i64,
        after: i64,
        limit: i64,
    ) -> Result<Vec<Edition>, Error> {
        store::list_state(&self.db, self.hub(stream).stream_id(), prefixes, seq, after, limit).await
    }

    /// See [`store::list_missed`].
    pub async fn list_missed(
        &self,
        stream: StreamName,
        lane: Lane,
        prefixes: &[Prefix],
        range: (i64, i64),
        limit: i64,
    ) -> Result<Vec<Missed>, Error> {
        store::list_missed(&self.db, self.hub(stream).stream_id(), lane, prefixes, range, limit).await
    }

    /// See [`store::list_facts`].
    pub async fn list_facts(
        &self,
        stream: StreamName,
        handle: i64,
        range: (i64, i64),
    ) -> Result<Vec<(Option<ResultStatus>, Facts)>, Error> {
        store::list_facts(&self.db, self.hub(stream).stream_id(), handle, range).await
    }

    /// Entries of a lane that the ring no longer holds.
    pub async fn list_logged(
        &self,
        stream: StreamName,
        lane: Lane,
        prefixes: &[Prefix],
        range: (i64, i64),
        limit: i64,
    ) -> Result<Vec<Entry>, Error> {
        store::list_logged(&self.db, self.hub(stream).stream_id(), lane, prefixes, range, limit).await
    }

    /// The entries at these places.
    pub async fn list_entries_at(&self, stream: StreamName, seqs: &[i64]) -> Result<Vec<Entry>, Error> {
        store::list_at(&self.db, self.hub(stream).stream_id(), seqs).await
    }

    /// Documents as their senders wrote them, by their places in the log.
    pub async fn list_raw(&self, stream: StreamName, seqs: &[i64]) -> Result<HashMap<i64, Raw>, Error> {
        store::list_raw(&self.db, self.hub(stream).stream_id(), seqs).await
    }

    /// A version with the participants that a reader gets.
    pub async fn cut(&self, edition: Edition, participants: &Participants) -> Result<Edition, Error> {
        let Participants::Of(nocs) = participants else { return Ok(edition) };
        let body = match &edition.body {
            Some(body) => body.clone(),
            // A list left it out, as it is large.
            None => self.whole_body(&edition).await?,
        };
        let whole = Node::from_bytes(&body).map_err(|_| Error::Corrupt { what: "canonical" })?;
        let body = Bytes::from(entitlement::cut(&whole, nocs).to_bytes());
        Ok(Edition { size: body.len(), sha256: sha256(&body), body: Some(body), ..edition })
    }

    /// An entry with the participants that the readers of a view get.
    pub async fn cut_entry(&self, view: &View, entry: Entry) -> Result<Entry, Error> {
        let participants = view.participants(&entry);
        match entry.edition() {
            Some(edition) if participants != Participants::All => {
                let edition = self.cut(Edition::clone(edition), &participants).await?;
                Ok(entry.showing(edition))
            }
            _ => Ok(entry),
        }
    }

    async fn whole_body(&self, edition: &Edition) -> Result<Bytes, Error> {
        let found = store::find_edition(&self.db, edition.handle, edition.seq).await?;
        found.and_then(|(_, edition)| edition.body).ok_or(Error::Corrupt { what: "canonical" })
    }

    /// A document as its sender wrote it.
    pub async fn get_raw(&self, stream: StreamName, seq: i64) -> Result<Raw, Error> {
        self.list_raw(stream, &[seq]).await?.remove(&seq).ok_or(Error::Corrupt { what: "raw" })
    }

    /// One version of a document as its sender wrote it, where a feed referred to it.
    pub async fn get_raw_edition(&self, rights: &Rights, handle: i64, seq: i64) -> Result<Bytes, Error> {
        let rights = rights.clone().in_representation(Representation::Odf);
        let (stream, edition) = self.find_permitted(&rights, handle, seq).await?;
        let raw = store::find_raw(&self.db, self.hub(stream).stream_id(), edition.seq).await?;
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
