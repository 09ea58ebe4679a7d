//! How strongly a user signed in: `acr` (OIDC Core 2) and `amr` (RFC 8176).

use serde::{Deserialize, Serialize};

/// A level of `acr`; a greater one includes a smaller one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// One factor: password, mail code or upstream.
    One,
    /// A user-verified passkey, or two factors.
    Two,
}

impl Level {
    /// Every level, best first.
    pub const ALL: [Self; 2] = [Self::Two, Self::One];

    /// The level of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// `acr` in tokens.
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "urn:kotinos:acr:1",
            Self::Two => "urn:kotinos:acr:2",
        }
    }
}

/// By what a user showed at sign-in who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The password alone.
    Password,
    /// The password, and a one-time code or a recovery code.
    PasswordAndCode,
    /// A passkey whose authenticator verified the user.
    Passkey,
}

impl Shown {
    /// The level that it reaches.
    pub const fn level(self) -> Level {
        match self {
            Self::Password => Level::One,
            Self::PasswordAndCode | Self::Passkey => Level::Two,
        }
    }

    /// `amr`: whether the key of a passkey lies in hardware is not known, so that it is `pop`.
    pub fn methods(self) -> Vec<String> {
        let methods: &[&str] = match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp", "mfa"],
            Self::Passkey => &["pop", "user", "mfa"],
        };
        methods.iter().map(|method| (*method).to_owned()).collect()
    }
}

/// What a request asks of the sign-in: `acr_values`, or the claim `acr` (OIDC Core 3.1.2.1, 5.5.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Best first; empty when anything will do.
    pub values: Vec<String>,
    /// Without one of these there is no answer.
    pub essential: bool,
}

/// What becomes of a request once its user is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// The answer says this level.
    With(Level),
    /// The user has to show more, and can.
    StepUp,
    /// The user cannot show what is asked for.
    Unmet,
}

impl Asked {
    /// Judges what was reached and what the user could reach. A wish is asked for once, and then given up.
    pub fn judge(&self, reached: Level, can: Level, asked_before: bool) -> Met {
        if let Some(level) = self.met_by(reached) {
            return Met::With(level);
        }
        if self.met_by(can).is_some() && (self.essential || !asked_before) {
            return Met::StepUp;
        }
        if self.essential { Met::Unmet } else { Met::With(reached) }
    }

    /// What the answer says where so much was reached; nothing where it is not enough.
    pub fn met_by(&self, reached: Level) -> Option<Level> {
        if self.values.is_empty() {
            return Some(reached);
        }
        self.levels().find(|level| *level <= reached)
    }

    /// Whether it cannot do with one factor.
    pub fn wants_more(&self) -> bool {
        !self.values.is_empty() && self.levels().all(|level| level > Level::One)
    }

    fn levels(&self) -> impl Iterator<Item = Level> {
        self.values.iter().filter_map(|value| Level::find(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = Level::One.name();
    const TWO: &str = Level::Two.name();

    #[test]
    fn the_first_value_that_was_reached_is_the_answer() {
        let asked = |values: &str, essential| Asked {
            values: values.split(' ').map(str::to_owned).collect(),
            essential,
        };
        let both = format!("{TWO} {ONE}");
        assert_eq!(Asked::default().judge(Level::Two, Level::Two, false), Met::With(Level::Two));
        assert_eq!(asked(&both, true).judge(Level::One, Level::Two, false), Met::With(Level::One));
        assert_eq!(asked(&both, true).judge(Level::Two, Level::Two, false), Met::With(Level::Two));
        assert_eq!(asked(ONE, true).judge(Level::Two, Level::Two, false), Met::With(Level::One));
    }

    #[test]
    fn more_is_asked_of_a_user_who_can_and_an_essential_wish_is_never_given_up() {
        let asked = |values: &str, essential| Asked {
            values: values.split(' ').map(str::to_owned).collect(),
            essential,
        };
        assert_eq!(asked(TWO, false).judge(Level::One, Level::Two, false), Met::StepUp);
        assert_eq!(asked(TWO, false).judge(Level::One, Level::Two, true), Met::With(Level::One));
        assert_eq!(asked(TWO, true).judge(Level::One, Level::Two, true), Met::StepUp);
        assert_eq!(asked(TWO, true).judge(Level::One, Level::One, false), Met::Unmet);
        assert_eq!(asked(TWO, false).judge(Level::One, Level::One, false), Met::With(Level::One));
        assert_eq!(asked("urn:other", true).judge(Level::Two, Level::Two, false), Met::Unmet);
        assert_eq!(asked("urn:other", false).judge(Level::Two, Level::Two, false), Met::With(Level::Two));
        assert!(asked(TWO, false).wants_more() && !asked(ONE, false).wants_more());
        assert!(!Asked::default().wants_more());
    }
}
