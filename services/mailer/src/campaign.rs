//! A campaign and its life: draft, scheduled, freezing, sending, finished; paused, held and cancelled on the way.

use domain::{CampaignId, DateTime, RequestId, SegmentId, TimeDelta, Utc, Uuid};

/// How long after its start a campaign's mails may still leave.
pub const DEADLINE: TimeDelta = TimeDelta::days(3);
/// How long a campaign waits for the facts that its freeze has read.
pub const PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// May be changed.
    Draft,
    /// Waits for its time.
    Scheduled,
    /// Its class is held.
    Held,
    /// The recipients are being taken from segmentation.
    Freezing,
    /// Mails leave.
    Sending,
    /// Nothing leaves until it is resumed.
    Paused,
    /// Everybody has an outcome.
    Finished,
    /// Nothing leaves any more.
    Cancelled,
}

/// What kind of mail it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Tickets, goods.
    Sales,
    /// The magazine.
    News,
    /// Results of competitions.
    Results,
    /// Safety of people.
    Safety,
    /// What people asked for.
    Service,
}

/// What a crash may do to a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Sent again under the same Message-ID.
    AtLeastOnce,
    /// Never sent twice; may be lost.
    AtMostOnce,
}

/// A change that the other services learn of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It has a time.
    Scheduled,
    /// Its recipients are frozen, mails leave.
    Started,
    /// It stands still.
    Paused,
    /// It goes on.
    Resumed,
    /// Everybody has an outcome.
    Finished,
    /// It ends early.
    Cancelled,
}

/// The recipients that segmentation froze.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The freeze.
    pub freeze_id: Uuid,
    /// Hex SHA-256 of its content.
    pub hash: String,
    /// How many people.
    pub count: u64,
    /// When it was taken here.
    pub at: DateTime<Utc>,
}

/// What a campaign is made of before it has a life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The caller's id of the write that made it.
    pub request_id: RequestId,
    /// For people.
    pub name: String,
    /// Whose mail.
    pub sender_key: String,
    /// To whom.
    pub segment_id: SegmentId,
    /// The words.
    pub template_id: Uuid,
    /// Their published version.
    pub template_version: u32,
    /// What kind.
    pub class: Class,
    /// What a crash may do.
    pub delivery: Delivery,
}

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Its id.
    pub campaign_id: CampaignId,
    /// Counts its changes.
    pub version: i64,
    /// What it is made of.
    pub plan: Plan,
    /// Where it stands.
    pub state: State,
    /// When it starts.
    pub send_at: Option<DateTime<Utc>>,
    /// When its last mail may leave.
    pub deadline: Option<DateTime<Utc>>,
    /// Its recipients.
    pub frozen: Option<Frozen>,
    /// Why it was cancelled; empty otherwise.
    pub cancel_reason: String,
}

/// The campaign is in a state that does not allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the campaign is {}", .0.name())]
pub struct WrongState(pub State);

impl Campaign {
    /// A draft.
    #[must_use]
    pub const fn draft(campaign_id: CampaignId, plan: Plan) -> Self {
        Self {
            campaign_id,
            version: 1,
            plan,
            state: State::Draft,
            send_at: None,
            deadline: None,
            frozen: None,
            cancel_reason: String::new(),
        }
    }

    /// Gives it a time; a scheduled one may be moved.
    ///
    /// # Errors
    /// It is beyond that.
    pub fn schedule(&mut self, send_at: DateTime<Utc>) -> Result<Happened, WrongState> {
        self.to(&[State::Draft, State::Scheduled], State::Scheduled)?;
        self.send_at = Some(send_at);
        self.deadline = Some(send_at + DEADLINE);
        Ok(Happened::Scheduled)
    }

    /// Its time has come.
    ///
    /// # Errors
    /// It is not scheduled.
    pub fn start_freezing(&mut self) -> Result<(), WrongState> {
        self.to(&[State::Scheduled], State::Freezing)
    }

    /// Takes the freeze. The same freeze again changes nothing.
    ///
    /// # Errors
    /// It is not freezing.
    pub fn freeze(&mut self, frozen: Frozen) -> Result<(), WrongState> {
        self.to(&[State::Freezing], State::Freezing)?;
        self.frozen = Some(frozen);
        Ok(())
    }

    /// All its recipients are here.
    ///
    /// # Errors
    /// It is not freezing.
    pub fn start_sending(&mut self) -> Result<Happened, WrongState> {
        self.to(&[State::Freezing], State::Sending)?;
        Ok(Happened::Started)
    }

    /// Stops it for a while; repeats change nothing.
    ///
    /// # Errors
    /// It is not sending.
    pub fn pause(&mut self) -> Result<Option<Happened>, WrongState> {
        if self.state == State::Paused {
            return Ok(None);
        }
        self.to(&[State::Sending], State::Paused)?;
        Ok(Some(Happened::Paused))
    }

    /// Goes on; repeats change nothing.
    ///
    /// # Errors
    /// It is not paused.
    pub fn resume(&mut self) -> Result<Option<Happened>, WrongState> {
        if self.state == State::Sending {
            return Ok(None);
        }
        self.to(&[State::Paused], State::Sending)?;
        Ok(Some(Happened::Resumed))
    }

    /// Ends it early; repeats change nothing.
    ///
    /// # Errors
    /// It is finished.
    pub fn cancel(&mut self, reason: &str) -> Result<Option<Happened>, WrongState> {
        if self.state == State::Cancelled {
            return Ok(None);
        }
        if self.state == State::Finished {
            return Err(WrongState(self.state));
        }
        self.to(&[self.state], State::Cancelled)?;
        reason.clone_into(&mut self.cancel_reason);
        Ok(Some(Happened::Cancelled))
    }

    /// Everybody has an outcome.
    ///
    /// # Errors
    /// It is not sending.
    pub fn finish(&mut self) -> Result<Happened, WrongState> {
        self.to(&[State::Sending], State::Finished)?;
        Ok(Happened::Finished)
    }

    fn to(&mut self, from: &[State], to: State) -> Result<(), WrongState> {
        if !from.contains(&self.state) {
            return Err(WrongState(self.state));
        }
        self.state = to;
        self.version += 1;
        Ok(())
    }
}

macro_rules! names {
    ($($of:ident { $($variant:ident $name:literal),+ $(,)? })+) => {$(
        impl $of {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Name on the wire and in SQL.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The one of this name.
            #[must_use]
            pub fn find(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|held| held.name() == name)
            }
        }
    )+};
}

names! {
    State {
        Draft "draft", Scheduled "scheduled", Held "held", Freezing "freezing", Sending "sending", Paused "paused",
        Finished "finished", Cancelled "cancelled",
    }
    Class { Sales "sales", News "news", Results "results", Safety "safety", Service "service" }
    Delivery { AtLeastOnce "at_least_once", AtMostOnce "at_most_once" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn campaign() -> Campaign {
        let plan = Plan {
            request_id: RequestId::new(),
            name: "July".to_owned(),
            sender_key: "committee".to_owned(),
            segment_id: SegmentId::new(),
            template_id: domain::new_id(),
            template_version: 1,
            class: Class::News,
            delivery: Delivery::AtLeastOnce,
        };
        Campaign::draft(CampaignId::new(), plan)
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000, 0).unwrap()
    }

    fn frozen() -> Frozen {
        Frozen { freeze_id: domain::new_id(), hash: "00".to_owned(), count: 1, at: now() }
    }

    #[test]
    fn a_campaign_goes_from_draft_to_finished() {
        let mut campaign = campaign();
        assert_eq!(campaign.schedule(now()), Ok(Happened::Scheduled));
        campaign.start_freezing().unwrap();
        campaign.freeze(frozen()).unwrap();
        assert_eq!(campaign.start_sending(), Ok(Happened::Started));
        assert_eq!(campaign.pause(), Ok(Some(Happened::Paused)));
        assert_eq!(campaign.pause(), Ok(None));
        assert_eq!(campaign.finish(), Err(WrongState(State::Paused)));
        assert_eq!(campaign.resume(), Ok(Some(Happened::Resumed)));
        assert_eq!(campaign.finish(), Ok(Happened::Finished));
        assert_eq!(campaign.cancel(""), Err(WrongState(State::Finished)));
    }

    #[test]
    fn what_is_sending_is_not_scheduled_again() {
        let mut campaign = campaign();
        campaign.schedule(now()).unwrap();
        campaign.start_freezing().unwrap();
        assert_eq!(campaign.schedule(now()), Err(WrongState(State::Freezing)));
        assert_eq!(campaign.cancel("by hand"), Ok(Some(Happened::Cancelled)));
        assert_eq!(campaign.start_sending(), Err(WrongState(State::Cancelled)));
    }

    proptest! {
        // Whatever is tried: the end is the end, and the version counts exactly the changes.
        #[test]
        fn an_ended_campaign_stays_ended(steps in proptest::collection::vec(0_u8..8, 0..40)) {
            let mut campaign = campaign();
            for step in steps {
                let before = campaign.clone();
                let changed = match step {
                    0 => campaign.schedule(now()).is_ok(),
                    1 => campaign.start_freezing().is_ok(),
                    2 => campaign.freeze(frozen()).is_ok(),
                    3 => campaign.start_sending().is_ok(),
                    4 => campaign.pause() == Ok(Some(Happened::Paused)),
                    5 => campaign.resume() == Ok(Some(Happened::Resumed)),
                    6 => campaign.cancel("x") == Ok(Some(Happened::Cancelled)),
                    _ => campaign.finish().is_ok(),
                };
                prop_assert_eq!(campaign.version, before.version + i64::from(changed));
                if matches!(before.state, State::Finished | State::Cancelled) {
                    prop_assert!(!changed);
                }
            }
        }
    }
}
