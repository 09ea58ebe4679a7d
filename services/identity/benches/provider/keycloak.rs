//! Keycloak, built for PostgreSQL and started as for production, with the same users, clients and cost of a hash.

use std::{path::PathBuf, process::Command, sync::Arc};

use anyhow::{Context, Result, ensure};
use argon2_wide::Memory;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use testkit::{
    Db,
    measure::{free_address, kept},
};

use crate::{
    hash::{self, COST, SALT},
    provider::{CALLBACK, Provider, RELYING_PARTIES, SECRET, rp_id},
    server::Server,
};

const REALM: &str = "bench";

/// Where it was unpacked; none when it could not be had.
pub fn home() -> Option<PathBuf> {
    std::env::var_os("BENCH_KEYCLOAK").map(PathBuf::from).filter(|path| path.is_dir())
}

/// Installs, fills and starts it.
pub async fn start(home: PathBuf, users: i64) -> Result<(Server, Arc<Provider>, Db)> {
    let db = Db::empty().await;
    let (address, management) = (free_address()?, free_address()?);
    let import = home.join("data/import");
    std::fs::create_dir_all(&import)?;
    std::fs::write(import.join("bench-realm.json"), realm().to_string())?;
    let url = url::Url::parse(&db.url)?;
    let settings = [
        ("KC_DB", "postgres".to_owned()),
        ("KC_HEALTH_ENABLED", "true".to_owned()),
        (
            "KC_DB_URL",
            format!(
                "jdbc:postgresql://{}:{}{}",
                url.host_str().unwrap_or("localhost"),
                url.port().unwrap_or(5432),
                url.path()
            ),
        ),
        ("KC_DB_USERNAME", url.username().to_owned()),
        ("KC_DB_PASSWORD", url.password().unwrap_or("unused").to_owned()),
        ("KC_HTTP_ENABLED", "true".to_owned()),
        ("KC_HTTP_HOST", "127.0.0.1".to_owned()),
        ("KC_HTTP_PORT", address.port().to_string()),
        ("KC_HTTP_MANAGEMENT_PORT", management.port().to_string()),
        ("KC_HOSTNAME", format!("http://{address}")),
        ("KC_CACHE", "local".to_owned()),
        ("KC_LOG_LEVEL", "warn".to_owned()),
        // Outside of containers its script gives it half of that, which is less than its sizing guide.
        ("JAVA_OPTS_KC_HEAP", "-Xms512m -Xmx1g".to_owned()),
    ];
    let program = home.join("bin/kc.sh");
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().envs(kept()).envs(settings.iter().cloned());
        command
    };
    let memory = format!("--spi-password-hashing--argon2--memory={}", COST.memory);
    let built = command(&["build"]).output()?;
    ensure!(built.status.success(), "kc.sh build: {}", String::from_utf8_lossy(&built.stdout));
    let command = command(&["start", "--optimized", "--import-realm", &memory]);
    let mut server = Server::start(command, "keycloak", (management, "/health/ready"))?;
    server.ready().await?;
    fill(&db, users).await.context("users of Keycloak")?;
    Ok((server, provider(address, users), db))
}

fn provider(address: std::net::SocketAddr, users: i64) -> Arc<Provider> {
    Arc::new(Provider {
        name: "Keycloak",
        address,
        host: address.to_string(),
        authorize: "/realms/bench/protocol/openid-connect/auth",
        token: "/realms/bench/protocol/openid-connect/token",
        userinfo: "/realms/bench/protocol/openid-connect/userinfo",
        introspect: "/realms/bench/protocol/openid-connect/token/introspect",
        keys: "/realms/bench/protocol/openid-connect/certs",
        logout: "/realms/bench/protocol/openid-connect/logout",
        login_field: "username",
        users,
    })
}

fn realm() -> serde_json::Value {
    let clients: Vec<serde_json::Value> = (0..RELYING_PARTIES)
        .map(|rp| {
            json!({
                "clientId": rp_id(rp), "secret": SECRET, "enabled": true, "protocol": "openid-connect",
                "publicClient": false, "standardFlowEnabled": true, "serviceAccountsEnabled": true,
                "directAccessGrantsEnabled": false, "redirectUris": [CALLBACK],
                // It introspects for a token's audience alone, and a client is not in that of its own tokens.
                "protocolMappers": [{
                    "name": "audience", "protocol": "openid-connect", "protocolMapper": "oidc-audience-mapper",
                    "config": {
                        "included.client.audience": rp_id(rp), "access.token.claim": "true", "introspection.token.claim": "true",
                    },
                }],
            })
        })
        .collect();
    json!({
        "realm": REALM, "enabled": true, "sslRequired": "none", "loginWithEmailAllowed": true,
        "defaultSignatureAlgorithm": "ES256",
        // Identity's; Keycloak's own minute would be over before a run is.
        "accessTokenLifespan": 300,
        // A refresh token is good once, as at identity (RFC 9700 4.14.2); by itself it takes one again and again.
        "revokeRefreshToken": true, "refreshTokenMaxReuse": 0,
        "passwordPolicy": format!("hashAlgorithm(argon2) and hashIterations({})", COST.passes),
        "clients": clients,
    })
}

// By SQL: its import would hash each password. All users have one password, and one hash.
async fn fill(db: &Db, users: i64) -> Result<()> {
    let hash = hash::tag(&mut Memory::new())?;
    let secret =
        json!({"value": STANDARD.encode(hash), "salt": STANDARD.encode(SALT), "additionalParameters": {}});
    let data = json!({
        "hashIterations": COST.passes, "algorithm": "argon2",
        "additionalParameters": {
            "hashLength": ["32"], "memory": [COST.memory.to_string()], "type": ["id"], "version": ["1.3"],
            "parallelism": [COST.lanes.to_string()],
        },
    });
    sqlx::query(
        "insert into user_entity
             (id, email, email_constraint, email_verified, enabled, realm_id, username, first_name, last_name,
              created_timestamp, not_before)
         select gen_random_uuid()::text, address, address, true, true, realm.id, address, 'Alice', 'Tanaka', 0, 0
         from realm, (select 'user' || n || '@example.jp' address from generate_series(0, $1) n) named
         where realm.name = $2",
    )
    .bind(i32::try_from(users - 1)?)
    .bind(REALM)
    .execute(&db.pool)
    .await?;
    sqlx::query(
        "insert into credential (id, type, user_id, created_date, secret_data, credential_data, priority)
         select gen_random_uuid()::text, 'password', user_entity.id, 0, $1, $2, 10
         from user_entity join realm on realm.id = user_entity.realm_id
         where realm.name = $3 and user_entity.service_account_client_link is null",
    )
    .bind(secret.to_string())
    .bind(data.to_string())
    .bind(REALM)
    .execute(&db.pool)
    .await?;
    sqlx::query(
        "insert into user_role_mapping (role_id, user_id)
         select keycloak_role.id, user_entity.id
         from user_entity
         join realm on realm.id = user_entity.realm_id
         join keycloak_role on keycloak_role.realm_id = realm.id and keycloak_role.name = 'default-roles-' || realm.name
         where realm.name = $1 and user_entity.service_account_client_link is null",
    )
    .bind(REALM)
    .execute(&db.pool)
    .await?;
    sqlx::raw_sql("analyze").execute(&db.pool).await?;
    Ok(())
}
