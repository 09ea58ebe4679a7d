use std::{str::FromStr, sync::Arc};

use http::{Uri, uri::InvalidUri};

/// Where a peer answers: under a name that stands for each of its replicas, or at several places, with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Replicas(Arc<[Uri]>);

impl Replicas {
    pub(crate) fn uris(&self) -> &[Uri] {
        &self.0
    }

    /// The host of the first one, which stands for all.
    pub(super) fn host(&self) -> Option<&str> {
        self.0.first().and_then(Uri::host)
    }
}

impl From<Vec<Uri>> for Replicas {
    fn from(uris: Vec<Uri>) -> Self {
        Self(uris.into())
    }
}

impl FromStr for Replicas {
    type Err = InvalidUri;

    fn from_str(text: &str) -> Result<Self, InvalidUri> {
        text.split(',').map(|uri| uri.trim().parse()).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_commas_between() {
        let replicas: Replicas = "http://10.0.0.1:9102, http://10.0.0.2:9102".parse().unwrap();
        assert_eq!(replicas.uris(), ["http://10.0.0.1:9102", "http://10.0.0.2:9102"]);
        assert_eq!(replicas.host(), Some("10.0.0.1"));
        let one: Replicas = "http://profile:9102".parse().unwrap();
        assert_eq!(one.uris(), ["http://profile:9102"]);
        assert!("".parse::<Replicas>().is_err() && "http://profile:9102,".parse::<Replicas>().is_err());
    }
}
