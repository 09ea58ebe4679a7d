use std::sync::Arc;

use super::{Phase, Reader, Sent, Topic};
use crate::{
    Error,
    entitlement::PUBLIC,
    fanout::{
        catch_up::{CatchUp, Piece, Walker},
        place::Place,
        view::View,
    },
    frame::ResetCause,
    lane::Lane,
};

/// A connection whose rights changed at a place: first it is told what came before by the rights of before, then what the
/// change means, and then it goes on.
#[derive(Debug)]
pub struct Moving {
    before: Arc<Topic>,
    place: Place,
    catch_up: CatchUp,
    until: i64,
    /// It came with a cursor of behind the change, to a process that was not there yet: another one has told it.
    is_told: bool,
}

impl Moving {
    /// A live connection whose topic ended as its rights changed; nothing for any other.
    pub fn from_live(phase: &mut Phase) -> Option<Self> {
        let Phase::Live(live) = phase else { return None };
        let until = live.topic.changed_at()?;
        let mut place = live.place.clone();
        place.go_back();
        let is_told = Lane::ALL.iter().all(|lane| place.at(*lane) >= until);
        Some(Self { before: Arc::clone(&live.topic), place, catch_up: CatchUp::default(), until, is_told })
    }
}

impl Reader {
    /// Goes on from a place, which may be before a change of its rights.
    pub(super) async fn go_on(&mut self, topic: Arc<Topic>, place: Place) -> Result<(), Error> {
        let stream = self.asked.stream;
        let from = Lane::ALL.map(|lane| place.at(lane)).into_iter().min().unwrap_or_default();
        if from >= self.hub.rights_changed_at(topic.view().rights()) {
            self.go_live(topic, place);
            return Ok(());
        }
        let rights = topic.view().rights();
        let Some(until) = self.app.next_change(stream, rights, from).await? else {
            self.go_live(topic, place);
            return Ok(());
        };
        let client_id = self.asked.client_id.as_deref().unwrap_or(PUBLIC);
        let rights = Arc::new(self.app.rights_at(stream, Some(client_id), from).await?);
        let representation = self.asked.representation;
        let view = View::new(rights, stream, representation);
        let before = Arc::new(Topic::new(self.asked.filter.clone(), view, representation, from));
        let moving = Moving { before, place, catch_up: CatchUp::default(), until, is_told: false };
        self.phase = Phase::Moving(Box::new(moving));
        Ok(())
    }

    pub(super) async fn move_on(&mut self) -> Result<Vec<Sent>, Error> {
        if self.is_of_another_epoch() {
            return self.begin_again().await;
        }
        let Phase::Moving(moving) = &mut self.phase else { return Ok(Vec::new()) };
        let (epoch, mode, until) = (&self.epoch, self.asked.mode, moving.until);
        // Not up to the change itself: a cursor of there is for those who were told what it means.
        let seen = until - 1;
        for lane in Lane::ALL {
            if moving.place.at(lane) < seen {
                let walker = Walker { app: &self.app, topic: &moving.before, mode, epoch, seen };
                return match moving.catch_up.walk(&walker, &mut moving.place, lane).await? {
                    Piece::Frames(frames) => Ok(frames),
                    Piece::TooFar => {
                        let topic = self.topic().await?;
                        Ok(vec![self.reset(ResetCause::CursorTooOld, topic)])
                    }
                };
            }
        }
        let mut frames = Vec::new();
        if !moving.is_told {
            let client_id = self.asked.client_id.as_deref().unwrap_or(PUBLIC);
            let rights = Arc::new(self.app.rights_at(self.asked.stream, Some(client_id), until).await?);
            let moved = moving.before.moved(&self.app, &rights, until).await?;
            frames = moved.tell(&mut moving.place, epoch);
        }
        let place = moving.place.clone();
        let topic = self.topic().await?;
        // Behind the topic: one that ended after this says so.
        if self.is_of_another_epoch() {
            return self.begin_again().await;
        }
        self.go_on(topic, place).await?;
        Ok(frames)
    }

    fn is_of_another_epoch(&self) -> bool {
        self.hub.position().is_some_and(|position| position.epoch != self.epoch)
    }
}
