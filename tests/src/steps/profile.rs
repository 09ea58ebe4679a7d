//! Step 2: Alice tells about herself and gives four consents on the portal; Bob gives none.

use anyhow::{Context, Result, bail, ensure};
use domain::Service;
use proto::profile::v1::{
    ConsentRecord, ExternalId, FindProfileRequest, ListConsentRecordsRequest, Profile,
    consent_service_client::ConsentServiceClient, profile_service_client::ProfileServiceClient,
};

use super::time;
use crate::{Fan, Form, Moment, Suite, Walk, until};

/// What Alice permits.
pub const GIVEN: [&str; 4] = ["committee_newsletter", "ioc_newsletter", "profiling", "open_tracking"];
/// The trait of favourite sports.
pub const SPORTS: &str = "favourite_olympic_sports";

pub async fn go(walk: &mut Walk<'_>) -> Result<Vec<String>> {
    let (given, family) = (walk.alice.given_name, walk.alice.family_name);
    save_account(walk.suite, &mut walk.alice, |form| {
        form.fill("given_name", given)?.fill("family_name", family)?;
        form.fill("birth_date", "1990-04-01")?.fill("prefecture", "JP-13")?.fill("country", "JP")?;
        form.fill("locale", "ja")?.choose(SPORTS, &["ATH", "JUD"])?;
        Ok(())
    })
    .await?;
    walk.at(Moment::ProfileSaved).await?;
    save_consents(walk.suite, &mut walk.alice, &GIVEN, true).await?;
    let (given, family) = (walk.bob.given_name, walk.bob.family_name);
    save_account(walk.suite, &mut walk.bob, |form| {
        form.fill("given_name", given)?.fill("family_name", family)?;
        form.fill("country", "FR")?.fill("locale", "fr")?.choose(SPORTS, &["JUD"])?;
        Ok(())
    })
    .await?;
    walk.at(Moment::ConsentsGiven).await?;

    let alice = profile_of(walk, walk.alice.address).await?;
    let bob = profile_of(walk, walk.bob.address).await?;
    let records = records_of(walk, &alice.profile_id).await?;
    ensure!(records.len() == GIVEN.len(), "{} consent records of Alice, not {}", records.len(), GIVEN.len());
    let of_bob = records_of(walk, &bob.profile_id).await?;
    ensure!(of_bob.is_empty(), "Bob gave none, and there are {}", of_bob.len());
    let names: Vec<&str> = alice.traits.iter().map(|held| held.name.as_str()).collect();
    let mut evidence = vec![
        format!(
            "profile {} (Alice) version {}, {}: {}",
            alice.profile_id,
            alice.version,
            alice.locale,
            names.join(", ")
        ),
        format!(
            "profile {} (Bob) version {}, {}, no consent record",
            bob.profile_id, bob.version, bob.locale
        ),
    ];
    for record in &records {
        evidence.push(line_of(record)?);
    }
    (walk.ids.alice, walk.ids.bob) = (alice.profile_id, bob.profile_id);
    Ok(evidence)
}

/// Fills in the account page, and looks whether it was kept.
pub async fn save_account(
    suite: &Suite,
    fan: &mut Fan,
    fill: impl Fn(&mut Form) -> Result<()>,
) -> Result<()> {
    let page = fan.portal(suite, "/account").await?;
    let mut form = page.form_with("[name=family_name]")?;
    fill(&mut form)?;
    let wanted = form.fields();
    fan.browser.submit(form).await?.ok().context("the account page refuses")?;
    let kept = fan.portal(suite, "/account").await?.form_with("[name=family_name]")?;
    for (name, value) in wanted.iter().filter(|(name, _)| is_of_the_person(name)) {
        ensure!(kept.values(name).contains(value), "{name} was not kept");
    }
    Ok(())
}

// The rest belongs to the form itself, and is new on every page.
fn is_of_the_person(name: &str) -> bool {
    ["name", "date", "prefecture", "country", "locale", "sports"].iter().any(|part| name.contains(part))
}

/// Ticks purposes on the consents page, or removes their ticks, and looks whether it was kept.
pub async fn save_consents(suite: &Suite, fan: &mut Fan, purposes: &[&str], on: bool) -> Result<()> {
    let page = fan.portal(suite, "/account/consents").await?;
    let mut form = page.form_with("input[type=checkbox]")?;
    for purpose in purposes {
        ensure!(form.is_ticked(purpose) != on, "{purpose} was said before");
        form.tick(purpose, on)?;
    }
    fan.browser.submit(form).await?.ok().context("the consents page refuses")?;
    let kept = fan.portal(suite, "/account/consents").await?.form_with("input[type=checkbox]")?;
    for purpose in purposes {
        ensure!(kept.is_ticked(purpose) == on, "the answer about {purpose} was not kept");
    }
    Ok(())
}

/// Daniel finds a profile by its address.
async fn profile_of(walk: &Walk<'_>, address: &str) -> Result<Profile> {
    let mut profiles = ProfileServiceClient::new(walk.daniel.channel(walk.suite, Service::Profile)?);
    let external_id = Some(ExternalId { r#type: "email".to_owned(), value: address.to_owned() });
    until(&format!("the profile of {address}"), async || {
        let request = FindProfileRequest { external_id: external_id.clone() };
        Ok(profiles.find_profile(request).await?.into_inner().profile)
    })
    .await
}

/// A person's consent records, as Daniel reads them, newest first.
pub async fn records_of(walk: &Walk<'_>, profile_id: &str) -> Result<Vec<ConsentRecord>> {
    let mut consents = ConsentServiceClient::new(walk.daniel.channel(walk.suite, Service::Profile)?);
    let request = ListConsentRecordsRequest { profile_id: profile_id.to_owned(), page_size: 0 };
    Ok(consents.list_consent_records(request).await?.into_inner().records)
}

fn line_of(record: &ConsentRecord) -> Result<String> {
    let Some(notice) = &record.notice else { bail!("{} was given without a notice", record.purpose) };
    let ConsentRecord { record_id, purpose, status, method, at, .. } = record;
    ensure!(status == "given", "{purpose} is {status}");
    let (version, language, hash) =
        (notice.version, &notice.language, notice.sha256.get(..12).unwrap_or_default());
    let at = time(at.as_ref());
    Ok(format!(
        "{purpose} {status} {at}, notice v{version} {language} sha256 {hash}..., by {method}, record {record_id}"
    ))
}
