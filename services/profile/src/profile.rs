use std::collections::BTreeMap;

use domain::{DateTime, EmailAddress, Locale, ProfileId, UserId, Utc};

use crate::schema::Value;

/// A person: traits, external ids, the verified address, the language for campaigns and CRM.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Its id; also the key of its records on Kafka.
    pub profile_id: ProfileId,
    /// Raised by each change.
    pub version: i64,
    /// Only an active profile is written to.
    pub state: State,
    /// By trait id.
    pub traits: BTreeMap<u16, Trait>,
    /// Keys by which others know the person.
    pub external_ids: Vec<ExternalId>,
    /// The verified address, as identity last told it.
    pub email: Option<EmailAddress>,
    /// The truth for campaigns and CRM; identity's locale is copied at registration only.
    pub locale: Locale,
    /// IANA name.
    pub time_zone: Option<String>,
    /// Set during a dispute or an erasure: only the person's own page sees the profile.
    pub restricted: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub changed_at: DateTime<Utc>,
}

/// Where a profile stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In use.
    Active,
    /// Part of another profile now.
    Merged,
    /// The erasure runs.
    Erasing,
    /// Gone.
    Erased,
}

/// A value, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trait {
    /// The value.
    pub value: Value,
    /// Who said so.
    pub source: Source,
    /// Through which client.
    pub client_id: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Who gave a value. A later one takes precedence: a stale partner cannot overwrite the fan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A file.
    Import,
    /// A partner system.
    Rp,
    /// The person.
    Fan,
}

/// A key by which another system knows the person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalId {
    /// What kind of key.
    pub kind: ExternalIdKind,
    /// The key: an address is here in its folded form.
    pub value: Vec<u8>,
}

/// The kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExternalIdKind {
    /// The user id of identity.
    User,
    /// The verified address.
    Email,
}

/// One edit of a profile: every part is already checked.
#[derive(Debug, Clone, Default)]
pub struct Edit {
    /// Traits to set, by id.
    pub set: BTreeMap<u16, Value>,
    /// Traits to remove.
    pub remove: Vec<u16>,
    /// New language.
    pub locale: Option<Locale>,
    /// New time zone.
    pub time_zone: Option<String>,
}

/// What happened to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It came to be.
    Created,
    /// Traits, language or zone changed.
    Updated,
    /// The verified address changed.
    EmailChanged,
}

/// A change of a profile, and the fields that it touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub happened: Happened,
    /// Names of traits and fields.
    pub fields: Vec<String>,
}

impl Profile {
    /// A profile for a user who has just registered.
    #[must_use]
    pub fn for_user(
        profile_id: ProfileId,
        user_id: UserId,
        email: EmailAddress,
        locale: Locale,
        now: DateTime<Utc>,
    ) -> Self {
        let external_ids = vec![ExternalId::user(user_id), ExternalId::email(&email)];
        Self {
            profile_id,
            version: 1,
            state: State::Active,
            traits: BTreeMap::new(),
            external_ids,
            email: Some(email),
            locale,
            time_zone: None,
            restricted: false,
            created_at: now,
            changed_at: now,
        }
    }

    /// Applies an edit. A value from a weaker source leaves a stronger one as it is. `None` when nothing changes.
    pub fn edit(
        &mut self,
        edit: Edit,
        source: Source,
        client_id: &str,
        now: DateTime<Utc>,
    ) -> Option<Change> {
        let mut fields = Vec::new();
        for (id, value) in edit.set {
            if self.set_trait(id, value, source, client_id, now) {
                fields.push(trait_name(id));
            }
        }
        for id in edit.remove {
            if self.traits.get(&id).is_some_and(|held| held.source <= source) {
                self.traits.remove(&id);
                fields.push(trait_name(id));
            }
        }
        if let Some(locale) = edit.locale.filter(|locale| *locale != self.locale) {
            self.locale = locale;
            fields.push("locale".to_owned());
        }
        if let Some(zone) = edit.time_zone.filter(|zone| Some(zone) != self.time_zone.as_ref()) {
            self.time_zone = Some(zone);
            fields.push("time_zone".to_owned());
        }
        self.changed(Happened::Updated, fields, now)
    }

    /// Follows identity: the user's verified address is now this one.
    pub fn follow_email(&mut self, email: EmailAddress, now: DateTime<Utc>) -> Option<Change> {
        if self.email.as_ref() == Some(&email) {
            return None;
        }
        self.external_ids.retain(|id| id.kind != ExternalIdKind::Email);
        self.external_ids.push(ExternalId::email(&email));
        self.email = Some(email);
        self.changed(Happened::EmailChanged, vec!["email".to_owned()], now)
    }

    /// The profile gets a login: it existed for a newsletter, or was imported.
    pub fn attach_user(&mut self, user_id: UserId, now: DateTime<Utc>) -> Option<Change> {
        let id = ExternalId::user(user_id);
        if self.external_ids.contains(&id) {
            return None;
        }
        self.external_ids.push(id);
        self.changed(Happened::Updated, vec!["external_ids".to_owned()], now)
    }

    /// The user who owns the profile, where there is one.
    #[must_use]
    pub fn is_of(&self, user_id: UserId) -> bool {
        self.external_ids.contains(&ExternalId::user(user_id))
    }

    fn set_trait(
        &mut self,
        id: u16,
        value: Value,
        source: Source,
        client_id: &str,
        now: DateTime<Utc>,
    ) -> bool {
        if let Some(held) = self.traits.get(&id)
            && (held.source > source || (held.value == value && held.source == source))
        {
            return false;
        }
        self.traits.insert(id, Trait { value, source, client_id: client_id.to_owned(), at: now });
        true
    }

    fn changed(&mut self, happened: Happened, fields: Vec<String>, now: DateTime<Utc>) -> Option<Change> {
        if fields.is_empty() {
            return None;
        }
        self.version += 1;
        self.changed_at = now;
        Some(Change { happened, fields })
    }
}

impl ExternalId {
    /// The key of a user of identity.
    #[must_use]
    pub fn user(user_id: UserId) -> Self {
        Self { kind: ExternalIdKind::User, value: user_id.to_string().into_bytes() }
    }

    /// The key of an address.
    #[must_use]
    pub fn email(email: &EmailAddress) -> Self {
        Self { kind: ExternalIdKind::Email, value: email.key() }
    }
}

impl ExternalIdKind {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Email => "email",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::User, Self::Email].into_iter().find(|kind| kind.name() == name)
    }
}

impl State {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Merged => "merged",
            Self::Erasing => "erasing",
            Self::Erased => "erased",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Active, Self::Merged, Self::Erasing, Self::Erased]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

impl Source {
    /// Name on the wire and in SQL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Rp => "rp",
            Self::Fan => "fan",
        }
    }

    /// The source of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        [Self::Import, Self::Rp, Self::Fan].into_iter().find(|source| source.name() == name)
    }
}

fn trait_name(id: u16) -> String {
    crate::schema::by_id(id).map_or_else(|| id.to_string(), |definition| definition.name.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFECTURE: u16 = 8;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
    }

    fn alice() -> Profile {
        let email = EmailAddress::conforming("alice@example.org").unwrap();
        Profile::for_user(ProfileId::new(), UserId::new(), email, Locale::Ja, at(0))
    }

    fn prefecture(value: &str) -> Edit {
        Edit { set: BTreeMap::from([(PREFECTURE, Value::Text(value.to_owned()))]), ..Edit::default() }
    }

    #[test]
    fn a_stale_partner_cannot_overwrite_the_fan() {
        let mut profile = alice();
        assert!(profile.edit(prefecture("JP-13"), Source::Fan, "portal", at(1)).is_some());
        assert_eq!(profile.edit(prefecture("JP-27"), Source::Rp, "shop", at(2)), None);
        assert_eq!(profile.traits[&PREFECTURE].value, Value::Text("JP-13".to_owned()));
        assert_eq!(profile.version, 2);
    }

    #[test]
    fn an_edit_that_changes_nothing_raises_no_version() {
        let mut profile = alice();
        assert!(profile.edit(prefecture("JP-13"), Source::Fan, "portal", at(1)).is_some());
        assert_eq!(profile.edit(prefecture("JP-13"), Source::Fan, "portal", at(2)), None);
        assert_eq!(profile.version, 2);
    }

    #[test]
    fn a_new_address_takes_the_place_of_the_old_key() {
        let mut profile = alice();
        let new = EmailAddress::conforming("alice@example.net").unwrap();
        let change = profile.follow_email(new.clone(), at(1)).unwrap();
        assert_eq!(change.happened, Happened::EmailChanged);
        assert_eq!(profile.external_ids.len(), 2);
        assert!(profile.external_ids.contains(&ExternalId::email(&new)));
        assert_eq!(profile.follow_email(new, at(2)), None);
    }

    proptest! {
        // Whatever the order of arrival, the strongest source wins; among equals the last to come.
        #[test]
        fn the_strongest_source_wins(sources in proptest::collection::vec(0_u8..3, 1..12)) {
            let mut profile = alice();
            let mut expected: Option<(Source, String)> = None;
            for (step, source) in sources.iter().enumerate() {
                let source = [Source::Import, Source::Rp, Source::Fan][usize::from(*source)];
                let value = format!("JP-{:02}", step + 1);
                profile.edit(prefecture(&value), source, "client", at(1));
                if expected.as_ref().is_none_or(|(held, _)| *held <= source) {
                    expected = Some((source, value));
                }
            }
            let (_, value) = expected.unwrap();
            prop_assert_eq!(&profile.traits[&PREFECTURE].value, &Value::Text(value));
        }
    }
}
