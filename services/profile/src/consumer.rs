//! Facts of other services, into use cases.

use chassis::Coded;
use domain::{EmailAddress, UserId};
use outbox::{Batch, Failure, Record};
use prost::Message;
use proto::identity::v1 as identity;
use tracing::Instrument;

use crate::{
    Error,
    app::{App, UserState, VerifiedUser},
};

/// The topics that profile follows.
pub const TOPICS: [&str; 1] = ["kotinos.identity.user.v1"];

/// Applies a batch of user states. The effect is versioned by the user's own version, so repeats are harmless.
pub async fn apply(app: App, batch: Batch) -> Result<(), Failure> {
    for record in &batch.records {
        let span = record.span();
        apply_user(&app, record).instrument(span).await?;
    }
    Ok(())
}

async fn apply_user(app: &App, record: &Record) -> Result<(), Failure> {
    // A tombstone only gates; erasure is a protocol of its own.
    let Some(payload) = &record.payload else { return Ok(()) };
    let state = identity::UserState::decode(payload.clone()).map_err(Failure::record)?;
    let state = parse(&state).map_err(Failure::record)?;
    app.follow_user(state).await.map_err(|error| match error.code() {
        chassis::Code::Unavailable => Failure::transient(error),
        _ => Failure::record(error),
    })
}

fn parse(state: &identity::UserState) -> Result<UserState, Error> {
    let user_id: UserId = chassis::parse("user_id", &state.user_id)?;
    let active = state.status() == identity::UserStatus::Active;
    let verified = state.email.as_ref().filter(|email| active && email.verified_at.is_some());
    let verified = match verified {
        Some(email) => Some(VerifiedUser {
            email: EmailAddress::classify(&email.address)
                .map_err(|error| chassis::FieldViolation::new("email.address", error.rule))?,
            locale: state.locale.parse().unwrap_or_default(),
        }),
        None => None,
    };
    Ok(UserState { user_id, version: state.version, verified })
}
