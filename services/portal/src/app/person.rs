use std::collections::BTreeMap;

use chassis::Peer;
use domain::{Locale, Purpose, Service, Uuid};

use super::{App, Fan};
use crate::{
    Error,
    grpc::{
        identity::{self, Session},
        profile::{self, Answer, Edit, Line, Notice, Profile},
    },
};

/// How long a page waits for a new user's profile, which is on its way.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);
/// How often it looks.
const LOOK: std::time::Duration = std::time::Duration::from_millis(50);

/// Purposes that the consent page offers, in its order.
pub const OFFERED: [Purpose; 4] =
    [Purpose::CommitteeNewsletter, Purpose::IocNewsletter, Purpose::OpenTracking, Purpose::Profiling];

/// A signed-in fan with the profile.
#[derive(Debug, Clone)]
pub struct Person {
    /// The session.
    pub fan: Fan,
    /// The profile.
    pub profile: Profile,
}

/// What the account form sends.
#[derive(Debug, Clone, Default)]
pub struct AccountForm {
    /// Text by trait.
    pub texts: BTreeMap<&'static str, String>,
    /// Days by trait.
    pub dates: BTreeMap<&'static str, String>,
    /// Sets by trait.
    pub sets: BTreeMap<&'static str, Vec<String>>,
    /// Language.
    pub locale: Option<Locale>,
}

/// One purpose on the consent page.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The purpose.
    pub purpose: Purpose,
    /// The words to agree to; without them nothing can be agreed.
    pub notice: Option<Notice>,
    /// Whether it is given now.
    pub given: bool,
    /// The newest answer; none where the fan said nothing yet.
    pub answer: Option<Line>,
}

/// What the consent form says of one purpose.
#[derive(Debug, Clone)]
pub struct ConsentChoice {
    /// The purpose.
    pub purpose: Purpose,
    /// Ticked or not.
    pub wanted: bool,
    /// Version of the notice that was on the page.
    pub notice_version: u32,
    /// Its language; none where the form names none that we have.
    pub notice_language: Option<Locale>,
}

impl Person {
    /// Codes of the sports that the fan follows, Olympic ones first.
    #[must_use]
    pub fn favourites(&self) -> Vec<String> {
        let sets = ["favourite_olympic_sports", "favourite_paralympic_sports"];
        sets.iter().filter_map(|name| self.profile.sets.get(*name)).flatten().cloned().collect()
    }
}

impl App {
    /// The fan's profile. The fact of a new user takes a moment to become a profile: the page waits for it a little.
    pub async fn person(&self, fan: Fan) -> Result<Person, Error> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(profile) = profile::find(self.profile_of(&fan), fan.user_id).await? {
                return Ok(Person { fan, profile });
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(Error::BeingPrepared);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Saves the account form.
    pub async fn save_account(
        &self,
        person: &Person,
        request_id: Uuid,
        form: AccountForm,
    ) -> Result<(), Error> {
        let edit = Edit { texts: form.texts, dates: form.dates, sets: form.sets, locale: form.locale };
        profile::update(self.profile_of(&person.fan), &person.profile, request_id, edit).await
    }

    /// What the consent page offers: only what has words in the page's language.
    pub async fn offers(&self, person: &Person, locale: Locale) -> Result<Vec<Offer>, Error> {
        let (peer, now) = (self.profile_of(&person.fan), self.clock.now());
        let consents = profile::consents(peer.clone(), &person.profile.profile_id).await?;
        let answers = profile::history(peer.clone(), &person.profile.profile_id).await?;
        let notices = profile::notices(peer, locale).await?;
        let offer = |purpose: Purpose| Offer {
            purpose,
            notice: notices.iter().find(|notice| notice.purpose == purpose.name()).cloned(),
            given: consents.get(purpose.name()).is_some_and(|head| head.permits(now)),
            answer: answers.iter().find(|line| line.purpose == purpose.name()).cloned(),
        };
        Ok(OFFERED.into_iter().map(offer).collect())
    }

    /// Records what changed on the consent page: a tick gives, a removed tick withdraws, the rest stays unsaid.
    pub async fn save_consents(
        &self,
        person: &Person,
        request_id: Uuid,
        choices: Vec<ConsentChoice>,
    ) -> Result<(), Error> {
        let (peer, now) = (self.profile_of(&person.fan), self.clock.now());
        let held = profile::consents(peer.clone(), &person.profile.profile_id).await?;
        let mut answers = Vec::new();
        for choice in choices {
            let given = held.get(choice.purpose.name()).is_some_and(|head| head.permits(now));
            let purpose = choice.purpose.name().to_owned();
            match (choice.wanted, given) {
                (true, false) => {
                    let language = choice.notice_language.ok_or(Error::NoticeOutOfDate)?;
                    let notice = Some((choice.notice_version, language.tag().to_owned()));
                    answers.push(Answer { purpose, status: "given", notice });
                }
                (false, true) => answers.push(Answer { purpose, status: "withdrawn", notice: None }),
                (true, true) | (false, false) => {}
            }
        }
        if answers.is_empty() {
            return Ok(());
        }
        profile::record(peer, &person.profile.profile_id, request_id, answers).await
    }

    /// The fan's own history of answers.
    pub async fn history(&self, person: &Person) -> Result<Vec<Line>, Error> {
        profile::history(self.profile_of(&person.fan), &person.profile.profile_id).await
    }

    /// The fan's sessions at identity.
    pub async fn identity_sessions(&self, fan: &Fan) -> Result<Vec<Session>, Error> {
        let peer = self.process.peer_with_token(Service::Identity, &fan.access_token);
        identity::sessions(peer, fan.user_id).await
    }

    /// Ends one of them; identity tells the sites that it was used at, this one too.
    pub async fn end_identity_session(&self, fan: &Fan, session_id: &str) -> Result<(), Error> {
        let peer = self.process.peer_with_token(Service::Identity, &fan.access_token);
        identity::end_session(peer, fan.user_id, session_id).await
    }

    fn profile_of(&self, fan: &Fan) -> Peer {
        self.process.peer_with_token(Service::Profile, &fan.access_token)
    }
}
