//! TLS and SCRAM, as every broker of a production asks for.

use std::time::Duration;

use chassis::{Component, KafkaSecurity, Secret, Settings};
use outbox::Subscription;
use testkit::TestApp;

use crate::world::{SERVICE, STATES, TOPICS, fact, migrator};

const DEADLINE: Duration = Duration::from_secs(30);

fn of_stack(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set, see `deploy/local/stack env test`"))
}

fn secured(settings: &mut Settings) {
    let secret = |text: String| -> Option<Secret> { text.parse().ok() };
    settings.kafka_brokers = of_stack("KOTINOS_TEST_KAFKA_TLS_BROKERS");
    settings.kafka_security = KafkaSecurity::SaslSsl;
    settings.kafka_username = secret(of_stack("KOTINOS_TEST_KAFKA_USER"));
    settings.kafka_password = secret(of_stack("KOTINOS_TEST_KAFKA_PASSWORD"));
    settings.kafka_ca = secret(format!("file:{}", of_stack("KOTINOS_TEST_KAFKA_CA")));
}

#[tokio::test]
async fn facts_go_and_come_by_tls_with_a_password() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let app = TestApp::start_with(SERVICE, secured, |process, url| async move {
        let pool = process.database(&url.parse()?);
        let component = Component::new(SERVICE).database(pool.clone(), migrator());
        let component = outbox::publish(component, &process, &pool, TOPICS);
        let reads = Subscription::new("mailer.secured", &[STATES.name()]);
        Ok(vec![outbox::consume(component, &process, &pool, reads, move |batch| {
            for record in batch.records {
                // The test has gone when nobody listens.
                let _ = tell.send(record);
            }
            std::future::ready(Ok(()))
        })])
    })
    .await;
    let mut tx = app.pool.begin().await.unwrap();
    outbox::append(&mut tx, SERVICE, &fact(&STATES, "alice", 1)).await.unwrap();
    tx.commit().await.unwrap();
    let record = tokio::time::timeout(DEADLINE, told.recv()).await.unwrap().unwrap();
    assert_eq!((record.key.as_str(), record.version), ("alice", 1));
    app.stop().await;
}

async fn refusal(change: impl FnOnce(&mut Settings) + Send + 'static) -> String {
    let starts = TestApp::start_with(SERVICE, change, |process, url| async move {
        let pool = process.database(&url.parse()?);
        let component = Component::new(SERVICE).database(pool.clone(), migrator());
        Ok(vec![outbox::publish(component, &process, &pool, TOPICS)])
    });
    let failed = tokio::spawn(starts).await.err().expect("a process that does not start");
    *failed.into_panic().downcast::<String>().unwrap()
}

#[tokio::test]
async fn without_a_password_the_process_does_not_start() {
    let why = refusal(|settings| {
        secured(settings);
        settings.kafka_password = None;
    })
    .await;
    assert!(
        why.contains("KOTINOS_KAFKA_PASSWORD must be given with KOTINOS_KAFKA_SECURITY=sasl_ssl"),
        "{why}"
    );
}
