use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    digest::{SHA256, digest},
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// 256 bits: random ones in a cookie, from which everything about a session follows (its row, the key of its tokens, the
/// proof that a form came from our own page), or a service's own, which seal what a cookie holds.
#[derive(Clone)]
pub struct CookieKey([u8; 32]);

/// The bytes were sealed under another key, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed bytes do not open")]
pub struct NotOpened;

impl CookieKey {
    /// A new one.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn random() -> Result<Self, NotOpened> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NotOpened)?;
        Ok(Self(bytes))
    }

    /// A key of the service itself, which every replica derives from the same secret; `purpose` keeps it apart from others.
    #[must_use]
    pub fn of_secret(secret: &[u8], purpose: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Reads the cookie's value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(32)).then_some(Self(bytes))
    }

    /// The cookie's value.
    #[must_use]
    pub fn to_cookie(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What finds the session's row.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        hash
    }

    /// Seals bytes so that only the holder of the cookie opens them.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let mut bytes = plain.to_vec();
        let nonce = self.aead()?.seal_in_place_append_tag(Aad::empty(), &mut bytes).map_err(|_| NotOpened)?;
        let mut sealed = nonce.as_ref().to_vec();
        sealed.append(&mut bytes);
        Ok(sealed)
    }

    /// Opens sealed bytes.
    ///
    /// # Errors
    /// Another key, or changed bytes.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (nonce, bytes) = sealed.split_at_checked(12).ok_or(NotOpened)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| NotOpened)?;
        let mut bytes = bytes.to_vec();
        let plain = self.aead()?.open_in_place(nonce, Aad::empty(), &mut bytes).map_err(|_| NotOpened)?;
        Ok(plain.to_vec())
    }

    /// Seals bytes into text of a cookie.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn seal_text(&self, plain: &[u8]) -> Result<String, NotOpened> {
        Ok(URL_SAFE_NO_PAD.encode(self.seal(plain)?))
    }

    /// Opens text of a cookie.
    ///
    /// # Errors
    /// Another key, or changed text.
    pub fn open_text(&self, sealed: &str) -> Result<Vec<u8>, NotOpened> {
        self.open(&URL_SAFE_NO_PAD.decode(sealed).map_err(|_| NotOpened)?)
    }

    /// The hidden field of our forms.
    #[must_use]
    pub fn form_token(&self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, b"portal form"))
    }

    /// Whether a form carries our hidden field.
    #[must_use]
    pub fn accepts_form_token(&self, token: &str) -> bool {
        self.form_token().as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn aead(&self) -> Result<RandomizedNonceKey, NotOpened> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"kotinos portal");
        let mut key = [0; 32];
        salt.extract(&self.0)
            .expand(&[b"session tokens"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key))
            .map_err(|_| NotOpened)?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| NotOpened)
    }
}

impl std::fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cookie_opens_what_it_sealed() {
        let key = CookieKey::random().unwrap();
        let sealed = key.seal(b"token").unwrap();
        assert_eq!(CookieKey::parse(&key.to_cookie()).unwrap().open(&sealed).unwrap(), b"token");
        assert_eq!(CookieKey::random().unwrap().open(&sealed), Err(NotOpened));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), Err(NotOpened));
        }
        assert_eq!(key.open(b"short"), Err(NotOpened));
    }

    #[test]
    fn a_key_of_a_secret_is_the_same_everywhere_and_for_one_purpose() {
        let sealed = CookieKey::of_secret(b"pepper", "desk").seal(b"session").unwrap();
        assert_eq!(CookieKey::of_secret(b"pepper", "desk").open(&sealed).unwrap(), b"session");
        assert_eq!(CookieKey::of_secret(b"pepper", "other").open(&sealed), Err(NotOpened));
        assert_eq!(CookieKey::of_secret(b"salt", "desk").open(&sealed), Err(NotOpened));
        let text = CookieKey::of_secret(b"pepper", "desk").seal_text(b"session").unwrap();
        assert_eq!(CookieKey::of_secret(b"pepper", "desk").open_text(&text).unwrap(), b"session");
        assert_eq!(CookieKey::of_secret(b"pepper", "desk").open_text("%"), Err(NotOpened));
    }

    #[test]
    fn a_form_token_belongs_to_its_session() {
        let key = CookieKey::random().unwrap();
        assert!(key.accepts_form_token(&key.form_token()));
        assert!(!key.accepts_form_token(&CookieKey::random().unwrap().form_token()));
        assert!(!key.accepts_form_token(""));
    }

    #[test]
    fn a_cookie_of_another_length_is_none() {
        for wrong in ["", "abc", &"A".repeat(44), "\u{0}"] {
            assert!(CookieKey::parse(wrong).is_none());
        }
    }
}
