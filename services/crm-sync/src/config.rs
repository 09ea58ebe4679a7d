use chassis::Secret;

/// Settings of crm-sync.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `crmsync`.
    #[arg(
        id = "CRMSYNC_DATABASE_URL",
        long = "crmsync-database-url",
        env = "CRMSYNC_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,

    /// Key from which the keys of each destination are derived: one line `id:base64` of 32 random bytes. It never
    /// changes: recipients know people by keys that come of it. Without it nothing is sent.
    #[arg(id = "CRMSYNC_KEK", long = "crmsync-kek", env = "CRMSYNC_KEK", hide_env_values = true)]
    pub kek: Option<Secret>,

    /// Public keys whose signed agreements count: lines of `id:base64`, Ed25519, 32 bytes each. Without one no agreement
    /// can be proposed.
    #[arg(
        id = "CRMSYNC_AGREEMENT_KEYS",
        long = "crmsync-agreement-keys",
        env = "CRMSYNC_AGREEMENT_KEYS",
        hide_env_values = true
    )]
    pub agreement_keys: Option<Secret>,

    /// RSA private key of the Salesforce connected app, PEM. Without it no Salesforce destination can be reached.
    #[arg(
        id = "CRMSYNC_SALESFORCE_KEY",
        long = "crmsync-salesforce-key",
        env = "CRMSYNC_SALESFORCE_KEY",
        hide_env_values = true
    )]
    pub salesforce_key: Option<Secret>,
}
