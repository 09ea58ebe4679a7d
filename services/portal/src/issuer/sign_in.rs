use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::Error;

/// A sign-in in progress: it travels sealed in the browser.
#[derive(Debug, Serialize, Deserialize)]
pub struct SignIn {
    /// Comes back with the answer (RFC 6749 10.12).
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Proves that the code is ours (RFC 7636).
    pub verifier: String,
    /// Where the fan wanted to go: a path of our own.
    pub return_to: String,
}

impl SignIn {
    /// Begins a sign-in that ends at a path of our own.
    ///
    /// # Errors
    /// The operating system gives no random bytes.
    pub fn begin(return_to: &str) -> Result<Self, Error> {
        Ok(Self {
            state: random()?,
            nonce: random()?,
            verifier: random()?,
            return_to: local_path(return_to).to_owned(),
        })
    }

    /// What identity is told of the verifier (RFC 7636 4.2).
    pub(super) fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }
}

/// A path of our own, or `/my`: nothing that a browser could read as another host.
#[must_use]
pub fn local_path(path: &str) -> &str {
    let local = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 512
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if local { path } else { "/my" }
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
        assert_eq!(local_path("/my/results?day=1"), "/my/results?day=1");
        for foreign in
            ["//evil.example", "/\\evil.example", "https://evil.example", "", "/a b", "/\r\nSet-Cookie: x"]
        {
            assert_eq!(local_path(foreign), "/my", "{foreign}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(600))), "/my");
    }

    #[test]
    fn each_sign_in_has_its_own_secrets() {
        let (one, other) = (SignIn::begin("/my").unwrap(), SignIn::begin("/my").unwrap());
        assert_ne!(one.state, other.state);
        assert_ne!(one.verifier, other.verifier);
        assert_eq!(one.verifier.len(), 43, "RFC 7636 4.1 asks for 43 to 128 characters");
    }
}
