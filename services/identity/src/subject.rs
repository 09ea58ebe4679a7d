//! How a client knows a user: by the user id at first-party clients, by a pairwise id at partners (OIDC Core 8).

use aws_lc_rs::cipher::{AES_256, PaddedBlockEncryptingKey, UnboundCipherKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{SessionId, UserId, Uuid};

use crate::{client::Client, keyring::Keyring, sealed::SealError};

/// `sub` of this user at this client.
///
/// # Errors
/// The cipher failed, which it does not for one block.
pub fn subject(keys: &Keyring, client: &Client, user_id: UserId) -> Result<String, SealError> {
    if client.is_first_party() {
        return Ok(user_id.to_string());
    }
    pairwise(keys, "sub", &client.sector(), user_id.into())
}

/// `sid` of this session at this client.
///
/// # Errors
/// As [`subject`].
pub fn session_subject(keys: &Keyring, client: &Client, session_id: SessionId) -> Result<String, SealError> {
    if client.is_first_party() {
        return Ok(session_id.to_string());
    }
    pairwise(keys, "sid", &client.sector(), session_id.into())
}

// One AES-256 block of the id under the sector's key: no table, and reversible by whoever has the key. The key comes
// from the oldest line of the KEK file, so that a new line changes nobody's subject.
fn pairwise(keys: &Keyring, what: &str, sector: &str, id: Uuid) -> Result<String, SealError> {
    let key = keys.oldest().derive(what, sector);
    let mut block = id.as_bytes().to_vec();
    UnboundCipherKey::new(&AES_256, key.as_slice())
        .and_then(PaddedBlockEncryptingKey::ecb_pkcs7)
        .and_then(|cipher| cipher.encrypt(&mut block))
        .map_err(|_| SealError)?;
    // The second block is padding only.
    Ok(URL_SAFE_NO_PAD.encode(&block[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::tests::client, keyring::tests::OLD};

    #[test]
    fn partners_cannot_compare_their_users() {
        let keys = Keyring::parse(OLD).unwrap();
        let user = UserId::new();
        let mut shop = client();
        shop.kind = crate::client::Kind::Partner;
        let mut tickets = shop.clone();
        tickets.redirect_uris = vec!["https://tickets.example/cb".into()];
        let subs = [&client(), &shop, &tickets].map(|client| subject(&keys, client, user).unwrap());
        assert_eq!(subs[0], user.to_string());
        assert_ne!(subs[1], subs[2]);
        assert!(!subs[1].contains(&user.to_string()));
        assert_eq!(subs[1], subject(&keys, &shop, user).unwrap());
    }
}
