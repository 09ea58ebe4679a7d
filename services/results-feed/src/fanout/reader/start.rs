use std::{sync::Arc, time::Duration};

use super::{Phase, Reader, Sent, Topic, moving::Moving};
use crate::{
    Error,
    cursor::Cursor,
    entitlement::{PUBLIC, Rights},
    fanout::place::Place,
    frame::{Frame, ResetCause},
    store::Position,
};

/// How long the start may wait for this process to learn where the stream is.
const PATIENCE: Duration = Duration::from_secs(5);

impl Reader {
    pub(super) async fn start(&mut self) -> Result<Vec<Sent>, Error> {
        self.known_position().await?;
        let topic = self.topic().await?;
        // Behind the topic: where the stream began anew meanwhile, the topic has ended and says so.
        let position = self.known_position().await?;
        self.epoch.clone_from(&position.epoch);
        let cursor = Cursor::new(self.epoch.clone(), position.seq);
        let hello = Frame::Hello { stream: self.hub.stream_id().to_owned(), cursor };
        let mut frames = vec![Sent::own(hello, None)];
        match self.resume_at(&position, &topic).await? {
            Ok(Some(cursor)) => self.go_on(topic, Place::new(cursor.at)).await?,
            Ok(None) => self.begin_snapshot(topic),
            Err(why) => frames.push(self.reset(why, topic)),
        }
        Ok(frames)
    }

    // The stream began anew, or the reader's rights changed.
    pub(super) async fn begin_again(&mut self) -> Result<Vec<Sent>, Error> {
        if let Some(moving) = Moving::from_live(&mut self.phase) {
            self.phase = Phase::Moving(Box::new(moving));
            return Ok(Vec::new());
        }
        let topic = self.topic().await?;
        let position = self.known_position().await?;
        let why =
            if position.epoch == self.epoch { ResetCause::FilterChanged } else { ResetCause::EpochChanged };
        self.epoch.clone_from(&position.epoch);
        Ok(vec![self.reset(why, topic)])
    }

    // Where to go on; nothing without a cursor; why not, where the cursor can't be served.
    async fn resume_at(
        &self,
        position: &Position,
        topic: &Topic,
    ) -> Result<Result<Option<Cursor>, ResetCause>, Error> {
        let Some(text) = &self.asked.cursor else { return Ok(Ok(None)) };
        let Ok(cursor) = text.parse::<Cursor>() else { return Ok(Err(ResetCause::CursorInvalid)) };
        if cursor.epoch != position.epoch {
            return Ok(Err(ResetCause::EpochChanged));
        }
        if cursor.highest() > position.seq {
            // Another replica may be ahead of this one by a moment.
            let stored = self.app.stored_position(self.asked.stream).await?;
            if stored.epoch != cursor.epoch || stored.seq < cursor.highest() {
                return Ok(Err(ResetCause::CursorAhead));
            }
        }
        if !topic.reaches_back_to(&cursor.at)
            && !self.app.reaches_back_to(self.asked.stream, cursor.lowest() + 1).await?
        {
            return Ok(Err(ResetCause::CursorTooOld));
        }
        Ok(Ok(Some(cursor)))
    }

    async fn known_position(&self) -> Result<Position, Error> {
        let mut newest = self.hub.watch();
        let known = tokio::time::timeout(PATIENCE, newest.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(position)) => position.clone().ok_or(Error::Unavailable("the stream is not read yet")),
            _ => Err(Error::Unavailable("the stream is not read yet")),
        }
    }

    // Rights that change between the look-up and the topic are looked up again.
    pub(super) async fn topic(&self) -> Result<Arc<Topic>, Error> {
        loop {
            let (generation, rights) = self.rights().await?;
            let asked = &self.asked;
            let topic = self.hub.topic(&asked.filter, &rights, asked.representation, generation);
            if let Some(topic) = topic {
                return Ok(topic);
            }
        }
    }

    async fn rights(&self) -> Result<(u64, Arc<Rights>), Error> {
        let client_id = self.asked.client_id.as_deref().unwrap_or(PUBLIC);
        if let (generation, Some(rights)) = self.hub.known_rights(client_id) {
            return Ok((generation, rights));
        }
        let _turn = self.hub.rights_turn().await;
        let (generation, known) = self.hub.known_rights(client_id);
        if let Some(rights) = known {
            return Ok((generation, rights));
        }
        // As they are where this process is: it may not have heard yet of their newest change.
        let (stream, seq) = (self.asked.stream, self.hub.seq());
        let rights = Arc::new(self.app.rights_at(stream, Some(client_id), seq).await?);
        self.hub.keep_rights(client_id, &rights, generation);
        Ok((generation, rights))
    }
}
