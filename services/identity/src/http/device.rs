use axum::body::Bytes;
use domain::Uuid;
use minijinja::context;

use super::{
    Page,
    page::{Failure, View},
    sign_in::{kept, too_many, with_wait, wrong},
    visitor::Visitor,
};
use crate::{
    app::Typed,
    device_grant,
    pages::FieldError,
    progress::{Progress, Step},
    session::Session,
    words,
};

/// Which device waits.
const DEVICE: &str = "device_id";
/// Whose decision the page asks for: another user may sign in meanwhile.
const USER: &str = "user_id";

/// GET `/device` (RFC 8628 3.3): where a user types the code of a device.
pub async fn show(visitor: Visitor) -> Page {
    let typed = kept(visitor.query.get("user_code").unwrap_or_default());
    write_form(&visitor, &typed, Vec::new()).await
}

/// POST `/device`
pub async fn submit(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    visitor.open(Step::Device, fields.get("ctx"))?;
    let locale = visitor.locale(None);
    let typed = kept(fields.get("user_code").unwrap_or_default());
    if typed.trim().is_empty() {
        return write_form(&visitor, &typed, vec![wrong(locale, "user_code", "invalid_user_code")]).await;
    }
    let session = visitor.session().await?;
    match visitor.app().find_device(&typed, session.as_ref(), visitor.origin).await? {
        Typed::Found(grant) if session.is_some() => {
            visitor.go_on("/device/confirm", Step::DeviceConfirm, of_device(grant.device_id))
        }
        Typed::Found(grant) => sign_in(&visitor, grant.device_id),
        Typed::Unknown => {
            write_form(&visitor, &typed, vec![wrong(locale, "user_code", "device_unknown")]).await
        }
        Typed::Wait(wait) => {
            let page = write_form(&visitor, &typed, vec![too_many(locale, wait)]).await?;
            Ok(with_wait(page, wait))
        }
    }
}

/// Where somebody goes who signed in for a device: back to it. Nothing for anybody else.
pub fn way_back(visitor: &Visitor, progress: &Progress) -> Result<Option<String>, Failure> {
    let Some(device_id) = device_id(progress) else { return Ok(None) };
    let ctx = visitor.seal(Step::DeviceConfirm, of_device(device_id))?;
    Ok(Some(format!("/device/confirm?ctx={ctx}")))
}

/// GET `/device/confirm`: names the device's client and what it asks for.
pub async fn ask(visitor: Visitor) -> Page {
    let (progress, ctx) = visitor.carried(Step::DeviceConfirm)?;
    let device_id = device_id(&progress).ok_or(Failure::Refused("error_expired"))?;
    let Some(session) = visitor.session().await? else { return sign_in(&visitor, device_id) };
    let Some(grant) = visitor.app().waiting_device(device_id).await? else { return unknown(&visitor).await };
    let client = visitor.app().client(&grant.client_id).await?.ok_or(Failure::Refused("error_client"))?;
    let scopes = visitor.app().device_scopes(&grant, &client, &session).await?;
    let locale = visitor.locale(None);
    let mut own = of_device(device_id);
    own.params.push((USER.to_owned(), session.user_id.to_string()));
    let scopes: Vec<String> = scopes.iter().map(|scope| words::of_scope(locale, scope)).collect();
    let content = context! {
        ctx => visitor.seal(Step::DeviceConfirm, own)?,
        user_code => device_grant::grouped(&grant.user_code),
        scopes,
    };
    let view = View {
        title: words::text(locale, "device_confirm_title").replace("{client}", &client.name),
        here: Some(format!("/device/confirm?ctx={ctx}")),
        client_id: Some(grant.client_id),
        ..View::new("device_confirm.html", locale, "device_confirm_title", content)
    };
    visitor.write(locale, view).await
}

/// POST `/device/confirm`
pub async fn decide(visitor: Visitor, body: Bytes) -> Page {
    let fields = visitor.form(&body)?;
    let progress = visitor.open(Step::DeviceConfirm, fields.get("ctx"))?;
    let device_id = device_id(&progress).ok_or(Failure::Refused("error_expired"))?;
    let Some(session) = visitor.session().await? else { return sign_in(&visitor, device_id) };
    if !is_asked(&progress, &session) {
        return Err(Failure::Refused("error_expired"));
    }
    let allowed = match fields.get("decision") {
        Some("allow") => true,
        Some("deny") => false,
        _ => return Err(Failure::Refused("error_request")),
    };
    let Some(grant) = visitor.app().waiting_device(device_id).await? else { return unknown(&visitor).await };
    let client = visitor.app().client(&grant.client_id).await?.ok_or(Failure::Refused("error_client"))?;
    if !visitor.app().decide_device(&grant, &client, &session, allowed).await? {
        return unknown(&visitor).await;
    }
    let locale = visitor.locale(None);
    let title = if allowed { "device_done_title" } else { "device_denied_title" };
    let view = View {
        client_id: Some(client.client_id),
        ..View::new("device_done.html", locale, title, context! { allowed })
    };
    visitor.write(locale, view).await
}

async fn write_form(visitor: &Visitor, typed: &str, errors: Vec<FieldError>) -> Page {
    let locale = visitor.locale(None);
    let content = context! { ctx => visitor.seal(Step::Device, Progress::default())?, user_code => typed };
    let view = View {
        here: Some("/device".to_owned()),
        ..View::new("device.html", locale, "device_title", content)
    };
    visitor.write(locale, view.with_errors(errors)).await
}

// Somebody decided meanwhile, or it took too long: the device shows a new code if it still wants to.
async fn unknown(visitor: &Visitor) -> Page {
    write_form(visitor, "", vec![wrong(visitor.locale(None), "user_code", "device_unknown")]).await
}

fn sign_in(visitor: &Visitor, device_id: Uuid) -> Page {
    visitor.go_on("/login", Step::SignIn, of_device(device_id))
}

fn of_device(device_id: Uuid) -> Progress {
    Progress { params: vec![(DEVICE.to_owned(), device_id.to_string())], ..Progress::default() }
}

fn device_id(progress: &Progress) -> Option<Uuid> {
    let (_, value) = progress.params.iter().find(|(name, _)| name == DEVICE)?;
    Uuid::try_parse(value).ok()
}

fn is_asked(progress: &Progress, session: &Session) -> bool {
    progress.params.iter().any(|(name, value)| name == USER && *value == session.user_id.to_string())
}
