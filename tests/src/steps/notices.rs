//! The words that people agree to.

use anyhow::{Context, Result};
use domain::Service;
use proto::profile::v1::{PublishNoticeRequest, consent_service_client::ConsentServiceClient};

use crate::Walk;

/// Version of every notice here.
pub const VERSION: u32 = 1;

/// Purpose, and its words in Japanese, English and French.
const NOTICES: [(&str, [&str; 3]); 4] = [
    (
        "committee_newsletter",
        [
            "組織委員会がメールマガジンをお送りするために、お名前、メールアドレス、都道府県、好きな競技を利用することに同意します。",
            "I agree that the organising committee uses my name, e-mail address, prefecture and favourite sports to send me its magazine.",
            "J'accepte que le comité d'organisation utilise mon nom, mon adresse e-mail, ma préfecture et mes sports préférés pour m'envoyer son magazine.",
        ],
    ),
    (
        "ioc_newsletter",
        [
            "IOCのお知らせを受け取るために、メールアドレスと言語をIOCに提供することに同意します。",
            "I agree that my e-mail address and language are given to the IOC, so that it can send me its news.",
            "J'accepte que mon adresse e-mail et ma langue soient transmises au CIO afin qu'il m'envoie ses nouvelles.",
        ],
    ),
    (
        "open_tracking",
        [
            "メールの開封とリンクの利用状況を記録することに同意します。",
            "I agree that it is recorded whether I open mails and follow their links.",
            "J'accepte que soient enregistrées l'ouverture des e-mails et l'utilisation de leurs liens.",
        ],
    ),
    (
        "profiling",
        [
            "好きな競技などの情報から、私に合ったお知らせを選ぶことに同意します。",
            "I agree that news are chosen for me by what I like, such as my favourite sports.",
            "J'accepte que les nouvelles soient choisies selon mes goûts, comme mes sports préférés.",
        ],
    ),
];

/// Daniel publishes them all.
pub async fn publish(walk: &Walk<'_>) -> Result<String> {
    let mut consents = ConsentServiceClient::new(walk.daniel.channel(walk.suite, Service::Profile)?);
    let mut hashes = Vec::new();
    for (purpose, texts) in NOTICES {
        for (language, text) in ["ja", "en", "fr"].into_iter().zip(texts) {
            let request = PublishNoticeRequest {
                purpose: purpose.to_owned(),
                recipient: String::new(),
                language: language.to_owned(),
                version: VERSION,
                text: text.to_owned(),
            };
            let answer = consents.publish_notice(request).await?.into_inner();
            hashes.push(answer.notice.context("no notice in the answer")?.sha256);
        }
    }
    Ok(format!(
        "{} notices of version {VERSION} in ja, en, fr; the first is sha256 {}",
        hashes.len(),
        hashes[0]
    ))
}
