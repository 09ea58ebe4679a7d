use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{Locale, UserId};
use minijinja::{Value, context};

use super::{
    Page, authorize, device,
    page::{Failure, View},
    sign_in::{carried_or_new, wrong},
    visitor::Visitor,
};
use crate::{
    app::{Entering, MadePasskey, SignIn, SignedChallenge},
    authorization::Request,
    ceremony::{Ceremony, Purpose},
    cose,
    pages::FieldError,
    params::Params,
    passkey::Passkey,
    progress::Step,
    words,
};

/// GET `/login/passkey`
pub async fn show(visitor: Visitor) -> Page {
    let (progress, ctx) = carried_or_new(&visitor)?;
    write(&visitor, progress.request.as_ref(), &ctx, Vec::new()).await
}

/// POST `/login/passkey`: what the authenticator answered.
pub async fn submit(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let ctx = fields.get("ctx").unwrap_or_default();
    let progress = visitor.open(Step::SignIn, Some(ctx))?;
    let way_back = device::way_back(&visitor, &progress)?;
    let request = progress.request;
    let locale = visitor.locale(request.as_ref());
    let refused = vec![FieldError { field: "", text: words::text(locale, "passkey_wrong").to_owned() }];
    let (Some(ceremony), Some(signed)) = (ceremony(&visitor, &fields, Purpose::SignIn), signed(&fields))
    else {
        return write(&visitor, request.as_ref(), ctx, refused).await;
    };
    let current = visitor.session().await?;
    let entering = Entering { current, request: request.clone(), origin: visitor.origin };
    match visitor.app().sign_in_by_passkey(&ceremony, &signed, entering).await? {
        SignIn::Done(entered) => {
            authorize::enter(&visitor, *entered, way_back.as_deref().unwrap_or("/account/security")).await
        }
        // A passkey is a proof by itself, which nobody guesses: neither a code nor one by mail is asked for, nor a wait.
        SignIn::Wrong | SignIn::AskCode(_) | SignIn::MailProof | SignIn::Wait(_) => {
            write(&visitor, request.as_ref(), ctx, refused).await
        }
    }
}

async fn write(visitor: &Visitor, request: Option<&Request>, ctx: &str, errors: Vec<FieldError>) -> Page {
    let locale = visitor.locale(request);
    let stronger = request.is_some_and(|request| request.asked_more || request.acr().wants_more());
    let content = context! { ctx, stronger, passkey => to_sign_in(visitor)? };
    let view = View {
        here: Some(format!("/login/passkey?ctx={ctx}")),
        leads_to: request.map(|request| request.redirect_uri.as_str()),
        ..View::new("passkey.html", locale, "passkey_title", content).within(request)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

/// What a form needs to sign in by a passkey.
pub fn to_sign_in(visitor: &Visitor) -> Result<Value, Failure> {
    let ceremony = visitor.app().ceremony(None)?;
    Ok(context! {
        challenge => URL_SAFE_NO_PAD.encode(ceremony.challenge),
        rp => visitor.app().relying_party().id,
        ceremony => ceremony.seal(visitor.app().keys(), Purpose::SignIn, visitor.browser())?,
    })
}

/// What a form needs to make a passkey for a user of this address, who has these already.
pub fn to_make(
    visitor: &Visitor,
    locale: Locale,
    purpose: Purpose,
    user_id: UserId,
    address: &str,
    known: &[Passkey],
) -> Result<Value, Failure> {
    let ceremony = visitor.app().ceremony(Some(user_id))?;
    let exclude: Vec<String> =
        known.iter().map(|passkey| URL_SAFE_NO_PAD.encode(&passkey.credential_id)).collect();
    Ok(context! {
        challenge => URL_SAFE_NO_PAD.encode(ceremony.challenge),
        rp => visitor.app().relying_party().id,
        rp_name => words::text(locale, "site"),
        user => URL_SAFE_NO_PAD.encode(user_id.0.as_bytes()),
        user_name => address,
        algorithms => cose::ALGORITHMS.map(|alg| alg.to_string()).join(" "),
        exclude => exclude.join(" "),
        ceremony => ceremony.seal(visitor.app().keys(), purpose, visitor.browser())?,
    })
}

/// The challenge that a form carried back.
pub fn ceremony(visitor: &Visitor, fields: &Params, purpose: Purpose) -> Option<Ceremony> {
    visitor.app().open_ceremony(purpose, visitor.browser(), fields.get("ceremony")?)
}

/// What an authenticator answered when it made a passkey; nothing when a field is missing.
pub fn made(fields: &Params, name: String) -> Option<MadePasskey> {
    Some(MadePasskey {
        client_data: bytes(fields, "client_data")?,
        attestation: bytes(fields, "attestation")?,
        name,
    })
}

fn signed(fields: &Params) -> Option<SignedChallenge> {
    Some(SignedChallenge {
        credential_id: bytes(fields, "credential_id")?,
        user_handle: bytes(fields, "user_handle")?,
        client_data: bytes(fields, "client_data")?,
        authenticator_data: bytes(fields, "authenticator_data")?,
        signature: bytes(fields, "signature")?,
    })
}

/// Bytes in base64url.
pub fn bytes(fields: &Params, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(fields.get(name)?).ok()
}

/// The form as a whole is wrong.
pub fn refused(locale: Locale, name: &'static str) -> Vec<FieldError> {
    vec![wrong(locale, "", name)]
}
