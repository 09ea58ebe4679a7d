//! Whether a signed-in user has shown enough for a request, and how to show more.

use domain::UserId;

use super::App;
use crate::{
    acr::{Level, Met, Shown},
    authorization::Request,
    client::Client,
    error::Error,
    progress::Proved,
    scope,
    session::Session,
    store,
};

/// How a user shows more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepUp {
    /// A code in addition to the password of this session.
    Code(Proved),
    /// A passkey.
    Passkey,
    /// Password and code.
    SignIn,
}

impl App {
    /// Judges a request of a user who is signed in.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn judge_level(
        &self,
        request: &Request,
        client: &Client,
        session: &Session,
    ) -> Result<Met, Error> {
        let reached = session.shown().level();
        let mut asked = request.acr();
        // A scope of staff asks for two factors by itself, of a user who holds it.
        let staff = reached < Level::Two
            && asked.values.is_empty()
            && asks_for_staff(request, client)
            && !store::staff::scopes(&self.db, session.user_id).await?.is_empty();
        if staff {
            asked.values.push(Level::Two.name().to_owned());
        }
        if let Some(level) = asked.met_by(reached) {
            return Ok(Met::With(level));
        }
        let can = if self.can_step_up(session.user_id).await? { Level::Two } else { Level::One };
        // A mere wish is given up where no page may be shown.
        Ok(asked.judge(reached, can, request.asked_more || request.prompt_none))
    }

    /// The way for this user to show more.
    ///
    /// # Errors
    /// The database.
    pub async fn step_up(&self, session: &Session) -> Result<StepUp, Error> {
        if store::second_factor::find_totp(&self.db, session.user_id).await?.is_none() {
            return Ok(StepUp::Passkey);
        }
        if session.shown() == Shown::Password && session.is_fresh(self.now()) {
            return Ok(StepUp::Code(Proved::adding(session.user_id, self.now())));
        }
        Ok(StepUp::SignIn)
    }

    async fn can_step_up(&self, user_id: UserId) -> Result<bool, Error> {
        Ok(store::second_factor::find_totp(&self.db, user_id).await?.is_some()
            || !store::passkey::list(&self.db, user_id).await?.is_empty())
    }
}

fn asks_for_staff(request: &Request, client: &Client) -> bool {
    let first_party = client.is_first_party();
    let registered = request.scopes.iter().filter(|scope| client.scopes.contains(scope));
    first_party && registered.into_iter().any(|scope| scope::is_staff(scope, first_party))
}
