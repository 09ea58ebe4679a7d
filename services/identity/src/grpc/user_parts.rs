//! Messages of UserService into arguments of its use cases, and their answers back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{EmailAddress, Locale, UserId, Uuid};
use proto::identity::v1::{
    self as wire, BatchGetSubjectsRequest, ChangeEmailRequest, CreateUserRequest, DeleteCredentialRequest,
    EraseUserRequest, ListUsersRequest, UserStatus,
};

use super::parse::Violations;
use crate::{
    app::{Consent, Credential, CredentialKind, UserChoice},
    error::Error,
    events,
    user::Status,
};

const SHORTEST_PREFIX: usize = 3;
const LONGEST_PREFIX: usize = 254;
const MOST_SUBJECTS: usize = 1_000;

/// Which users a list is of.
pub fn choice(request: &ListUsersRequest) -> Result<UserChoice, Error> {
    let mut wrong = Violations::default();
    let after = match request.page_token.as_str() {
        "" => None,
        token => wrong.parse("page_token", token),
    };
    let status = match UserStatus::try_from(request.status) {
        Ok(UserStatus::Unspecified) => None,
        Ok(UserStatus::Active) => Some(Status::Active),
        Ok(UserStatus::Disabled) => Some(Status::Disabled),
        Ok(UserStatus::Erased) | Err(_) => {
            wrong.add("status", "must be active or disabled: of an erased user there is nothing to list");
            None
        }
    };
    let prefix = prefix(&mut wrong, &request.address_prefix);
    wrong.done(Some(UserChoice { status, prefix, after }))
}

// As addresses are looked up: letters of ASCII are small.
fn prefix(wrong: &mut Violations, bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    match text {
        Some(text) if (SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&text.len()) => {
            Some(text.to_ascii_lowercase())
        }
        _ => {
            wrong.add("address_prefix", "must be 3 to 254 bytes of UTF-8");
            None
        }
    }
}

/// A user to be made.
pub fn new_user(request: &CreateUserRequest) -> Result<(Uuid, EmailAddress, Locale), Error> {
    let mut wrong = Violations::default();
    let request_id = wrong.parse::<UserId>("request_id", &request.request_id).map(Uuid::from);
    if request_id.is_some_and(|id| id.get_version_num() != 7) {
        wrong.add("request_id", "must be a UUIDv7");
    }
    let email = address(&mut wrong, &request.address);
    let locale = wrong.parse("locale", &request.locale);
    let both = request_id.zip(email).zip(locale);
    wrong.done(both.map(|((request_id, email), locale)| (request_id, email, locale)))
}

/// Another address for a user.
pub fn new_email(request: &ChangeEmailRequest) -> Result<(UserId, Option<i64>, EmailAddress), Error> {
    let mut wrong = Violations::default();
    let user_id = wrong.parse("user_id", &request.user_id);
    let version = wrong.version(request.expected_version);
    let email = address(&mut wrong, &request.address);
    wrong.reason(&request.reason);
    let (user_id, email) = wrong.done(user_id.zip(email))?;
    Ok((user_id, version, email))
}

// One that this service gives out keeps the rules; what came from elsewhere may not.
fn address(wrong: &mut Violations, bytes: &[u8]) -> Option<EmailAddress> {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let address = EmailAddress::conforming(text).ok();
    if address.is_none() {
        wrong.add("address", "must be an address that conforms to RFC 5321");
    }
    address
}

/// A user to be erased.
pub fn erasure(request: &EraseUserRequest) -> Result<(UserId, Option<i64>, Uuid), Error> {
    let mut wrong = Violations::default();
    let request_id = wrong.parse::<UserId>("request_id", &request.request_id).map(Uuid::from);
    let user_id = wrong.parse("user_id", &request.user_id);
    let version = wrong.version(request.expected_version);
    wrong.reason(&request.reason);
    let (user_id, request_id) = wrong.done(user_id.zip(request_id))?;
    Ok((user_id, version, request_id))
}

/// A credential to be deleted.
pub fn of_user(
    request: &DeleteCredentialRequest,
) -> Result<(UserId, CredentialKind, Option<Vec<u8>>), Error> {
    let mut wrong = Violations::default();
    let user_id = wrong.parse("user_id", &request.user_id);
    let kind = CredentialKind::find(&request.kind);
    if kind.is_none() {
        wrong.add("kind", "must be password, passkey, totp or recovery_code");
    }
    let credential_id = match (kind, request.credential_id.as_str()) {
        (Some(CredentialKind::Passkey), text) => {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| (1..=1023).contains(&bytes.len()));
            if bytes.is_none() {
                wrong.add("credential_id", "must be the credential_id of a passkey");
            }
            bytes
        }
        (_, "") => None,
        _ => {
            wrong.add("credential_id", "must be empty but for a passkey");
            None
        }
    };
    let (user_id, kind) = wrong.done(user_id.zip(kind))?;
    Ok((user_id, kind, credential_id))
}

/// Users whose subjects at a client are asked for.
pub fn batch(request: &BatchGetSubjectsRequest) -> Result<(&str, Vec<UserId>), Error> {
    let mut wrong = Violations::default();
    let client_id = wrong.client_id(&request.client_id);
    if !(1..=MOST_SUBJECTS).contains(&request.user_ids.len()) {
        wrong.add("user_ids", "must hold 1 to 1,000 ids");
    }
    let mut users = Vec::with_capacity(request.user_ids.len().min(MOST_SUBJECTS));
    for (at, text) in request.user_ids.iter().take(MOST_SUBJECTS).enumerate() {
        match wrong.parse(&format!("user_ids[{at}]"), text) {
            Some(user_id) => users.push(user_id),
            // One is enough to tell.
            None => break,
        }
    }
    Ok((wrong.done(client_id)?, users))
}

/// On the wire.
pub fn credential(own: Credential) -> wire::Credential {
    wire::Credential {
        kind: own.kind,
        credential_id: own.credential_id.map(|id| URL_SAFE_NO_PAD.encode(id)).unwrap_or_default(),
        name: own.name,
        created_at: own.created_at.map(events::timestamp),
        used_at: own.used_at.map(events::timestamp),
    }
}

/// On the wire.
pub fn consent(own: Consent) -> wire::Consent {
    wire::Consent {
        client_id: own.client_id,
        scopes: own.scopes,
        granted_at: Some(events::timestamp(own.granted_at)),
    }
}
