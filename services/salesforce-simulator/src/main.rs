//! The CRM's wire protocol for rehearsals and tests; never part of a production install.

use clap::Parser as _;
use salesforce_simulator::{Args, Simulator};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let mut terminate = signal(SignalKind::terminate())?;
    let running = Simulator::start(Args::parse().into_config()?).await?;
    tracing::info!(addr = %running.addr, control_addr = %running.control_addr, "simulator listening");
    tokio::select! {
        _ = terminate.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    running.shutdown().await;
    Ok(())
}
