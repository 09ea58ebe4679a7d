//! What was taken back before its time, as far as it may still matter to an access token: kept in memory, fed from the
//! database several times a second, so that a token is judged without a question to the database.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use domain::{SessionId, UserId, Uuid};

/// A feed older than this is not believed.
pub const STALE: Duration = Duration::from_secs(1);
/// Each read goes back so far: a row is seen late by as long as its transaction takes, which is cut at 5 s.
pub const OVERLAP: Duration = Duration::from_secs(15);
/// No access token lives longer (15 min); two minutes more for clocks that differ.
pub const REMEMBERED: Duration = Duration::from_secs(17 * 60);
/// What is remembered at most, about 20 MB. Beyond it the database is asked.
pub const MOST: usize = 250_000;

/// What was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// All tokens of a grant, for good.
    Family(Uuid),
    /// All tokens bound to a session, for good.
    Session(SessionId),
    /// Tokens of a user who may come back.
    User(UserId),
    /// Tokens of a client that may come back.
    Client(Box<str>),
}

/// What an access token hangs on.
#[derive(Debug, Clone)]
pub struct Bonds<'a> {
    /// Its grant.
    pub family: Uuid,
    /// Its session, unless it outlives it.
    pub session: Option<SessionId>,
    /// Whose it is.
    pub user: UserId,
    /// Whose grant it comes of.
    pub client: &'a str,
}

/// Whether an access token still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody took it back.
    Live,
    /// Somebody did.
    Revoked,
    /// The database knows.
    Ask,
}

/// The set in memory. Time is monotonic and an argument.
#[derive(Debug, Default)]
pub struct Revocations {
    // Until when each is remembered.
    entries: HashMap<Revoked, Instant>,
    read_at: Option<Instant>,
    pruned_at: Option<Instant>,
    // There was no room for everything: until then the set is not the whole truth.
    partial_until: Option<Instant>,
}

impl Revocations {
    /// How far back the next read must go.
    pub fn window(&self, now: Instant) -> Duration {
        let Some(read_at) = self.read_at else { return REMEMBERED };
        (now.saturating_duration_since(read_at) + OVERLAP).min(REMEMBERED)
    }

    /// Takes over what a read gave that began at `started`.
    pub fn fed(&mut self, rows: Vec<Revoked>, started: Instant) {
        self.prune(started);
        for row in rows {
            self.note(row, started);
        }
        self.read_at = Some(self.read_at.map_or(started, |before| before.max(started)));
    }

    /// Remembers one that this instance itself took back.
    pub fn note(&mut self, revoked: Revoked, now: Instant) {
        let until = now + REMEMBERED;
        if self.entries.len() >= MOST && !self.entries.contains_key(&revoked) {
            self.partial_until = Some(until);
            return;
        }
        // The first sight counts: a row that is read sixty times does not live longer for it.
        self.entries.entry(revoked).or_insert(until);
    }

    /// Judges a token.
    pub fn judge(&self, bonds: &Bonds<'_>, now: Instant) -> Verdict {
        let has = |revoked: &Revoked| self.entries.contains_key(revoked);
        if has(&Revoked::Family(bonds.family)) || bonds.session.is_some_and(|id| has(&Revoked::Session(id))) {
            return Verdict::Revoked;
        }
        if !self.is_believed(now)
            || has(&Revoked::User(bonds.user))
            || has(&Revoked::Client(bonds.client.into()))
        {
            return Verdict::Ask;
        }
        Verdict::Live
    }

    fn is_believed(&self, now: Instant) -> bool {
        let fresh = self.read_at.is_some_and(|at| now.saturating_duration_since(at) <= STALE);
        fresh && self.partial_until.is_none_or(|until| now >= until)
    }

    // Once a minute: the walk is longer than a read.
    fn prune(&mut self, now: Instant) {
        let due =
            self.pruned_at.is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(60));
        if due {
            self.entries.retain(|_, until| *until > now);
            self.pruned_at = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Token {
        family: Uuid,
        session: SessionId,
        user: UserId,
    }

    impl Token {
        fn new() -> Self {
            Self { family: domain::new_id(), session: SessionId::new(), user: UserId::new() }
        }

        fn bonds(&self) -> Bonds<'_> {
            Bonds { family: self.family, session: Some(self.session), user: self.user, client: "shop" }
        }
    }

    #[test]
    fn a_feed_that_was_never_read_or_is_old_is_not_believed() {
        let (token, start) = (Token::new(), Instant::now());
        let mut feed = Revocations::default();
        assert_eq!(feed.judge(&token.bonds(), start), Verdict::Ask);
        assert_eq!(feed.window(start), REMEMBERED);
        feed.fed(Vec::new(), start);
        assert_eq!(feed.judge(&token.bonds(), start + STALE), Verdict::Live);
        assert_eq!(feed.judge(&token.bonds(), start + STALE + Duration::from_millis(1)), Verdict::Ask);
        assert_eq!(feed.window(start + Duration::from_secs(40)), Duration::from_secs(55));
        assert_eq!(feed.window(start + Duration::from_secs(86_400)), REMEMBERED);
    }

    #[test]
    fn a_family_or_a_session_is_over_even_when_the_feed_is_old() {
        let start = Instant::now();
        for of in
            [|token: &Token| Revoked::Family(token.family), |token: &Token| Revoked::Session(token.session)]
        {
            let (token, other) = (Token::new(), Token::new());
            let mut feed = Revocations::default();
            feed.note(of(&token), start);
            assert_eq!(feed.judge(&token.bonds(), start), Verdict::Revoked);
            feed.fed(Vec::new(), start);
            assert_eq!(feed.judge(&token.bonds(), start), Verdict::Revoked);
            assert_eq!(feed.judge(&other.bonds(), start), Verdict::Live);
            // A token that outlives its session does not end with it.
            let offline = Bonds { session: None, ..token.bonds() };
            let expected =
                if of(&token) == Revoked::Family(token.family) { Verdict::Revoked } else { Verdict::Live };
            assert_eq!(feed.judge(&offline, start), expected);
        }
    }

    #[test]
    fn a_user_or_a_client_that_may_come_back_is_looked_up() {
        let (token, start) = (Token::new(), Instant::now());
        for revoked in [Revoked::User(token.user), Revoked::Client("shop".into())] {
            let mut feed = Revocations::default();
            feed.fed(vec![revoked], start);
            assert_eq!(feed.judge(&token.bonds(), start), Verdict::Ask);
        }
    }

    #[test]
    fn an_entry_goes_when_no_token_can_be_that_old() {
        let (token, start) = (Token::new(), Instant::now());
        let mut feed = Revocations::default();
        feed.fed(vec![Revoked::Family(token.family)], start);
        // Read again until it leaves the window: it does not live longer for it.
        feed.fed(vec![Revoked::Family(token.family)], start + Duration::from_secs(14));
        let late = start + REMEMBERED;
        feed.fed(Vec::new(), late);
        assert_eq!((feed.entries.len(), feed.judge(&token.bonds(), late)), (0, Verdict::Live));
    }

    #[test]
    fn without_room_the_database_is_asked_until_the_lost_ones_do_not_matter() {
        let (token, start) = (Token::new(), Instant::now());
        let mut feed = Revocations::default();
        for _ in 0..MOST {
            feed.note(Revoked::Family(domain::new_id()), start);
        }
        feed.note(Revoked::Family(token.family), start);
        feed.fed(Vec::new(), start);
        assert_eq!(feed.judge(&token.bonds(), start), Verdict::Ask);
        let late = start + REMEMBERED;
        feed.fed(Vec::new(), late);
        assert_eq!(feed.judge(&token.bonds(), late), Verdict::Live);
    }
}
