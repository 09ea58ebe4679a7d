//! Every service in one process, for a laptop and for rehearsals. A list of components: no rule of its own.

use std::process::ExitCode;

use chassis::{Component, Process, StartError};
use domain::Service;

/// Every service's own settings, as they have them alone.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
struct Config {
    #[command(flatten)]
    identity: identity::Config,
    #[command(flatten)]
    profile: profile::Config,
    #[command(flatten)]
    segmentation: segmentation::Config,
    #[command(flatten)]
    mailer: mailer::Config,
    #[command(flatten)]
    crm_sync: crm_sync::Config,
    #[command(flatten)]
    results_feed: results_feed::Config,
    #[command(flatten)]
    portal: portal::Config,
}

async fn components(config: Config, process: Process) -> Result<Vec<Component>, StartError> {
    Ok(vec![
        identity::component(config.identity, process.clone()).await?,
        profile::component(config.profile, process.clone()).await?,
        segmentation::component(config.segmentation, process.clone()).await?,
        mailer::component(config.mailer, process.clone()).await?,
        crm_sync::component(config.crm_sync, process.clone()).await?,
        results_feed::component(config.results_feed, process.clone()).await?,
        portal::component(config.portal, process).await?,
    ])
}

fn main() -> ExitCode {
    // Those of identity are everybody's and its own.
    chassis::run_all(Service::AllInOne, components, &identity::VERBS)
}
