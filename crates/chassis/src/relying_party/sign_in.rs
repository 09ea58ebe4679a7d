use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{CookieKey, Error};

/// A sign-in in progress: it travels sealed in the browser.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignIn {
    /// Comes back with the answer (RFC 6749 10.12).
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Proves that the code is ours (RFC 7636).
    pub verifier: String,
    /// Where the person wanted to go: a path of our own.
    pub return_to: String,
}

impl SignIn {
    /// Begins a sign-in that ends at a path of our own: `return_to`, or `home` where that is none.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn begin(return_to: &str, home: &str) -> Result<Self, Error> {
        Ok(Self {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to: local_path(return_to, home).to_owned(),
        })
    }

    /// The sign-in as a cookie's value. It holds a key and what that key seals: not readable by chance, and never stored
    /// here.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn to_cookie(&self) -> Result<String, Error> {
        let key = CookieKey::random().map_err(|_| Error::Random)?;
        let plain = serde_json::to_vec(self).map_err(|_| Error::Random)?;
        let sealed = key.seal(&plain).map_err(|_| Error::Random)?;
        Ok(format!("{}.{}", key.to_cookie(), URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Reads the cookie's value back; none where it is not one of ours.
    #[must_use]
    pub fn from_cookie(text: &str) -> Option<Self> {
        let (key, sealed) = text.split_once('.')?;
        let plain = CookieKey::parse(key)?.open(&URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()?;
        serde_json::from_slice(&plain).ok()
    }

    /// What the issuer is told of the verifier (RFC 7636 4.2).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }
}

/// A path of our own, or `home`: nothing that a browser could read as another host.
#[must_use]
pub fn local_path<'a>(path: &'a str, home: &'a str) -> &'a str {
    let local = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 512
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if local { path } else { home }
}

fn random() -> Result<String, Error> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_our_own_is_returned_to() {
        assert_eq!(local_path("/my/results?day=1", "/my"), "/my/results?day=1");
        for foreign in
            ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a b", "/\r\nSet-Cookie: x"]
        {
            assert_eq!(local_path(foreign, "/my"), "/my", "{foreign}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(600)), "/my"), "/my");
    }

    #[test]
    fn each_sign_in_has_its_own_secrets() {
        let (one, other) = (SignIn::begin("/my", "/").unwrap(), SignIn::begin("/my", "/").unwrap());
        assert_ne!(one.state, other.state);
        assert_ne!(one.verifier, other.verifier);
        assert_eq!(one.verifier.len(), 43, "RFC 7636 4.1 asks for 43 to 128 characters");
    }

    #[test]
    fn a_sign_in_comes_back_as_it_went() {
        let sign_in = SignIn::begin("/my/results", "/my").unwrap();
        let back = SignIn::from_cookie(&sign_in.to_cookie().unwrap()).unwrap();
        assert_eq!((back.state, back.return_to), (sign_in.state, sign_in.return_to));
        for garbage in ["", ".", "a.b", "\u{0}.\u{0}"] {
            assert!(SignIn::from_cookie(garbage).is_none());
        }
    }
}
