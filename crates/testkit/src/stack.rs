//! Where the PostgreSQL and the Kafka of the tests are.

use domain::new_id;

const DATABASE: &str = "KOTINOS_TEST_DATABASE_URL";
const BROKERS: &str = "KOTINOS_TEST_KAFKA_BROKERS";

/// URL of a superuser's maintenance database.
pub(crate) fn database_url() -> String {
    setting(DATABASE)
}

/// Of the plain listener.
pub(crate) fn kafka_brokers() -> String {
    setting(BROKERS)
}

/// A name that nothing else has: of a database, and of the topics beside it.
pub(crate) fn fresh_name() -> String {
    let id = new_id().simple().to_string();
    // The first half of a UUIDv7 is the time, which tests that start together share.
    format!("t{}", &id[20..])
}

fn setting(name: &str) -> String {
    std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| {
        panic!(
            "{name} is not set: run `make test`, or one crate's tests with \
             `deploy/local/stack run test -- cargo test -p <crate>`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_name_is_a_name_of_a_database_and_never_the_same() {
        let names: std::collections::BTreeSet<String> = (0..1_000).map(|_| fresh_name()).collect();
        assert_eq!(names.len(), 1_000);
        let fits = |name: &String| {
            name.len() == 13 && name.starts_with('t') && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        assert!(names.iter().all(fits));
    }
}
