//! How a client knows a user: by the user id at first-party clients, by a pairwise id at partners (OIDC Core 8).

use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey,
};
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

/// The user whom a client knows by this `sub`.
pub fn user_of(keys: &Keyring, client: &Client, sub: &str) -> Option<UserId> {
    if client.is_first_party() {
        return sub.parse().ok();
    }
    id_of(keys, "sub", &client.sector(), sub).map(UserId::from)
}

/// The session that a client knows by this `sid`.
pub fn session_of(keys: &Keyring, client: &Client, sid: &str) -> Option<SessionId> {
    if client.is_first_party() {
        return sid.parse().ok();
    }
    id_of(keys, "sid", &client.sector(), sid).map(SessionId::from)
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

// Any 16 bytes decrypt to something: whether there is such a user or session is the caller's question.
fn id_of(keys: &Keyring, what: &str, sector: &str, text: &str) -> Option<Uuid> {
    let mut block = URL_SAFE_NO_PAD.decode(text).ok().filter(|block| block.len() == 16)?;
    let key = keys.oldest().derive(what, sector);
    let cipher = UnboundCipherKey::new(&AES_256, key.as_slice()).and_then(DecryptingKey::ecb).ok()?;
    let id = cipher.decrypt(&mut block, DecryptionContext::None).ok()?;
    Uuid::from_slice(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::tests::client, keyring::tests::OLD};

    #[test]
    fn a_name_leads_back_to_its_user_and_session_in_its_sector_only() {
        let keys = Keyring::parse(OLD).unwrap();
        let (user, session) = (UserId::new(), SessionId::new());
        let mut shop = client();
        shop.kind = crate::client::Kind::Partner;
        let mut tickets = shop.clone();
        tickets.redirect_uris = vec!["https://tickets.example/cb".into()];
        for client in [&client(), &shop] {
            let (sub, sid) =
                (subject(&keys, client, user).unwrap(), session_subject(&keys, client, session).unwrap());
            assert_eq!(user_of(&keys, client, &sub), Some(user));
            assert_eq!(session_of(&keys, client, &sid), Some(session));
            assert_ne!(user_of(&keys, &tickets, &sub), Some(user));
        }
        for wrong in ["", "x", "é", &"A".repeat(23), &"A".repeat(44)] {
            assert_eq!(user_of(&keys, &shop, wrong), None);
            assert_eq!(user_of(&keys, &client(), wrong), None);
        }
    }

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
