use chassis::Secret;

/// Settings of profile.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `profile`.
    #[arg(
        id = "PROFILE_DATABASE_URL",
        long = "profile-database-url",
        env = "PROFILE_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,
}
