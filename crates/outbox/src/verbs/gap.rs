//! `consumer accept-gap`: what an operator says to a consumer whose records are gone and that must not read everything
//! again, or need not.

use chassis::{Operator, Stop};

use super::{Consumed, consumers::left, group, stop};
use crate::{
    Error,
    pause::{self, Stopped},
    places::{self, Gap},
};

pub(super) async fn accept(operator: &Operator, one: &Consumed) -> Result<(), Stop> {
    let (name, service) = (one.subscription.name.as_str(), operator.service());
    let stopped = pause::since(&one.pool, service, name).await?;
    let Some(Stopped { refusal: Some(refusal), anew, .. }) = stopped else {
        return Err(Stop::Refused(format!("{name} refuses nothing, there is no gap to accept")));
    };
    operator.confirm(&format!("{refusal}\nwould let {name} go on with what is there"))?;
    // Its processes leave within a second; until then they would commit their own offsets over ours.
    left(operator, name).await?;
    let settings = operator.process().settings();
    let known = places::load(&one.pool, service, name).await?;
    let now = operator.process().clock().now();
    let logs =
        group::places(settings, operator.process().service(), &one.subscription).await.map_err(stop)?;
    let mut moved = Vec::new();
    for log in logs {
        let has_states = one.subscription.collapse.contains(&log.topic);
        let gap = places::gap(has_states, &log.log(), known.get(&log.key()), now);
        // A topic that was made anew may have grown meanwhile, beyond what was read of the old one.
        let is_anew = anew.as_ref() == Some(&log.topic);
        if is_anew || matches!(gap, Some(Gap::Anew { .. } | Gap::Expired { .. })) {
            moved.push((log.key(), log.low));
        }
    }
    tracing::warn!(
        verb = "consumer accept-gap",
        consumer = name,
        "an operator has a consumer go on over a gap"
    );
    let partitions = moved.len();
    group::go_on_at(settings, operator.process().service(), name, moved).await.map_err(stop)?;
    release(one, operator).await?;
    operator.say(&format!("{name} goes on, at the oldest record of {partitions} partitions"))
}

// The places of the old reading would make it refuse again.
async fn release(one: &Consumed, operator: &Operator) -> Result<(), Error> {
    let (name, service) = (one.subscription.name.as_str(), operator.service());
    let mut tx = one.pool.begin().await?;
    places::forget(&mut *tx, service, name).await?;
    pause::clear(&mut *tx, service, name).await?;
    Ok(tx.commit().await?)
}
