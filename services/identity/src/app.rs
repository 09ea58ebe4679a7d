//! Use cases, a method each. They own the transaction; rules are the aggregates', SQL is the store's.

mod access_token;
mod admin;
mod audit;
mod authorize;
mod bootstrap;
mod breached;
mod changes;
mod client_admin;
mod client_auth;
mod credential_admin;
mod client_keys;
mod clients;
mod deliver;
mod device;
mod dpop;
mod exchange;
mod idle_clients;
mod introspect;
mod key_admin;
mod issue;
mod key_rotation;
mod keys;
mod mail;
mod new_password;
mod own_consents;
mod own_password;
mod par;
mod passkeys;
mod recover;
mod register;
mod republish;
mod revocations;
mod second_factor;
mod seen;
mod sign_in;
mod sign_out;
mod sign_up;
mod step_up;
mod sweep;
mod token;
mod turns;
mod user_admin;
mod userinfo;

use std::{
    net::IpAddr,
    sync::{Arc, RwLock},
    time::Duration,
};

use chassis::{Egress, Metrics, Secret};
use domain::{Clock, DateTime, TimeDelta, UserId, Utc, Uuid};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Notify;

use crate::{
    error::Error,
    grpc::peers::{Mailer, Profiles},
    handle::{Handle, Kind, keyed_hash},
    hash_lane::HashLane,
    keyring::Keyring,
    replays::Replays,
    session::Session,
    store,
    throttle::{Counted, Throttle, Verdict},
    user::Status,
};

pub use crate::store::staff::Consented;
pub use admin::{DeliveryChoice, DeliveryRow, ListedSession, OwnSession, StaffGrant};
pub use audit::{AuditChoice, AuditRow, Fault};
pub use authorize::{Response, Step};
pub use bootstrap::Bootstrap;
pub use breached::BreachedList;
pub use client_admin::{ClientRow, Draft};
#[cfg(fuzzing)]
pub use client_auth::verify_assertion;
pub use client_auth::{ClientProof, Refusal};
pub use credential_admin::{Consent, Credential, CredentialKind};
pub use device::Typed;
pub use dpop::{ProofError, Shown};
pub use key_admin::KeyRow;
use keys::{Held, SigningKeys};
pub use own_consents::OwnConsent;
pub use passkeys::{Added, MadePasskey, Removed, SignedChallenge};
pub use recover::Recovered;
pub use register::RegistrationError;
pub use second_factor::Code;
pub use sign_in::{Entered, Entering, SignIn};
pub use sign_out::{LogoutRequest, SignedOut};
pub use sign_up::{Asked, CodeAnswer, Completed, NewChallenge};
pub use step_up::StepUp;
use turns::Turns;
pub use user_admin::UserChoice;
pub use userinfo::UserinfoError;

/// What identity works with; clones share it.
#[derive(Clone)]
pub struct App {
    db: PgPool,
    clock: Clock,
    settings: Arc<Settings>,
    lane: HashLane,
    signing: Arc<RwLock<Option<SigningKeys>>>,
    held: Arc<tokio::sync::Mutex<Held>>,
    assertions: Replays,
    proofs: Replays,
    client_keys: client_keys::FetchedKeys,
    profiles: Profiles,
    mailer: Mailer,
    egress: Egress,
    metrics: Metrics,
    nudges: Arc<Nudges>,
    revocations: revocations::Feed,
    clients: clients::Clients,
    quiet: client_auth::Quiet,
    quota: client_auth::Quota,
    seen: seen::Seen,
    used_clients: idle_clients::UsedClients,
    guesses: Turns,
}

/// What does not change while identity runs.
pub struct Settings {
    /// `iss`.
    pub issuer: String,
    /// Every key's origin.
    pub keys: Keyring,
    /// The KEK file, read again each second.
    pub kek: Secret,
    /// Life of an access token, in seconds.
    pub access_token_seconds: u32,
    /// Passwords that are known from breaches.
    pub breached: Option<Arc<BreachedList>>,
    /// Where passwords are hashed.
    pub hash_lane: HashLane,
    /// Requests a second of a client that proves itself; 0 is no limit.
    pub client_rate: u32,
}

/// Wakes the workers before their next look.
#[derive(Default)]
struct Nudges {
    mail: Notify,
    logout: Notify,
}

/// Where a request comes from, as far as counters and the audit need it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin {
    /// The peer's address.
    pub ip: Option<IpAddr>,
    /// The browser, where its cookie says so.
    pub browser: Option<KnownBrowser>,
}

/// A browser that came back.
#[derive(Debug, Clone, Copy)]
pub struct KnownBrowser {
    /// Its id.
    pub id: Uuid,
    /// Whose it is, as [`App::mark`] says; 0 where nobody has signed in.
    pub mark: u32,
}

impl App {
    /// Puts the use cases together.
    pub fn new(
        db: PgPool,
        clock: Clock,
        settings: Settings,
        profiles: Profiles,
        mailer: Mailer,
        egress: Egress,
        metrics: Metrics,
    ) -> Self {
        let quota = client_auth::Quota::new(settings.client_rate, &metrics);
        Self {
            db,
            clock,
            lane: settings.hash_lane.clone(),
            settings: Arc::new(settings),
            signing: Arc::default(),
            held: Arc::default(),
            assertions: Replays::default(),
            proofs: Replays::default(),
            client_keys: client_keys::FetchedKeys::default(),
            profiles,
            mailer,
            egress,
            metrics,
            nudges: Arc::default(),
            revocations: revocations::Feed::default(),
            clients: clients::Clients::default(),
            quiet: client_auth::Quiet::default(),
            quota,
            seen: seen::Seen::default(),
            used_clients: idle_clients::UsedClients::default(),
            guesses: Turns::default(),
        }
    }

    /// The same with other connections to the same database.
    #[must_use]
    pub fn on(&self, db: PgPool) -> Self {
        Self { db, ..self.clone() }
    }

    /// The present time.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// `iss`, also the base of every own URL.
    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// The keys behind handles and seals.
    pub fn keys(&self) -> &Keyring {
        &self.settings.keys
    }

    /// The live session behind a cookie.
    ///
    /// # Errors
    /// The database.
    pub async fn session(&self, cookie: &str) -> Result<Option<Session>, Error> {
        let Some(handle) = Handle::read(self.keys(), Kind::Session, cookie) else { return Ok(None) };
        let Some((session, status)) = store::session::load(&self.db, handle.id.into()).await? else {
            return Ok(None);
        };
        let live = status == Status::Active && session.is_live(handle.counter, self.now());
        Ok(live.then_some(session))
    }

    /// The cookie of a session.
    pub fn session_cookie(&self, session: &Session) -> String {
        Handle { kind: Kind::Session, id: session.session_id.into(), counter: session.epoch }
            .mint(self.keys())
    }

    fn address_hash(&self, address_key: &[u8]) -> Vec<u8> {
        keyed_hash(self.keys(), "address", address_key)
    }

    fn user_hash(&self, user_id: UserId) -> Vec<u8> {
        keyed_hash(self.keys(), "user", user_id.0.as_bytes())
    }

    fn network_hash(&self, origin: Origin) -> Option<Vec<u8>> {
        let network = match origin.ip?.to_canonical() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets()[..8].to_vec(),
        };
        Some(keyed_hash(self.keys(), "network", &network))
    }

    /// What the cookie of a browser keeps of the user who signed in there last. It does not lead back to the user.
    pub fn mark(&self, user_id: UserId) -> u32 {
        let hash = keyed_hash(self.keys(), "browser of", user_id.0.as_bytes());
        hash.iter().take(4).fold(0, |mark, byte| mark << 8 | u32::from(*byte)).max(1)
    }

    // The longest wait that any of these counters asks for.
    async fn wait(&self, counters: &[(Counted, Option<Vec<u8>>)]) -> Result<Option<Duration>, Error> {
        Ok(match self.judge(counters).await? {
            Verdict::Wait(wait) => Some(seconds(wait)),
            Verdict::Free | Verdict::Last | Verdict::MailProof => None,
        })
    }

    // The strictest verdict of these counters.
    async fn judge(&self, counters: &[(Counted, Option<Vec<u8>>)]) -> Result<Verdict, Error> {
        let now = self.now();
        let mut strictest = Verdict::Free;
        for (counted, key_hash) in counters {
            let Some(key_hash) = key_hash else { continue };
            let throttle = store::throttle::load(&self.db, *counted, key_hash).await?;
            strictest =
                strictest.max(throttle.map_or(Verdict::Free, |throttle| throttle.judge(*counted, now)));
        }
        Ok(strictest)
    }

    async fn count(
        &self,
        db: &mut PgConnection,
        counters: &[(Counted, Option<Vec<u8>>)],
    ) -> Result<(), Error> {
        for (counted, key_hash) in counters {
            let Some(key_hash) = key_hash else { continue };
            self.count_one(db, *counted, key_hash).await?;
        }
        Ok(())
    }

    // The same where each try costs something: those side by side passed `wait` together. Roll back where there is a wait.
    async fn count_unless_over(
        &self,
        db: &mut PgConnection,
        counters: &[(Counted, Option<Vec<u8>>)],
    ) -> Result<Option<Duration>, Error> {
        for (counted, key_hash) in counters {
            let Some(key_hash) = key_hash else { continue };
            if let Verdict::Wait(wait) = self.count_one(db, *counted, key_hash).await? {
                return Ok(Some(seconds(wait)));
            }
        }
        Ok(None)
    }

    // What the counter made of this try, under its row's lock.
    async fn count_one(
        &self,
        db: &mut PgConnection,
        counted: Counted,
        key_hash: &[u8],
    ) -> Result<Verdict, Error> {
        let now = self.now();
        let before = store::throttle::lock(db, counted, key_hash, now).await?;
        let before = (before.failures > 0).then_some(before);
        let after = Throttle::count(before, counted, now);
        store::throttle::save(db, counted, key_hash, &after).await?;
        Ok(before.map_or(Verdict::Free, |before| before.judge(counted, now)))
    }
}

// A full second at least: `Retry-After` has no smaller unit.
fn seconds(wait: TimeDelta) -> Duration {
    Duration::from_secs(wait.num_seconds().max(0).unsigned_abs() + 1)
}
