//! `topics`: what is declared beside what the broker has.

use chassis::{Operator, Stop};
use clap::Command;

use super::{published, stop};
use crate::{Class, topics};

pub(super) fn command() -> Command {
    Command::new("topics")
        .about("Compares the topics that this service writes with their declarations")
        .long_about(
            "Compares the topics that this service writes with their declarations: partitions and the settings that \
             readers rely on. Nothing is changed. Exit code 1 when one differs.",
        )
        .after_help("Example: profile topics --json")
}

pub(super) async fn run(operator: Operator) -> Result<(), Stop> {
    let topics = published(&operator)?.topics;
    let process = operator.process();
    let compared = topics::compare(process.settings(), process.service(), topics).await.map_err(stop)?;
    let rows: Vec<_> = compared
        .iter()
        .map(|compared| {
            let class = match compared.topic.class() {
                Class::State => "state",
                Class::Ordered => "ordered",
                Class::Unordered => "unordered",
            };
            vec![
                compared.name.as_str().into(),
                class.into(),
                compared.declared_partitions.into(),
                compared.partitions.into(),
                compared.difference.clone().into(),
            ]
        })
        .collect();
    operator.table(&["topic", "class", "declared_partitions", "partitions", "difference"], &rows)?;
    let different: Vec<&str> = compared
        .iter()
        .filter(|compared| compared.difference.is_some())
        .map(|compared| compared.name.as_str())
        .collect();
    if different.is_empty() {
        return Ok(());
    }
    Err(Stop::failed(format!("not as declared: {}", different.join(", "))))
}
