use std::path::PathBuf;

use chassis::Secret;

/// Settings of identity.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `identity`.
    #[arg(
        id = "IDENTITY_DATABASE_URL",
        long = "identity-database-url",
        env = "IDENTITY_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,

    /// Key encryption keys: lines `id:base64` of 32 random bytes, the first one active. Usually given as a file by
    /// IDENTITY_KEK_FILE. Without it identity does not start.
    #[arg(id = "IDENTITY_KEK", long = "identity-kek", env = "IDENTITY_KEK", hide_env_values = true)]
    pub kek: Option<Secret>,

    /// The issuer: the public URL of identity, without a slash at its end. Tokens carry it as `iss`.
    #[arg(
        id = "IDENTITY_ISSUER",
        long = "identity-issuer",
        env = "IDENTITY_ISSUER",
        default_value = "http://localhost:8101"
    )]
    pub issuer: String,

    /// JSON file with the first clients and staff, applied at each start.
    #[arg(id = "IDENTITY_BOOTSTRAP_FILE", long = "identity-bootstrap-file", env = "IDENTITY_BOOTSTRAP_FILE")]
    pub bootstrap_file: Option<PathBuf>,

    /// Passwords that are known from breaches, as `deploy/breached-list` writes them. Nobody may choose one of them.
    #[arg(id = "IDENTITY_BREACHED_FILE", long = "identity-breached-file", env = "IDENTITY_BREACHED_FILE")]
    pub breached_file: Option<PathBuf>,

    /// Threads that hash passwords; 0 means one a core.
    #[arg(
        id = "IDENTITY_HASH_THREADS",
        long = "identity-hash-threads",
        env = "IDENTITY_HASH_THREADS",
        default_value_t = 0
    )]
    pub hash_threads: usize,

    /// Life of an access token, in seconds: 60 to 900.
    #[arg(
        id = "IDENTITY_ACCESS_TOKEN_SECONDS",
        long = "identity-access-token-seconds",
        env = "IDENTITY_ACCESS_TOKEN_SECONDS",
        default_value_t = 300,
        value_parser = clap::value_parser!(u32).range(60..=900)
    )]
    pub access_token_seconds: u32,
}
