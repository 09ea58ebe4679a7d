use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, StatusCode},
};
use minijinja::{Value, context, value::Serde};

use super::{
    Here, Page,
    form::{Fields, Sent},
    visitor::{Visitor, see_other},
};
use crate::{
    Error,
    app::{ConsentChoice, OFFERED, Offer, Person},
};

/// GET `/account/consents`: each purpose with the words to agree to.
pub async fn show(mut visitor: Visitor, RawQuery(query): RawQuery) -> Page {
    let person = visitor.person().await?;
    page(&visitor, &person, StatusCode::OK, query.as_deref() == Some("saved=1")).await
}

/// POST `/account/consents`: a tick gives, a removed tick withdraws.
pub async fn save(State(site): Here, mut visitor: Visitor, headers: HeaderMap, sent: Sent) -> Page {
    let person = visitor.person().await?;
    let fields = visitor.form(&person.fan, &headers, &sent)?;
    match site.app.save_consents(&person, fields.request_id(), choices(&fields)).await {
        Ok(_) => Ok(see_other("/account/consents?saved=1")),
        // The words have changed since they were shown: nothing was recorded, the fan reads the new ones.
        Err(Error::NoticeOutOfDate) => page(&visitor, &person, StatusCode::UNPROCESSABLE_ENTITY, false).await,
        Err(error) => Err(visitor.failure(error)),
    }
}

/// GET `/account/history`: every answer that the fan gave.
pub async fn history(State(site): Here, mut visitor: Visitor) -> Page {
    let person = visitor.person().await?;
    let lines = site.app.history(&person).await.map_err(|error| visitor.failure(error))?;
    visitor.page("history.html", StatusCode::OK, context! { lines => Value::from(Serde(lines)) })
}

async fn page(visitor: &Visitor, person: &Person, status: StatusCode, saved: bool) -> Page {
    let offers =
        visitor.site.app.offers(person, visitor.locale).await.map_err(|error| visitor.failure(error))?;
    let content = context! {
        offers => offers.iter().map(offer).collect::<Vec<Value>>(),
        saved,
        out_of_date => status != StatusCode::OK,
    };
    visitor.page("consents.html", status, content)
}

fn offer(offer: &Offer) -> Value {
    let answer = offer.answer.as_ref().map(|line| {
        context! {
            status => line.status.as_str(), at => line.at, version => line.notice_version, method => line.method.as_str(),
        }
    });
    let notice = offer.notice.as_ref().map(|notice| {
        context! {
            version => notice.version,
            language => notice.language.as_str(),
            paragraphs => notice.text.split("\n\n").map(|part| part.trim().to_owned()).collect::<Vec<String>>(),
        }
    });
    context! { purpose => offer.purpose.name(), given => offer.given, answer, notice }
}

// Only purposes that were on the page: a form that names none of them changes nothing.
fn choices(fields: &Fields) -> Vec<ConsentChoice> {
    let (shown, given) = (fields.all("shown"), fields.all("give"));
    let names = |list: &[String], name: &str| list.iter().any(|one| one == name);
    OFFERED
        .into_iter()
        .filter(|purpose| names(&shown, purpose.name()))
        .map(|purpose| ConsentChoice {
            purpose,
            wanted: names(&given, purpose.name()),
            notice_version: fields.one(&format!("version_{purpose}")).parse().unwrap_or_default(),
            notice_language: fields.one(&format!("language_{purpose}")).parse().ok(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use domain::{Locale, Purpose};

    use super::*;

    #[test]
    fn only_purposes_of_the_page_are_answered() {
        let form =
            b"shown=profiling&shown=open_tracking&shown=legacy_handover&give=profiling&give=ioc_newsletter\
                     &version_profiling=3&language_profiling=ja&version_open_tracking=%27--";
        let choices = choices(&Fields::parse(form));
        assert_eq!(choices.len(), 2);
        let profiling = choices.iter().find(|choice| choice.purpose == Purpose::Profiling).unwrap();
        assert!(profiling.wanted);
        assert_eq!((profiling.notice_version, profiling.notice_language), (3, Some(Locale::Ja)));
        let tracking = choices.iter().find(|choice| choice.purpose == Purpose::OpenTracking).unwrap();
        assert!(!tracking.wanted);
        assert_eq!((tracking.notice_version, tracking.notice_language), (0, None));
    }
}
