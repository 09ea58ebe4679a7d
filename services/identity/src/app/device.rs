//! Devices without a browser (RFC 8628): they ask, their users decide at `/device`, they get tokens.

use std::time::Duration;

use domain::Uuid;
use serde::Serialize;

use super::{App, Origin, Refusal, issue::TokenAnswer};
use crate::{
    acr::Level,
    authorization,
    client::{AuthMethod, Client, DEVICE_CODE},
    device_grant::{self, Approval, DeviceGrant, Poll},
    error::Error,
    handle::{Handle, Kind, keyed_hash},
    params::{Params, words},
    scope,
    session::Session,
    store::{self, record::AuditRecord, staff::Consented},
    throttle::Counted,
    token_family,
};

/// The answer to a device (RFC 8628 3.2).
#[derive(Debug, Serialize)]
pub struct DeviceAnswer {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: i64,
    interval: i64,
}

/// What a typed code leads to.
#[derive(Debug)]
pub enum Typed {
    /// A device that waits.
    Found(DeviceGrant),
    /// None, or not any more.
    Unknown,
    /// Not now: too many codes were tried.
    Wait(Duration),
}

/// Two devices get one code once in 25 thousand million times; three in a row never.
const TRIES: usize = 3;

impl App {
    /// A device begins to wait.
    ///
    /// # Errors
    /// A code of RFC 6749 5.2; the database.
    pub async fn start_device(&self, client: &Client, params: &Params) -> Result<DeviceAnswer, Refusal> {
        if !client.may(DEVICE_CODE) {
            return Err(Refusal::new("unauthorized_client", "the client may not use device codes"));
        }
        let asked = match params.get("scope").map(words) {
            None => client.scopes.clone(),
            Some(Some(asked)) => asked,
            Some(None) => return Err(Refusal::new("invalid_scope", "scope must be words of RFC 6749 3.3")),
        };
        let scopes: Vec<String> = asked.into_iter().filter(|scope| client.scopes.contains(scope)).collect();
        if scopes.is_empty() {
            return Err(Refusal::new("invalid_scope", "the client may have none of these scopes"));
        }
        let resources = authorization::resources(client, params)?;
        for _ in 0..TRIES {
            let grant = DeviceGrant::new(
                self.keys(),
                domain::new_id(),
                client.client_id.clone(),
                scopes.clone(),
                resources.clone(),
                self.now(),
            );
            if store::device_grant::insert(&self.db, &grant).await? {
                tracing::info!(client_id = %client, "a device waits for its user");
                return Ok(self.device_answer(&grant));
            }
        }
        Err(Refusal::Failed(Error::Busy))
    }

    fn device_answer(&self, grant: &DeviceGrant) -> DeviceAnswer {
        let (user_code, verification_uri) =
            (device_grant::grouped(&grant.user_code), format!("{}/device", self.issuer()));
        DeviceAnswer {
            device_code: Handle::of(Kind::Device, grant.device_id).mint(self.keys()),
            verification_uri_complete: format!("{verification_uri}?user_code={user_code}"),
            verification_uri,
            user_code,
            expires_in: device_grant::LIFE.num_seconds(),
            interval: device_grant::INTERVAL.num_seconds(),
        }
    }

    /// The device that shows a code which somebody typed. Wrong codes are counted, so that nobody finds one by trying.
    ///
    /// # Errors
    /// The database.
    pub async fn find_device(
        &self,
        typed: &str,
        session: Option<&Session>,
        origin: Origin,
    ) -> Result<Typed, Error> {
        let who = session.map(|session| session.user_id.0.as_bytes().to_vec());
        let counters = [
            (Counted::UserCode, who.map(|who| keyed_hash(self.keys(), "user code", &who))),
            (Counted::UserCodeNetwork, self.network_hash(origin)),
        ];
        if let Some(wait) = self.wait(&counters).await? {
            return Ok(Typed::Wait(wait));
        }
        let grant = match device_grant::typed(typed) {
            Some(code) => store::device_grant::find_by_user_code(&self.db, &code).await?,
            None => None,
        };
        if let Some(grant) = grant.filter(|grant| grant.is_open(self.now())) {
            return Ok(Typed::Found(grant));
        }
        let mut tx = chassis::begin(&self.db).await?;
        self.count(&mut tx, &counters).await?;
        tx.commit().await?;
        Ok(Typed::Unknown)
    }

    /// A device that still waits for its user.
    ///
    /// # Errors
    /// The database.
    pub async fn waiting_device(&self, device_id: Uuid) -> Result<Option<DeviceGrant>, Error> {
        let grant = store::device_grant::load(&self.db, device_id).await?;
        Ok(grant.filter(|grant| grant.is_open(self.now())))
    }

    /// What this user can grant the device.
    ///
    /// # Errors
    /// The database.
    pub async fn device_scopes(
        &self,
        grant: &DeviceGrant,
        client: &Client,
        session: &Session,
    ) -> Result<Vec<String>, Error> {
        let first_party = client.is_first_party();
        let asks_for_staff = grant.scopes.iter().any(|scope| scope::is_staff(scope, first_party));
        // Scopes of staff need two factors.
        let held = if asks_for_staff && session.shown().level() >= Level::Two {
            store::staff::scopes(&self.db, session.user_id).await?
        } else {
            Vec::new()
        };
        Ok(scope::of_user(&grant.scopes, &client.scopes, first_party, &held))
    }

    /// The user decides; false when it is over or was decided before.
    ///
    /// # Errors
    /// The database.
    pub async fn decide_device(
        &self,
        grant: &DeviceGrant,
        client: &Client,
        session: &Session,
        allowed: bool,
    ) -> Result<bool, Error> {
        let now = self.now();
        let scopes = self.device_scopes(grant, client, session).await?;
        let mut tx = chassis::begin(&self.db).await?;
        let decided = if allowed {
            let approval = Approval {
                user_id: session.user_id,
                session_id: session.session_id,
                scopes: scopes.clone(),
                acr: session.shown().level().name().to_owned(),
                amr: session.shown().methods(),
                auth_time: session.pwd_at,
            };
            store::device_grant::allow(&mut *tx, grant.device_id, &approval, now).await?
        } else {
            store::device_grant::deny(&mut *tx, grant.device_id, now).await?
        };
        if !decided {
            return Ok(false);
        }
        if allowed && !client.is_first_party() {
            let consented = Consented { scopes, ..Consented::default() };
            self.consent_within(&mut tx, session.user_id, &client.client_id, &consented).await?;
        }
        let record = AuditRecord {
            actor: session.user_id.to_string(),
            action: "decide_device",
            subject: session.user_id.to_string(),
            client_id: client.client_id.clone(),
            outcome: if allowed { "allowed" } else { "denied" },
            ..AuditRecord::default()
        };
        store::record::insert(&mut *tx, &record, now).await?;
        tx.commit().await?;
        tracing::info!(client_id = %client, user_id = %session.user_id, allowed, "device decided");
        Ok(true)
    }

    /// A device asks for its tokens.
    pub(super) async fn redeem_device(
        &self,
        client: &Client,
        params: &Params,
        jkt: Option<&str>,
    ) -> Result<TokenAnswer, Refusal> {
        let Some(text) = params.get("device_code") else {
            return Err(Refusal::new("invalid_request", "device_code is missing"));
        };
        let unknown = Refusal::new("invalid_grant", "the device code is unknown");
        let Some(handle) = Handle::read(self.keys(), Kind::Device, text) else { return Err(unknown) };
        let now = self.now();
        let polled = store::device_grant::note_poll(&self.db, handle.id, &client.client_id, now).await?;
        let Some((grant, in_a_hurry)) = polled else { return Err(unknown) };
        match grant.poll(in_a_hurry, now) {
            Poll::Allowed => {}
            Poll::Pending => {
                return Err(Refusal::new("authorization_pending", "the user has not decided yet"));
            }
            Poll::SlowDown => return Err(Refusal::new("slow_down", "wait five seconds longer from now on")),
            Poll::Denied => return Err(Refusal::new("access_denied", "the user did not allow it")),
            Poll::Expired => return Err(Refusal::new("expired_token", "the device code has expired")),
            Poll::Used => return Err(Refusal::new("invalid_grant", "the device code was used before")),
        }
        let offline = grant.scopes.iter().any(|scope| scope == "offline_access");
        // A confidential client's refresh tokens are bound to it already (RFC 9449 5).
        let bound_to = jkt.filter(|_| client.auth_method == AuthMethod::None);
        let until = now + token_family::LIFE;
        if !store::device_grant::redeem(&self.db, grant.device_id, offline, bound_to, until, now).await? {
            return Err(Refusal::new("invalid_grant", "the session has ended"));
        }
        let family = store::grant::load_family(&self.db, grant.device_id).await?;
        let Some(family) = family.filter(|family| family.is_live(now)) else {
            return Err(Refusal::new("invalid_grant", "the session has ended"));
        };
        tracing::info!(client_id = %client, user_id = %family.user_id, "device code redeemed");
        Ok(self.first_tokens(client, &family, jkt, now)?)
    }
}
