//! The Kafka client's settings that every use shares.

use chassis::{KafkaSecurity, Secret, Settings, Topics};
use domain::Service;
use rdkafka::ClientConfig;

use crate::Error;

/// Of topics and groups: none in production; tests and rehearsals keep theirs apart with it.
pub(crate) fn prefix(settings: &Settings) -> &str {
    &settings.topic_prefix
}

/// The consumer group of a consumer.
pub(crate) fn group(settings: &Settings, consumer: &str) -> String {
    format!("{}kotinos.{consumer}", prefix(settings))
}

/// Whether missing topics are created, or only compared with their declarations.
pub(crate) fn ensures_topics(settings: &Settings) -> bool {
    settings.topics == Topics::Ensure
}

/// Brokers and security.
///
/// # Errors
/// SASL without a user name or password.
pub(crate) fn config(settings: &Settings, service: Service) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.kafka_brokers)
        .set("client.id", format!("kotinos-{}", service.short()))
        // A broker that restarts is met again soon; the client's own maximum is ten seconds.
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true");
    if settings.kafka_security == KafkaSecurity::SaslSsl {
        config
            .set("security.protocol", "sasl_ssl")
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", given(settings.kafka_username.as_ref(), "KOTINOS_KAFKA_USERNAME")?)
            .set("sasl.password", given(settings.kafka_password.as_ref(), "KOTINOS_KAFKA_PASSWORD")?);
        if let Some(ca) = &settings.kafka_ca {
            config.set("ssl.ca.pem", ca.expose());
        }
    }
    Ok(config)
}

fn given(secret: Option<&Secret>, name: &str) -> Result<String, Error> {
    let value = secret.map(Secret::expose).filter(|value| !value.is_empty());
    value.ok_or_else(|| Error::Setting(format!("{name} must be given with KOTINOS_KAFKA_SECURITY=sasl_ssl")))
}
