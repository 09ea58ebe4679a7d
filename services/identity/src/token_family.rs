//! All tokens of one grant. Refresh token n is a MAC over (family, n): successors are computed again, never stored.

use domain::{DateTime, SessionId, TimeDelta, UserId, Utc, Uuid};

use crate::{claims, client::Client};

/// Longest time between two uses.
pub const IDLE: TimeDelta = TimeDelta::days(30);
/// Longest life with `offline_access`.
pub const LIFE: TimeDelta = TimeDelta::days(90);
/// How many superseded tokens are remembered.
pub const REMEMBERED: usize = 4;

/// A family row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFamily {
    /// Its id: the code's.
    pub family_id: Uuid,
    /// For whom.
    pub client_id: String,
    /// By whom.
    pub user_id: UserId,
    /// In which session.
    pub session_id: SessionId,
    /// What was granted.
    pub scopes: Vec<String>,
    /// APIs named by the request.
    pub resources: Vec<String>,
    /// Claims asked for by name.
    pub claims: claims::Requested,
    /// How strongly the user signed in.
    pub acr: String,
    /// By which means.
    pub amr: Vec<String>,
    /// Thumbprint of the key to which the refresh tokens of a public client are bound (RFC 9449 5).
    pub jkt: Option<String>,
    /// When.
    pub auth_time: DateTime<Utc>,
    /// Outlives the session.
    pub offline: bool,
    /// Of the current refresh token.
    pub seq: u32,
    /// When the last four were superseded, newest first.
    pub superseded_at: Vec<DateTime<Utc>>,
    /// Last refresh.
    pub used_at: DateTime<Utc>,
    /// Latest end.
    pub expires_at: DateTime<Utc>,
    /// Revoked before its time.
    pub revoked: bool,
}

/// What a refresh token leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// It is the current one: rotate.
    Rotate,
    /// It was superseded just now: give the current one again.
    Repeat,
    /// It was superseded long ago: somebody else holds it, revoke the family.
    Stolen,
    /// The family is over.
    Refused,
}

impl TokenFamily {
    /// Whether its access tokens count.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        !self.revoked && now < self.expires_at
    }

    /// Judges refresh token `n` by the rules of its client.
    pub fn judge(&self, client: &Client, n: u32, now: DateTime<Utc>) -> Refresh {
        if client.rotates_refresh_tokens() {
            self.refresh(n, client.tokens.grace(), now)
        } else {
            self.refresh_unrotated(n, now)
        }
    }

    /// Judges refresh token `n` of a client whose tokens are not replaced: nothing is written at a refresh, so that only
    /// the whole life of the family bounds it.
    fn refresh_unrotated(&self, n: u32, now: DateTime<Utc>) -> Refresh {
        if self.is_live(now) && n == self.seq { Refresh::Repeat } else { Refresh::Refused }
    }

    /// Judges refresh token `n`. For `grace` after its end a superseded one still gets the current one: two tabs that
    /// refresh at once are no theft, nor is an answer that got lost.
    fn refresh(&self, n: u32, grace: TimeDelta, now: DateTime<Utc>) -> Refresh {
        if !self.is_live(now) || now >= self.used_at + IDLE || n > self.seq {
            return Refresh::Refused;
        }
        if n == self.seq {
            return Refresh::Rotate;
        }
        let age = (self.seq - n - 1) as usize;
        match self.superseded_at.get(age) {
            Some(at) if now < *at + grace => Refresh::Repeat,
            _ => Refresh::Stolen,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRACE: TimeDelta = TimeDelta::seconds(30);

    fn family(now: DateTime<Utc>) -> TokenFamily {
        TokenFamily {
            family_id: domain::new_id(),
            client_id: "portal".into(),
            user_id: UserId::new(),
            session_id: SessionId::new(),
            scopes: vec![],
            resources: vec![],
            claims: claims::Requested::default(),
            acr: String::new(),
            amr: vec![],
            jkt: None,
            auth_time: now,
            offline: true,
            seq: 0,
            superseded_at: vec![],
            used_at: now,
            expires_at: now + LIFE,
            revoked: false,
        }
    }

    // What the store's update does.
    fn rotate(family: &mut TokenFamily, now: DateTime<Utc>) {
        family.seq += 1;
        family.superseded_at.insert(0, now);
        family.superseded_at.truncate(REMEMBERED);
        family.used_at = now;
    }

    fn now() -> DateTime<Utc> {
        "2026-07-24T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_superseded_token_repeats_within_the_grace_and_is_theft_after_it() {
        let mut family = family(now());
        assert_eq!(family.refresh(0, GRACE, now()), Refresh::Rotate);
        rotate(&mut family, now());
        assert_eq!(family.refresh(1, GRACE, now()), Refresh::Rotate);
        assert_eq!(family.refresh(0, GRACE, now() + TimeDelta::seconds(29)), Refresh::Repeat);
        assert_eq!(family.refresh(0, GRACE, now() + GRACE), Refresh::Stolen);
        assert_eq!(family.refresh(2, GRACE, now()), Refresh::Refused);
    }

    #[test]
    fn two_tabs_in_a_chain_are_no_theft() {
        let mut family = family(now());
        for step in 0..4 {
            rotate(&mut family, now() + TimeDelta::seconds(step));
        }
        assert_eq!(family.refresh(0, GRACE, now() + TimeDelta::seconds(5)), Refresh::Repeat);
        rotate(&mut family, now() + TimeDelta::seconds(5));
        assert_eq!(family.refresh(0, GRACE, now() + TimeDelta::seconds(6)), Refresh::Stolen);
    }

    #[test]
    fn a_token_that_is_not_replaced_lives_as_long_as_its_family() {
        let mut family = family(now());
        assert_eq!(family.refresh_unrotated(0, now() + IDLE), Refresh::Repeat);
        assert_eq!(family.refresh_unrotated(0, now() + LIFE), Refresh::Refused);
        assert_eq!(family.refresh_unrotated(1, now()), Refresh::Refused);
        family.revoked = true;
        assert_eq!(family.refresh_unrotated(0, now()), Refresh::Refused);
    }

    #[test]
    fn an_idle_expired_or_revoked_family_is_over() {
        let mut family = family(now());
        assert_eq!(family.refresh(0, GRACE, now() + IDLE), Refresh::Refused);
        family.used_at = now() + TimeDelta::days(89);
        assert_eq!(family.refresh(0, GRACE, now() + LIFE), Refresh::Refused);
        family.revoked = true;
        assert_eq!(family.refresh(0, GRACE, now()), Refresh::Refused);
    }

    // What the store holds, and what two processes that read it do one after the other.
    #[derive(Debug, Clone)]
    enum Step {
        Load { who: usize, n: u32 },
        Act { who: usize },
        Revoke,
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0_usize..3, 0_u32..8).prop_map(|(who, n)| Step::Load { who, n }),
            6 => (0_usize..3).prop_map(|who| Step::Act { who }),
            1 => Just(Step::Revoke),
            4 => (0_i64..20).prop_map(Step::Wait),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn no_interleaving_of_processes_gives_two_successors_or_life_after_theft(
            steps in prop::collection::vec(step(), 1..60)
        ) {
            let mut row = family(now());
            let mut at = now();
            // What each process has read and not acted upon yet.
            let mut read: [Option<(u32, TokenFamily)>; 3] = Default::default();
            let mut superseded = std::collections::BTreeMap::new();
            let mut stolen = false;
            for step in steps {
                match step {
                    Step::Wait(seconds) => at += TimeDelta::seconds(seconds),
                    Step::Revoke => row.revoked = true,
                    Step::Load { who, n } => read[who] = Some((n, row.clone())),
                    Step::Act { who } => {
                        let Some((n, seen)) = read[who].take() else { continue };
                        match seen.refresh(n, GRACE, at) {
                            Refresh::Rotate => {
                                // The store's update: only if nobody was faster and nobody revoked.
                                if row.seq == seen.seq && !row.revoked {
                                    prop_assert!(!stolen, "life after theft");
                                    prop_assert_eq!(n, row.seq);
                                    let before = superseded.insert(n, at);
                                    prop_assert!(before.is_none(), "two successors of {}", n);
                                    rotate(&mut row, at);
                                }
                            }
                            Refresh::Repeat => {
                                prop_assert!(seen.seq > n && seen.seq - n <= 4);
                                prop_assert!(at < superseded[&n] + GRACE, "after the grace");
                            }
                            Refresh::Stolen => {
                                let gone = superseded.get(&n).is_some_and(|since| at >= *since + GRACE);
                                prop_assert!(gone || seen.seq - n > 4, "an honest use was taken for theft");
                                row.revoked = true;
                                stolen = true;
                            }
                            Refresh::Refused => prop_assert!(seen.revoked || n > seen.seq),
                        }
                    }
                }
            }
        }
    }
}
