use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// Live feeds that one fan may have open: a few tabs on a few devices.
const MOST_OF_ONE_FAN: usize = 8;

/// How many live feeds are open, in all and of each fan. Clones share the count.
#[derive(Debug, Clone)]
pub struct Places {
    all: Arc<Semaphore>,
    by_fan: Arc<Mutex<HashMap<UserId, usize>>>,
}

/// Room for one live feed; it is given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    _in_all: OwnedSemaphorePermit,
    by_fan: Arc<Mutex<HashMap<UserId, usize>>>,
    user_id: UserId,
}

impl Places {
    /// Room for so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))), by_fan: Arc::default() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// All are taken, or this fan has enough of them.
    pub fn take(&self, user_id: UserId) -> Result<Place, Error> {
        let in_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Error::Full)?;
        let mut by_fan = self.by_fan.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_fan.entry(user_id).or_default();
        if *count >= MOST_OF_ONE_FAN {
            return Err(Error::Full);
        }
        *count += 1;
        Ok(Place { _in_all: in_all, by_fan: Arc::clone(&self.by_fan), user_id })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_fan = self.by_fan.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_fan.get_mut(&self.user_id) {
            *count -= 1;
            if *count == 0 {
                by_fan.remove(&self.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let places = Places::new(2);
        let (alice, bob) = (UserId::new(), UserId::new());
        let held = [places.take(alice).unwrap(), places.take(bob).unwrap()];
        assert!(matches!(places.take(UserId::new()), Err(Error::Full)));
        drop(held);
        assert!(places.by_fan.lock().unwrap().is_empty());
        assert!(places.take(alice).is_ok());
    }

    #[test]
    fn one_fan_does_not_take_all_places() {
        let places = Places::new(100);
        let alice = UserId::new();
        let held: Vec<Place> = (0..MOST_OF_ONE_FAN).map(|_| places.take(alice).unwrap()).collect();
        assert!(matches!(places.take(alice), Err(Error::Full)));
        assert!(places.take(UserId::new()).is_ok());
        drop(held);
        assert_eq!(places.all.available_permits(), 100);
    }
}
