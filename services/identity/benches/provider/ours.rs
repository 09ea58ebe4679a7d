//! Identity as an installation runs it: its own process, and users that one sign-up was copied to.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::json;
use testkit::{
    Db,
    measure::{Surroundings, free_address, kept, until},
};

use crate::{
    fakes::{Mailer, PARTIES},
    provider::{CALLBACK, PASSWORD, Provider, RELYING_PARTIES, SECRET, address_of, rp_id},
    server::Server,
    web::Client,
};

/// An installation: a database, settings, and as many processes as are started.
pub struct Identity {
    pub db: Db,
    issuer: SocketAddr,
    mailer_address: SocketAddr,
    mailer: Mailer,
    brokers: String,
    folder: tempfile::TempDir,
}

/// One process.
pub struct Process {
    pub server: Server,
    pub http: SocketAddr,
    pub ops: SocketAddr,
}

impl Identity {
    /// An empty one; `parties` are told of ended sessions.
    pub async fn install(surroundings: &Surroundings, parties: Option<SocketAddr>) -> Result<Self> {
        let mailer = Mailer::default();
        let identity = Self {
            db: Db::empty().await,
            issuer: free_address()?,
            mailer_address: mailer.start().await?,
            mailer,
            brokers: surroundings.brokers.clone(),
            folder: tempfile::tempdir()?,
        };
        std::fs::write(identity.path("kek"), "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")?;
        let (pem, jwk) = client_key()?;
        std::fs::write(identity.path("identity.pem"), pem)?;
        std::fs::write(identity.path("bootstrap.json"), bootstrap(parties, &jwk).to_string())?;
        Ok(identity)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a process whose pages and endpoints are there.
    pub fn start(&self, program: &Path, http: SocketAddr) -> Result<Process> {
        let (grpc, ops) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(kept())
            .env("KOTINOS_HTTP_ADDR", http.to_string())
            .env("KOTINOS_GRPC_ADDR", grpc.to_string())
            .env("KOTINOS_OPS_ADDR", ops.to_string())
            .env("KOTINOS_KAFKA_BROKERS", &self.brokers)
            .env("KOTINOS_TOPIC_PREFIX", format!("{}.", self.db.url.rsplit('/').next().unwrap_or_default()))
            .env("KOTINOS_AUTH_ISSUER", self.url())
            .env("KOTINOS_AUTH_CLIENT_KEY_DIR", self.folder.path())
            .env("KOTINOS_EGRESS_ALLOW", "127.0.0.1:*")
            .env("KOTINOS_DRAIN_DELAY", "1s")
            // All load comes from a few clients and one address.
            .env("KOTINOS_CLIENT_RATE", "0")
            .env("KOTINOS_LOG", "warn")
            .env("IDENTITY_DATABASE_URL", &self.db.url)
            .env("IDENTITY_ISSUER", self.url())
            .env("IDENTITY_KEK_FILE", self.path("kek"))
            .env("IDENTITY_BOOTSTRAP_FILE", self.path("bootstrap.json"))
            .env("MAILER_GRPC_URL", format!("http://{}", self.mailer_address));
        let name = format!("identity-{}", http.port());
        Ok(Process { server: Server::start(command, &name, (ops, "/readyz"))?, http, ops })
    }

    /// The port that the issuer's URL names.
    pub const fn issuer(&self) -> SocketAddr {
        self.issuer
    }

    fn url(&self) -> String {
        format!("http://{}", self.issuer)
    }

    pub fn provider(&self, users: i64) -> Arc<Provider> {
        Arc::new(Provider {
            name: "identity",
            address: self.issuer,
            host: self.issuer.to_string(),
            authorize: "/authorize",
            token: "/oauth2/token",
            userinfo: "/oauth2/userinfo",
            introspect: "/oauth2/introspect",
            keys: "/oauth2/keys.json",
            logout: "/logout",
            login_field: "email",
            users,
        })
    }

    /// Signs one user up, and copies the rows: all have one password, and one hash.
    pub async fn fill(&self, users: i64) -> Result<()> {
        self.sign_up(&address_of(0)).await.context("sign-up")?;
        let statements = [
            "insert into identity.user
             select (jsonb_populate_record(own, jsonb_build_object('user_id', gen_random_uuid()))).*
             from identity.user own, generate_series(1, $1)",
            "insert into identity.user_email
             select (jsonb_populate_record(own, jsonb_build_object(
                 'user_id', other.user_id,
                 'address', '\\x' || encode(convert_to('user' || other.n || '@example.jp', 'UTF8'), 'hex'),
                 'address_key', 'user' || other.n || '@example.jp'))).*
             from identity.user_email own,
                 (select user_id, row_number() over () n
                  from identity.user
                  where user_id not in (select user_id from identity.user_email)) other",
            "insert into identity.password
             select (jsonb_populate_record(own, jsonb_build_object('user_id', other.user_id))).*
             from identity.password own, identity.user other
             where other.user_id <> own.user_id",
            "analyze",
        ];
        for (number, statement) in statements.into_iter().enumerate() {
            let query = sqlx::query(statement);
            let query = if number == 0 { query.bind(i32::try_from(users - 1)?) } else { query };
            query.execute(&self.db.pool).await?;
        }
        Ok(())
    }

    /// Sessions of the first user that end so long from now.
    pub async fn add_sessions(&self, count: i64, end: &str) -> Result<()> {
        // UUIDv7 of this moment: older ones would be swept.
        let statement = "insert into identity.browser_session
                (session_id, user_id, epoch, pwd_at, created_at, seen_at, expires_at)
            select (substr(time, 1, 8) || '-' || substr(time, 9, 4) || '-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                user_id, 0, now() - interval '1 day', now() - interval '1 day', now(), now() + $2::text::interval
            from (select user_id from identity.user limit 1) one,
                (select lpad(to_hex((extract(epoch from now()) * 1000)::bigint), 12, '0') time) moment,
                generate_series(1, $1) n";
        sqlx::query(statement).bind(i32::try_from(count)?).bind(end).execute(&self.db.pool).await?;
        Ok(())
    }

    async fn sign_up(&self, address: &str) -> Result<()> {
        let mut client = Client::new(self.issuer, &self.issuer.to_string());
        let answer = client.get("/signup", None).await?;
        let answer = self.submit(&mut client, &answer, &[("email", address)]).await?;
        let mailer = self.mailer.clone();
        until("a mail", Duration::from_secs(20), async || Ok(mailer.code_for(address).is_some())).await?;
        let code = self.mailer.code_for(address).context("a code")?;
        let answer = self.submit(&mut client, &answer, &[("code", &code)]).await?;
        let words = [("password", PASSWORD), ("password_again", PASSWORD)];
        self.submit(&mut client, &answer, &words).await.map(drop)
    }

    // Sends a page's form off, and opens the page that it leads to.
    async fn submit(
        &self,
        client: &mut Client,
        page: &crate::web::Answer,
        fields: &[(&str, &str)],
    ) -> Result<crate::web::Answer> {
        let (action, hidden) = page.form()?;
        let mut form: Vec<(&str, &str)> =
            hidden.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        form.extend(fields);
        let answer = client.post(&action, None, &form).await?;
        let next = answer.location()?.to_owned();
        let answer = client.get(&next, None).await?;
        ensure!(answer.status == 200, "{next}: {}", answer.status);
        Ok(answer)
    }
}

/// The program that was just built, or the one that this setting names.
pub fn program(setting: &str) -> Result<PathBuf> {
    let path =
        std::env::var(setting).with_context(|| format!("{setting} is not set; start by `make bench`"))?;
    Ok(path.into())
}

// With it identity proves itself to itself: it calls the mailer as any service does.
fn client_key() -> Result<(String, serde_json::Value)> {
    let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref())?;
    // 4, then x and y (SEC 1, 2.3.3).
    let point = pair.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key));
    Ok((pem, json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})))
}

fn bootstrap(parties: Option<SocketAddr>, jwk: &serde_json::Value) -> serde_json::Value {
    let secret: String =
        digest(&SHA256, SECRET.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let count = if parties.is_some() { PARTIES } else { RELYING_PARTIES };
    let mut clients: Vec<serde_json::Value> = (0..count)
        .map(|rp| {
            json!({
                "client_id": rp_id(rp), "name": "Bench", "kind": "first_party",
                "token_endpoint_auth_method": "client_secret_basic", "client_secret_sha256": secret,
                "redirect_uris": [CALLBACK],
                "backchannel_logout_uri": parties.map(|address| format!("http://{address}/{rp}")),
                "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
                "scopes": ["openid", "email", "offline_access"],
            })
        })
        .collect();
    clients.push(json!({
        "client_id": "identity", "name": "identity", "kind": "first_party",
        "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [jwk]},
        "grant_types": ["client_credentials"], "audiences": ["kotinos.mailer", "kotinos.profile"],
        "scopes": ["mailer.transactional", "profile.read"],
    }));
    json!({ "clients": clients })
}
