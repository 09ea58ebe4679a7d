//! The one key of a process's tests: the issuer signs with it, and so do the services that prove themselves to it.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use domain::{Service, new_id};
use jsonwebtoken::{DecodingKey, EncodingKey};

/// Made once: every test's issuer has the same key id.
pub(crate) static KEY: LazyLock<Key> = LazyLock::new(Key::generate);

/// A P-256 key in the forms that are asked for.
pub(crate) struct Key {
    pub(crate) signs: EncodingKey,
    pub(crate) verifies: DecodingKey,
    /// RFC 7638 thumbprint.
    pub(crate) kid: String,
    pub(crate) x: String,
    pub(crate) y: String,
    /// PKCS#8.
    pem: String,
}

impl Key {
    fn generate() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.expect("random bytes");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).expect("our own key");
        // An uncompressed point (SEC 1 2.3.3): 4, x, y.
        let point = pair.public_key().as_ref();
        let (x, y) =
            (BASE64_URL_SAFE_NO_PAD.encode(&point[1..33]), BASE64_URL_SAFE_NO_PAD.encode(&point[33..]));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()));
        Self {
            signs: EncodingKey::from_ec_der(pkcs8.as_ref()),
            verifies: DecodingKey::from_ec_components(&x, &y).expect("coordinates of our own key"),
            kid,
            x,
            y,
            pem: pem(pkcs8.as_ref()),
        }
    }
}

fn pem(pkcs8: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(pkcs8);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    pem
}

/// A directory with `<short>.pem` of every service, which goes with its owner.
#[derive(Debug)]
pub(crate) struct ClientKeys(PathBuf);

impl ClientKeys {
    pub(crate) fn write() -> Self {
        let keys = Self(std::env::temp_dir().join(format!("kotinos-keys-{}", new_id().simple())));
        fs::create_dir(&keys.0).expect("a new directory among the temporary ones");
        for service in Service::ALL {
            let path = keys.0.join(format!("{}.pem", service.short()));
            let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(KEY.pem.as_bytes())).expect("a key that can be written");
        }
        keys
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ClientKeys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_keys_are_read_as_keys_and_go_with_their_owner() {
        let keys = ClientKeys::write();
        let path = keys.path().to_owned();
        let written = fs::read(path.join("crmsync.pem")).unwrap();
        let key = EncodingKey::from_ec_pem(&written).unwrap();
        assert_eq!(key.as_bytes(), KEY.signs.as_bytes());
        drop(keys);
        assert!(!path.exists());
    }
}
