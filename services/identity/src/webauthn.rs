//! What a passkey's authenticator says, and whether it is to be believed (WebAuthn Level 3, 7.1 and 7.2). Attestation is
//! not asked for and not judged: any authenticator that verifies its user will do.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::cose::{self, PublicKey};

/// Longest credential id, in bytes (WebAuthn 5.8.3).
pub const LONGEST_ID: usize = 1_023;
/// Longest client data, authenticator data or attestation object, in bytes.
const LONGEST: usize = 16_384;

/// For whom an authenticator signs.
#[derive(Debug, Clone, Copy)]
pub struct RelyingParty<'a> {
    /// The host that passkeys are bound to.
    pub id: &'a str,
    /// The origin whose pages may ask.
    pub origin: &'a str,
}

/// A new passkey as its authenticator made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The authenticator's name for it.
    pub credential_id: Vec<u8>,
    /// A COSE_Key that [`PublicKey`] reads.
    pub public_key: Vec<u8>,
    /// 0 when the authenticator does not count.
    pub sign_count: u32,
    /// It may be copied to other devices.
    pub backup_eligible: bool,
    /// It is copied.
    pub backed_up: bool,
}

/// What is known of a passkey that signs.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its COSE_Key.
    pub public_key: &'a [u8],
    /// After its last use.
    pub sign_count: u32,
    /// As at registration: it never changes.
    pub backup_eligible: bool,
}

/// What changes with each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// After this use.
    pub sign_count: u32,
    /// It is copied now.
    pub backed_up: bool,
}

/// An answer to `navigator.credentials.get`.
#[derive(Debug, Clone, Copy)]
pub struct Assertion<'a> {
    /// clientDataJSON.
    pub client_data: &'a [u8],
    /// authenticatorData.
    pub authenticator_data: &'a [u8],
    /// Over the latter and the hash of the former.
    pub signature: &'a [u8],
}

/// Why it is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The bytes are not what the standard says.
    #[error("the answer cannot be read")]
    Garbage,
    /// The answer is of the other ceremony.
    #[error("the answer belongs to another ceremony")]
    Type,
    /// It answers another challenge.
    #[error("the challenge is another one")]
    Challenge,
    /// A page of another origin asked, or one inside another's frame.
    #[error("another origin asked")]
    Origin,
    /// It is bound to another host.
    #[error("the passkey is of another relying party")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody was present")]
    NotPresent,
    /// The authenticator did not make sure who it was.
    #[error("the user was not verified")]
    NotVerified,
    /// The flags of backup contradict themselves or what is known.
    #[error("the backup flags contradict themselves")]
    Backup,
    /// A key that is none of ours.
    #[error("the public key cannot be used")]
    Key,
    /// The signature is another's.
    #[error("the signature is wrong")]
    Signature,
    /// The counter did not go up: there may be a copy.
    #[error("the counter did not go up")]
    Counter,
}

/// Judges an answer to `navigator.credentials.create` (7.1).
///
/// # Errors
/// The first rule that it breaks.
pub fn register(
    party: RelyingParty<'_>,
    challenge: &[u8],
    client_data: &[u8],
    attestation: &[u8],
) -> Result<Registered, Invalid> {
    judge_client_data(party, "webauthn.create", challenge, client_data)?;
    let data = AuthenticatorData::parse(&authenticator_data_of(attestation)?)?;
    data.judge(party)?;
    let (credential_id, public_key) = data.credential.ok_or(Invalid::Garbage)?;
    PublicKey::parse(&public_key).ok_or(Invalid::Key)?;
    Ok(Registered {
        credential_id,
        public_key,
        sign_count: data.sign_count,
        backup_eligible: data.flags & BACKUP_ELIGIBLE != 0,
        backed_up: data.flags & BACKED_UP != 0,
    })
}

/// Judges an answer to `navigator.credentials.get` (7.2). Whose passkey it is, is the caller's to know.
///
/// # Errors
/// The first rule that it breaks.
pub fn sign_in(
    party: RelyingParty<'_>,
    challenge: &[u8],
    known: Known<'_>,
    assertion: Assertion<'_>,
) -> Result<Used, Invalid> {
    judge_client_data(party, "webauthn.get", challenge, assertion.client_data)?;
    let data = AuthenticatorData::parse(assertion.authenticator_data)?;
    data.judge(party)?;
    if (data.flags & BACKUP_ELIGIBLE != 0) != known.backup_eligible {
        return Err(Invalid::Backup);
    }
    let key = PublicKey::parse(known.public_key).ok_or(Invalid::Key)?;
    let hash = digest(&SHA256, assertion.client_data);
    if !key.verifies(&[assertion.authenticator_data, hash.as_ref()].concat(), assertion.signature) {
        return Err(Invalid::Signature);
    }
    let counts = data.sign_count != 0 || known.sign_count != 0;
    if counts && data.sign_count <= known.sign_count {
        return Err(Invalid::Counter);
    }
    Ok(Used { sign_count: data.sign_count, backed_up: data.flags & BACKED_UP != 0 })
}

#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default, rename = "crossOrigin")]
    cross_origin: bool,
    #[serde(default, rename = "topOrigin")]
    top_origin: Option<String>,
}

fn judge_client_data(
    party: RelyingParty<'_>,
    kind: &str,
    challenge: &[u8],
    bytes: &[u8],
) -> Result<(), Invalid> {
    if bytes.len() > LONGEST {
        return Err(Invalid::Garbage);
    }
    let data: ClientData = serde_json::from_slice(bytes).map_err(|_| Invalid::Garbage)?;
    if data.kind != kind {
        return Err(Invalid::Type);
    }
    let given = URL_SAFE_NO_PAD.decode(&data.challenge).map_err(|_| Invalid::Challenge)?;
    if !bool::from(given.ct_eq(challenge)) {
        return Err(Invalid::Challenge);
    }
    // Our pages stand in no frame.
    if data.origin != party.origin || data.cross_origin || data.top_origin.is_some() {
        return Err(Invalid::Origin);
    }
    Ok(())
}

const PRESENT: u8 = 0x01;
const VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const HAS_CREDENTIAL: u8 = 0x40;
const HAS_EXTENSIONS: u8 = 0x80;

// WebAuthn 6.1.
struct AuthenticatorData {
    party_hash: [u8; 32],
    flags: u8,
    sign_count: u32,
    credential: Option<(Vec<u8>, Vec<u8>)>,
}

impl AuthenticatorData {
    fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > LONGEST {
            return Err(Invalid::Garbage);
        }
        let mut rest = bytes;
        let party_hash = take(&mut rest)?;
        let [flags] = take(&mut rest)?;
        let sign_count = u32::from_be_bytes(take(&mut rest)?);
        let credential =
            if flags & HAS_CREDENTIAL != 0 { Some(attested_credential(&mut rest)?) } else { None };
        if flags & HAS_EXTENSIONS != 0 {
            let extensions = cose::read(&mut rest).ok_or(Invalid::Garbage)?;
            // None was asked for; what comes all the same says nothing.
            if !extensions.is_map() {
                return Err(Invalid::Garbage);
            }
        }
        if rest.is_empty() {
            Ok(Self { party_hash, flags, sign_count, credential })
        } else {
            Err(Invalid::Garbage)
        }
    }

    fn judge(&self, party: RelyingParty<'_>) -> Result<(), Invalid> {
        if self.party_hash != digest(&SHA256, party.id.as_bytes()).as_ref() {
            return Err(Invalid::RelyingParty);
        }
        if self.flags & PRESENT == 0 {
            return Err(Invalid::NotPresent);
        }
        if self.flags & VERIFIED == 0 {
            return Err(Invalid::NotVerified);
        }
        if self.flags & BACKED_UP != 0 && self.flags & BACKUP_ELIGIBLE == 0 {
            return Err(Invalid::Backup);
        }
        Ok(())
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Invalid> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(Invalid::Garbage)?;
    *bytes = rest;
    Ok(*first)
}

// WebAuthn 6.5.1: the model's id, the credential's id, and a COSE_Key that ends where the next part begins.
fn attested_credential(bytes: &mut &[u8]) -> Result<(Vec<u8>, Vec<u8>), Invalid> {
    let _model: [u8; 16] = take(bytes)?;
    let length = usize::from(u16::from_be_bytes(take(bytes)?));
    if length == 0 || length > LONGEST_ID {
        return Err(Invalid::Garbage);
    }
    let (credential_id, rest) = bytes.split_at_checked(length).ok_or(Invalid::Garbage)?;
    *bytes = rest;
    cose::read(bytes).ok_or(Invalid::Garbage)?;
    let public_key = &rest[..rest.len() - bytes.len()];
    Ok((credential_id.to_vec(), public_key.to_vec()))
}

// WebAuthn 6.5.4: a map of the format, its statement and the authenticator data.
fn authenticator_data_of(attestation: &[u8]) -> Result<Vec<u8>, Invalid> {
    if attestation.len() > LONGEST {
        return Err(Invalid::Garbage);
    }
    let mut rest = attestation;
    let object = cose::read(&mut rest).filter(|_| rest.is_empty()).ok_or(Invalid::Garbage)?;
    let map = object.as_map().ok_or(Invalid::Garbage)?;
    let mut found = map.iter().filter(|(key, _)| key.as_text() == Some("authData"));
    match (found.next().and_then(|(_, data)| data.as_bytes()), found.next()) {
        (Some(data), None) => Ok(data.clone()),
        _ => Err(Invalid::Garbage),
    }
}

#[cfg(test)]
#[path = "webauthn_tests.rs"]
mod tests;
