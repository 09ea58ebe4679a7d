use chassis::Secret;

/// Settings of mailer.
#[derive(clap::Args, Debug, Clone)]
#[group(skip)] // several services share a command line, and a group is named after its struct
pub struct Config {
    /// PostgreSQL database that holds the schema `mailer`.
    #[arg(
        id = "MAILER_DATABASE_URL",
        long = "mailer-database-url",
        env = "MAILER_DATABASE_URL",
        default_value = "postgres://kotinos@localhost:15432/kotinos",
        hide_env_values = true
    )]
    pub database_url: Secret,

    /// The relay that takes our mail: `smtp://host:port`, `smtp://host:port?starttls=required` or `smtps://host:port`.
    /// With `user:password@` it signs in, which needs TLS.
    #[arg(
        id = "MAILER_RELAY_URL",
        long = "mailer-relay-url",
        env = "MAILER_RELAY_URL",
        default_value = "smtp://localhost:1025",
        hide_env_values = true
    )]
    pub relay_url: Secret,

    /// Where the links of our mails lead: the public URL of mailer, without a slash at its end.
    #[arg(
        id = "MAILER_PUBLIC_URL",
        long = "mailer-public-url",
        env = "MAILER_PUBLIC_URL",
        default_value = "http://localhost:8104"
    )]
    pub public_url: String,

    /// Keys of the tokens in links: lines `id:base64` of 32 random bytes or more. The first one signs, all verify; keep
    /// old ones, since people unsubscribe by old mails. Usually given as a file by MAILER_TOKEN_KEYS_FILE.
    #[arg(
        id = "MAILER_TOKEN_KEYS",
        long = "mailer-token-keys",
        env = "MAILER_TOKEN_KEYS",
        hide_env_values = true
    )]
    pub token_keys: Option<Secret>,

    /// Keys that seal the secrets of transactional mails: lines `id:base64`, the first one active. Usually given as a
    /// file by MAILER_KEK_FILE.
    #[arg(id = "MAILER_KEK", long = "mailer-kek", env = "MAILER_KEK", hide_env_values = true)]
    pub kek: Option<Secret>,

    /// From of transactional mails: an address.
    #[arg(
        id = "MAILER_SERVICE_FROM",
        long = "mailer-service-from",
        env = "MAILER_SERVICE_FROM",
        default_value = "no-reply@kotinos.example"
    )]
    pub service_from: String,
}
