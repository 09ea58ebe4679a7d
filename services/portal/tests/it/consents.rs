//! Consents: a tick gives with the notice that was shown, a removed tick withdraws, silence says nothing.

use proto::profile::v1::ConsentRecord;

use crate::world::{PURPOSES, World};

#[tokio::test]
async fn a_tick_gives_and_a_removed_tick_withdraws() {
    let world = World::start().await;
    world.publish_notices();
    let mut browser = world.alice().await;
    browser.language = "ja";
    world.peers.held().locale = "ja".to_owned();
    let page = browser.get("/account/consents").await;
    assert_eq!(page.attributes("fieldset.consent", "data-purpose"), PURPOSES);
    assert_eq!(
        page.attributes("input[name=give][checked]", "value").len(),
        0,
        "nothing is ticked beforehand"
    );
    assert!(
        page.texts(".notice p").contains(&"説明文 <b>profiling</b>".to_owned()),
        "words are text, never markup"
    );
    assert_eq!(page.texts(".notice p").len(), 8, "two paragraphs each");
    let saved =
        browser.submit(&page, "/account/consents", &[("give", &["committee_newsletter", "profiling"])]).await;
    assert_eq!((saved.status, saved.location()), (303, "/account/consents?saved=1"));
    {
        let held = world.peers.held();
        let request = &held.answers[0];
        assert_eq!(request.method, "portal /account/consents");
        let answers: Vec<_> = request
            .answers
            .iter()
            .map(|one| {
                (one.purpose.as_str(), one.status.as_str(), one.notice_version, one.notice_language.as_str())
            })
            .collect();
        assert_eq!(answers, [("committee_newsletter", "given", 2, "ja"), ("profiling", "given", 2, "ja")]);
    }

    let page = browser.get("/account/consents?saved=1").await;
    assert_eq!(page.attributes("input[name=give][checked]", "value"), ["committee_newsletter", "profiling"]);
    let answers = page.texts("dl.answer dd");
    assert!(answers.contains(&"portal /account/consents".to_owned()), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.ends_with("2030-08-04 21:50 JST")), "{answers:?}");
    let unchanged = browser.submit(&page, "/account/consents", &[]).await;
    assert_eq!(
        (unchanged.status, world.peers.held().answers.len()),
        (303, 1),
        "what did not change is not said again"
    );
    browser.submit(&page, "/account/consents", &[("give", &["committee_newsletter"])]).await;
    assert_eq!(world.peers.status_of("profiling"), "withdrawn");
    assert_eq!(world.peers.status_of("committee_newsletter"), "given");
    assert_eq!(world.peers.status_of("ioc_newsletter"), "", "silence is no answer");

    let history = browser.get("/account/history").await;
    assert_eq!(history.texts("tbody tr").len(), 3);
    assert!(history.texts("tbody tr")[0].contains("撤回"));
    world.app.stop().await;
}

#[tokio::test]
async fn nobody_agrees_to_words_that_were_not_shown() {
    let world = World::start().await;
    world.publish_notices();
    let mut browser = world.alice().await;
    let page = browser.get("/account/consents").await;
    let forgeries: [&[(&str, &[&str])]; 4] = [
        &[("give", &["profiling"]), ("version_profiling", &["99"])],
        &[("give", &["profiling"]), ("version_profiling", &["'; --"])],
        &[("give", &["profiling"]), ("language_profiling", &["xx"])],
        &[("give", &["profiling"]), ("language_profiling", &[]), ("version_profiling", &[])],
    ];
    for forgery in forgeries {
        let refused = browser.submit(&page, "/account/consents", forgery).await;
        assert_eq!(refused.status, 422, "{forgery:?}");
        assert!(refused.texts(".errors p")[0].contains("words have changed"));
    }
    let unknown = [("give", &["everything"][..]), ("shown", &["everything", "legacy_handover"])];
    assert_eq!(browser.submit(&page, "/account/consents", &unknown).await.status, 303);
    assert!(world.peers.held().answers.is_empty());
    world.app.stop().await;
}

#[tokio::test]
async fn a_consent_is_withdrawn_even_where_its_words_are_missing() {
    let world = World::start().await;
    let given = ConsentRecord {
        purpose: "ioc_newsletter".to_owned(),
        status: "given".to_owned(),
        method: "app <b>".to_owned(),
        ..ConsentRecord::default()
    };
    let run_out = ConsentRecord {
        purpose: "profiling".to_owned(),
        status: "given".to_owned(),
        valid_until: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        ..ConsentRecord::default()
    };
    world.peers.held().records = vec![given, run_out];
    let mut browser = world.alice().await;
    let page = browser.get("/account/consents").await;
    assert_eq!(
        page.attributes("input[name=give]", "value"),
        ["ioc_newsletter"],
        "nothing else can be agreed to"
    );
    assert!(!page.body.contains("app <b>"));
    let saved = browser.submit(&page, "/account/consents", &[("give", &[])]).await;
    assert_eq!(saved.status, 303);
    assert_eq!(world.peers.status_of("ioc_newsletter"), "withdrawn");
    assert_eq!(world.peers.held().answers[0].answers.len(), 1);
    world.app.stop().await;
}
