use chassis::Secret;

/// Settings of segmentation.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `segmentation`.
    #[arg(
        id = "SEGMENTATION_DATABASE_URL",
        long = "segmentation-database-url",
        env = "SEGMENTATION_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,
}
