//! Topics as declared: created, or compared.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chassis::{Process, Settings};
use domain::Service;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
};

use crate::{Error, Topic, client};

const WAIT: Duration = Duration::from_secs(5);
/// Partitions of a topic under a prefix: tests and rehearsals have few keys, and a broker many such topics.
const PREFIXED_PARTITIONS: i32 = 2;

pub(crate) type Client = Arc<AdminClient<DefaultClientContext>>;

struct Wanted {
    topic: &'static Topic,
    name: String,
    partitions: i32,
}

fn wanted(settings: &Settings, topics: &[&'static Topic]) -> Vec<Wanted> {
    let prefix = client::prefix(settings);
    let partitions = |topic: &Topic| {
        if prefix.is_empty() { topic.partitions.0 } else { PREFIXED_PARTITIONS.min(topic.partitions.0) }
    };
    let wanted = topics.iter().map(|topic| Wanted {
        topic,
        name: format!("{prefix}{}", topic.name),
        partitions: partitions(topic),
    });
    wanted.collect()
}

pub(crate) async fn admin(settings: &Settings, service: Service) -> Result<Client, Error> {
    let mut config = client::config(settings, service)?;
    // Where a broker makes topics by itself, asking for one that is missing would make it, with the broker's settings.
    config.set("allow.auto.create.topics", "false");
    Ok(Arc::new(blocking(move || config.create()).await?))
}

// The client's own calls wait for the broker, and dropping it waits for its thread.
pub(crate) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, Error> {
    let answer = tokio::task::spawn_blocking(ask).await;
    Ok(answer.map_err(|_| Error::Kafka(KafkaError::Canceled))??)
}

// Partitions of each topic that exists.
async fn existing(client: &Client, names: Vec<String>) -> Result<HashMap<String, i32>, Error> {
    let client = Arc::clone(client);
    blocking(move || {
        let mut found = HashMap::new();
        for name in names {
            let metadata = client.inner().fetch_metadata(Some(&name), WAIT)?;
            let partitions = metadata
                .topics()
                .iter()
                .find(|topic| topic.name() == name)
                .map_or(0, |topic| topic.partitions().len());
            if partitions > 0 {
                found.insert(name, i32::try_from(partitions).unwrap_or(i32::MAX));
            }
        }
        Ok(found)
    })
    .await
}

/// Creates the topics that do not exist, and says where the others differ without changing them.
pub(crate) async fn ensure(
    settings: &Settings,
    service: Service,
    topics: &'static [&'static Topic],
) -> Result<(), Error> {
    let client = admin(settings, service).await?;
    let wanted = wanted(settings, topics);
    let found = existing(&client, wanted.iter().map(|wanted| wanted.name.clone()).collect()).await?;
    let missing: Vec<&Wanted> = wanted.iter().filter(|wanted| !found.contains_key(&wanted.name)).collect();
    if !missing.is_empty() {
        create(&client, &missing).await?;
    }
    for wanted in &wanted {
        if let Some(partitions) = found.get(&wanted.name)
            && *partitions != wanted.partitions
        {
            tracing::warn!(
                topic = wanted.name,
                partitions,
                declared = wanted.partitions,
                "a topic is not as declared"
            );
        }
    }
    close(client).await;
    Ok(())
}

async fn create(client: &Client, missing: &[&Wanted]) -> Result<(), Error> {
    let configs: Vec<Vec<(&str, String)>> = missing.iter().map(|wanted| wanted.topic.config()).collect();
    // Replication is the broker's default (KIP-464): one on a laptop, three in production.
    let new: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(&configs)
        .map(|(wanted, config)| {
            let new = NewTopic::new(&wanted.name, wanted.partitions, TopicReplication::Fixed(-1));
            config.iter().fold(new, |new, (key, value)| new.set(key, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
    for result in client.create_topics(&new, &options).await? {
        match result {
            Ok(topic) => tracing::info!(topic, "created a topic"),
            // Another replica was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, error)) => return Err(Error::Topic { topic, difference: error.to_string() }),
        }
    }
    let names: Vec<String> = missing.iter().map(|wanted| wanted.name.clone()).collect();
    // The controller made them; each broker learns of it a little later.
    for _ in 0..50 {
        if existing(client, names.clone()).await?.len() == names.len() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(Error::Kafka(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition)))
}

/// Compares the topics with their declarations.
///
/// # Errors
/// [`Error::Topic`] names the first difference.
pub(crate) async fn verify(
    settings: &Settings,
    service: Service,
    topics: &'static [&'static Topic],
) -> Result<(), Error> {
    for compared in compare(settings, service, topics).await? {
        if let Some(difference) = compared.difference {
            return Err(Error::Topic { topic: compared.name, difference });
        }
    }
    Ok(())
}

/// A topic on the broker beside its declaration.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) topic: &'static Topic,
    /// On the broker.
    pub(crate) name: String,
    pub(crate) declared_partitions: i32,
    /// None where it does not exist.
    pub(crate) partitions: Option<i32>,
    /// The first thing that is not as declared.
    pub(crate) difference: Option<String>,
}

/// Looks at each topic.
pub(crate) async fn compare(
    settings: &Settings,
    service: Service,
    topics: &'static [&'static Topic],
) -> Result<Vec<Compared>, Error> {
    let client = admin(settings, service).await?;
    let wanted = wanted(settings, topics);
    let found = existing(&client, wanted.iter().map(|wanted| wanted.name.clone()).collect()).await?;
    let mut compared = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let partitions = found.get(&wanted.name).copied();
        let difference = match partitions {
            None => Some("it does not exist".to_owned()),
            Some(partitions) if partitions != wanted.partitions => {
                Some(format!("it has {partitions} partitions, declared are {}", wanted.partitions))
            }
            Some(_) => differing_setting(&client, &wanted).await?,
        };
        let Wanted { topic, name, partitions: declared_partitions } = wanted;
        compared.push(Compared { topic, name, declared_partitions, partitions, difference });
    }
    close(client).await;
    Ok(compared)
}

async fn differing_setting(client: &Client, wanted: &Wanted) -> Result<Option<String>, Error> {
    let options = AdminOptions::new().request_timeout(Some(WAIT));
    let described = client.describe_configs(&[ResourceSpecifier::Topic(&wanted.name)], &options).await?;
    let Some(described) = described.into_iter().next() else { return Ok(None) };
    let described = described.map_err(|error| Error::Kafka(KafkaError::AdminOp(error)))?;
    for (name, value) in wanted.topic.config() {
        let found = described.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        if found != value {
            return Ok(Some(format!("{name} is {found}, declared is {value}")));
        }
    }
    Ok(None)
}

pub(crate) async fn close(client: Client) {
    let _ = tokio::task::spawn_blocking(move || drop(client)).await;
}

/// Deletes every topic under the process's prefix, for tests and rehearsals.
///
/// # Errors
/// Without a prefix nothing is deleted; else what Kafka answers.
pub async fn delete_prefixed(process: &Process) -> Result<(), Error> {
    let prefix = client::prefix(process.settings()).to_owned();
    if prefix.is_empty() {
        return Err(Error::Setting("topics are deleted only under a prefix".to_owned()));
    }
    let client = admin(process.settings(), process.service()).await?;
    let all = Arc::clone(&client);
    let names = blocking(move || {
        let metadata = all.inner().fetch_metadata(None, WAIT)?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        Ok(names.filter(|name| name.starts_with(&prefix)).collect::<Vec<_>>())
    })
    .await?;
    if !names.is_empty() {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        client.delete_topics(&names, &AdminOptions::new().request_timeout(Some(WAIT))).await?;
    }
    close(client).await;
    Ok(())
}
