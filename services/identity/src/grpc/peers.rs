//! The services that identity calls, in domain types.

use std::{collections::HashMap, future::Future, time::Duration};

use chassis::{Peer, PeerError};
use domain::{DateTime, EmailAddress, Locale, UserId, Utc, Uuid};
use proto::{
    mailer::v1::{SendTransactionalRequest, transactional_service_client::TransactionalServiceClient},
    profile::v1::{
        ExternalId, FindProfileRequest, Profile, profile_service_client::ProfileServiceClient,
        trait_value::Kind,
    },
};
use tonic::{Code, Request, Response, Status};

use crate::events;

/// A relying party waits for userinfo: better no answer than a late one.
const CLAIMS_DEADLINE: Duration = Duration::from_millis(200);
/// Nobody waits at a page for these.
const PATIENT_DEADLINE: Duration = Duration::from_secs(2);

/// Mailer's transactional mail.
#[derive(Clone)]
pub struct Mailer {
    transactional: TransactionalServiceClient<Peer>,
}

/// A mail that mailer's own words make.
pub struct Mail<'a> {
    /// The same on each try, so that a repeat sends nothing.
    pub request_id: Uuid,
    /// Mailer's template.
    pub template: &'static str,
    /// To whom.
    pub address: &'a EmailAddress,
    /// In which language.
    pub locale: Locale,
    /// link, code, minutes.
    pub variables: Vec<(&'static str, String)>,
    /// After it the mail is of no use.
    pub deadline: DateTime<Utc>,
}

/// What became of a mail.
#[derive(Debug)]
pub enum Posted {
    /// Mailer has it: now, or since an earlier try.
    Taken,
    /// It never will be: another try changes nothing.
    Refused(PeerError),
    /// It may be on another try.
    Failed(PeerError),
}

impl Mailer {
    /// Over a channel.
    pub fn new(peer: Peer) -> Self {
        Self { transactional: TransactionalServiceClient::new(peer) }
    }

    /// Hands a mail over.
    pub async fn send(&self, mail: Mail<'_>) -> Posted {
        let variables = mail.variables.into_iter().map(|(name, value)| (name.to_owned(), value));
        let request = SendTransactionalRequest {
            request_id: mail.request_id.to_string(),
            template: mail.template.to_owned(),
            address: mail.address.as_bytes().to_vec(),
            address_class: mail.address.class().name().to_owned(),
            language: mail.locale.tag().to_owned(),
            variables: variables.collect::<HashMap<_, _>>(),
            deadline: Some(events::timestamp(mail.deadline)),
        };
        let mut client = self.transactional.clone();
        let request = within(request, PATIENT_DEADLINE);
        let Err(status) = in_time(PATIENT_DEADLINE, client.send_transactional(request)).await else {
            return Posted::Taken;
        };
        let is_final = matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition);
        let error = PeerError::from(status);
        // An earlier try arrived, though its answer did not: by now the mail would read differently.
        if error.reason_of_peer() == Some("REQUEST_ID_REUSED") {
            return Posted::Taken;
        }
        if is_final { Posted::Refused(error) } else { Posted::Failed(error) }
    }
}

/// Profile's names and dates.
#[derive(Clone)]
pub struct Profiles {
    profiles: ProfileServiceClient<Peer>,
}

/// Claims of OIDC Core 5.1 that profile knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProfileClaims {
    /// Given and family name, in the order of the person's language.
    pub name: Option<String>,
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// female, male or other; nothing for a person who does not say.
    pub gender: Option<String>,
    /// ISO 8601 date.
    pub birthdate: Option<String>,
    /// BCP 47 tag.
    pub locale: Option<String>,
    /// IANA time zone.
    pub zoneinfo: Option<String>,
    /// When any of them changed last, in seconds since 1970.
    pub updated_at: Option<i64>,
    /// E.164.
    pub phone_number: Option<String>,
    /// Where mail arrives.
    pub address: Address,
}

/// The address claim (OIDC Core 5.1.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address {
    /// One or two lines.
    pub street_address: Option<String>,
    /// ISO 3166-2 code.
    pub region: Option<String>,
    /// As its country writes it.
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
}

impl Profiles {
    /// Over a channel.
    pub fn new(peer: Peer) -> Self {
        Self { profiles: ProfileServiceClient::new(peer) }
    }

    /// Whether there is a profile of this user.
    ///
    /// # Errors
    /// Profile did not answer within two seconds.
    pub async fn knows(&self, user_id: UserId) -> Result<bool, PeerError> {
        let external_id = ExternalId { r#type: "user".to_owned(), value: user_id.to_string() };
        let request = within(FindProfileRequest { external_id: Some(external_id) }, PATIENT_DEADLINE);
        let mut client = self.profiles.clone();
        match in_time(PATIENT_DEADLINE, client.find_profile(request)).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// What profile knows of a user. Nothing where there is no profile yet: the fact of a fresh user is on its way.
    ///
    /// # Errors
    /// Profile did not answer within 200 ms: a missing claim would read as a deletion.
    pub async fn claims(&self, user_id: UserId) -> Result<Option<ProfileClaims>, PeerError> {
        let external_id = ExternalId { r#type: "user".to_owned(), value: user_id.to_string() };
        let request = within(FindProfileRequest { external_id: Some(external_id) }, CLAIMS_DEADLINE);
        let mut client = self.profiles.clone();
        match in_time(CLAIMS_DEADLINE, client.find_profile(request)).await {
            Ok(found) => Ok(found.into_inner().profile.as_ref().map(claims)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }
}

fn claims(profile: &Profile) -> ProfileClaims {
    let of = |name: &str| {
        let value = profile.traits.iter().find(|value| value.name == name)?.value.as_ref()?;
        match value.kind.as_ref()? {
            Kind::Text(text) | Kind::Date(text) => Some(text.clone()),
            Kind::Flag(_) | Kind::Number(_) | Kind::Set(_) => None,
        }
    };
    let (given_name, family_name) = (of("given_name"), of("family_name"));
    let family_first = profile.locale.parse() == Ok(Locale::Ja);
    let name = match (&given_name, &family_name) {
        (Some(given), Some(family)) if family_first => Some(format!("{family} {given}")),
        (Some(given), Some(family)) => Some(format!("{given} {family}")),
        (one, other) => one.clone().or_else(|| other.clone()),
    };
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ProfileClaims {
        name,
        given_name,
        family_name,
        gender: of("gender").filter(|gender| gender != "undisclosed"),
        birthdate: of("birth_date"),
        locale: text(&profile.locale),
        zoneinfo: text(&profile.time_zone),
        updated_at: profile.changed_at.map(|at| at.seconds),
        phone_number: of("phone"),
        address: Address {
            street_address: match (of("address_1"), of("address_2")) {
                (Some(first), Some(second)) => Some(format!("{first}\n{second}")),
                (one, other) => one.or(other),
            },
            region: of("prefecture"),
            postal_code: of("postal_code"),
            country: of("country"),
        },
    }
}

// The peer learns the deadline, and so do we.
fn within<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

async fn in_time<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Response<T>, Status> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer,
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

#[cfg(test)]
mod tests {
    use proto::profile::v1::{Trait, TraitValue};

    use super::*;

    fn profile(locale: &str, traits: &[(&str, Kind)]) -> Profile {
        let one = |(name, kind): &(&str, Kind)| Trait {
            name: (*name).to_owned(),
            value: Some(TraitValue { kind: Some(kind.clone()) }),
            ..Trait::default()
        };
        Profile { locale: locale.to_owned(), traits: traits.iter().map(one).collect(), ..Profile::default() }
    }

    #[test]
    fn a_name_has_the_order_of_its_language() {
        let names = [
            ("given_name", Kind::Text("Alice".to_owned())),
            ("family_name", Kind::Text("Tanaka".to_owned())),
            ("birth_date", Kind::Date("1990-02-28".to_owned())),
        ];
        let japanese = claims(&profile("ja", &names));
        assert_eq!(japanese.name.as_deref(), Some("Tanaka Alice"));
        assert_eq!(japanese.birthdate.as_deref(), Some("1990-02-28"));
        assert_eq!(claims(&profile("fr", &names)).name.as_deref(), Some("Alice Tanaka"));
    }

    #[test]
    fn an_address_has_the_parts_that_are_there() {
        let text = |text: &str| Kind::Text(text.to_owned());
        let one = claims(&profile(
            "ja",
            &[
                ("address_1", text("1-1 Kasumigaokamachi")),
                ("address_2", text("Shinjuku")),
                ("prefecture", text("JP-13")),
                ("country", text("JP")),
                ("gender", text("undisclosed")),
            ],
        ));
        let address = Address {
            street_address: Some("1-1 Kasumigaokamachi\nShinjuku".to_owned()),
            region: Some("JP-13".to_owned()),
            postal_code: None,
            country: Some("JP".to_owned()),
        };
        assert_eq!((one.address, one.gender, one.phone_number), (address, None, None));
    }

    #[test]
    fn what_is_not_there_is_no_claim() {
        let one = claims(&profile(
            "",
            &[("family_name", Kind::Text("Tanaka".to_owned())), ("given_name", Kind::Flag(true))],
        ));
        assert_eq!((one.name.as_deref(), one.given_name, one.locale), (Some("Tanaka"), None, None));
    }
}
