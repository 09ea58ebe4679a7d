//! The commentators' desk: who gets in, and what stands on its pages.

use std::collections::BTreeMap;

use domain::UserId;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};
use testkit::races::{FINAL_100M, hundred_metres_final};

use crate::{
    identity::{Identity, Person},
    world::{ORIGIN, World},
};

const DESK: &str = "/results/cis/ATH";
const SESSION: &str = "__Host-results-cis";

struct Browser<'a> {
    world: &'a World,
    cookies: BTreeMap<String, String>,
    language: &'static str,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }
}

impl<'a> Browser<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, cookies: BTreeMap::new(), language: "en" }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = self.world.app.http().get(self.world.app.http_url(path));
        self.send(request).await
    }

    async fn sign_out(&mut self, form: &str, origin: &str) -> Answer {
        let request = self.world.app.http().post(self.world.app.http_url("/results/cis/logout"));
        self.send(request.header("origin", origin).form(&[("form", form)])).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Answer {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("cookie", cookies.join("; ")).header("accept-language", self.language);
        let answer = request.send().await.unwrap();
        let headers = answer.headers().clone();
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.starts_with("__Host-") && cookie.contains("; Secure; HttpOnly; SameSite=Lax"));
            let (name, rest) = cookie.split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            }
        }
        Answer { status: answer.status().as_u16(), headers, body: answer.text().await.unwrap() }
    }

    /// From the desk to identity: what it sends back, as a path of ours.
    async fn authorize(&mut self, path: &str) -> String {
        let asked = self.get(path).await;
        assert_eq!(asked.status, 303);
        let begun = self.get(asked.location()).await;
        assert_eq!(begun.status, 303, "{}", begun.body);
        let answer = self.world.app.http().get(begun.location()).send().await.unwrap();
        answer.headers()[LOCATION].to_str().unwrap().strip_prefix(ORIGIN).unwrap().to_owned()
    }

    async fn sign_in(&mut self) {
        let callback = self.authorize(DESK).await;
        let answer = self.get(&callback).await;
        assert_eq!((answer.status, answer.location()), (303, DESK), "{}", answer.body);
    }
}

fn chie() -> Person {
    Person { user_id: UserId::new(), scopes: &["results.cis"], nonce: None }
}

async fn world_of(person: Person) -> (World, Identity) {
    let identity = Identity::start().await;
    let world = World::start_at(identity.url.clone()).await;
    identity.trust(world.app.issuer());
    identity.person(person);
    (world, identity)
}

#[tokio::test]
async fn a_commentator_signs_in_and_sees_the_final() {
    let (world, _identity) = world_of(chie()).await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(1)[..6]).await;
    let mut browser = Browser::new(&world);
    browser.sign_in().await;
    assert!(!browser.cookies[SESSION].contains("eyJ"), "what the cookie holds is sealed");
    assert!(!browser.cookies.contains_key("__Host-results-signin"));
    for (language, status, title) in [
        ("ja", "競技中", "スタートリスト"),
        ("en", "Live", "Start list"),
        ("fr", "En direct", "Liste de départ"),
    ] {
        browser.language = language;
        let page = browser.get(DESK).await;
        assert_eq!(page.status, 200);
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert!(page.body.contains(&format!("<html lang=\"{language}\">")));
        assert!(page.body.contains(status) && page.body.contains(title), "{}", page.body);
        assert_eq!(page.body.matches("<tr data-row").count(), 16, "a result and a start list of eight");
        assert!(page.body.contains("D&#x27;ARVILLE") && !page.body.contains("<script>"));
        assert!(page.body.contains("mode=every") && page.body.contains("data-cursor=\""));
        let choice = browser.get("/results/cis").await;
        assert!(choice.body.contains("/results/cis/ATH?lang="), "{}", choice.body);
    }
    for wrong in ["/results/cis/AT", "/results/cis/ath", "/results/cis/%3Cscript%3E"] {
        assert_eq!(browser.get(wrong).await.status, 404, "{wrong}");
    }
    let nothing = browser.get("/results/cis/JUD").await;
    assert!(
        nothing.status == 200 && nothing.body.contains("Rien n&#x27;est encore programmé"),
        "{}",
        nothing.body
    );
    world.app.stop().await;
}

#[tokio::test]
async fn the_clock_and_a_biography_stand_on_the_desk() {
    let (world, _identity) = world_of(chie()).await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    world.send(&key, &race[..4]).await;
    let document = |document_type: &str, code: &str, inside: &str| {
        format!(
            r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="{code}" DocumentType="{document_type}" Version="1" FeedFlag="P" Date="2030-08-04" Time="215000000" LogicalDate="2030-08-04" Source="SYNATH1"><Competition Gen="SYN-1">{inside}</Competition></OdfBody>"#
        )
    };
    let clock = r#"<Clock Period="FNL" Time="9.79" Running="Y"/>"#;
    let biography = r#"<Biography><Hobby Text="Chess &amp; &lt;b&gt;tea&lt;/b&gt;"/></Biography>"#;
    let codes = r#"<CodeSet Code="JPN"><Language Language="ENG" Description="Japan"/><Language Language="FRA" Description="Japon"/></CodeSet>"#;
    let table = document("DT_CODES", "GLO", codes).replace(" Version=", r#" DocumentSubtype="NOC" Version="#);
    let on = "ATH-----------------------STA-----";
    for xml in [
        document("DT_CURRENT", FINAL_100M, clock),
        document("DT_BIO_PAR", "1930101", biography),
        document("DT_LOCAL_ON", on, ""),
        table,
    ] {
        let told = world.post(&key, xml).await;
        assert_eq!(told.outcome, "accepted", "{told:?}");
    }
    let mut browser = Browser::new(&world);
    browser.sign_in().await;
    let page = browser.get(&format!("{DESK}?unit={FINAL_100M}&bio=1930101")).await.body;
    assert!(page.contains("<dt>Clock Time</dt><dd>9.79</dd>"), "{page}");
    assert!(page.contains("<dd>Chess &amp; &lt;b&gt;tea&lt;&#x2f;b&gt;</dd>"), "{page}");
    assert!(page.contains("Biography: Hayato KITAMORI"), "{page}");
    assert!(page.contains(r#"data-venue="STA" data-state="fresh""#), "{page}");
    assert!(page.contains(r#"title="Japan""#), "{page}");
    world.clock_forward(100);
    let later = browser.get(DESK).await.body;
    assert!(later.contains(r#"data-venue="STA" data-state="stale""#), "{later}");
    world.app.stop().await;
}

#[tokio::test]
async fn the_desks_cookie_opens_its_feed_and_the_public_sees_no_biography() {
    let (world, _identity) = world_of(chie()).await;
    let (_, key) = world.key("P", &[]).await;
    let biography = r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="1930101" DocumentType="DT_BIO_PAR" Version="1" FeedFlag="P" Date="2030-08-04" Time="215000000" LogicalDate="2030-08-04" Source="SYNATH1"><Competition Gen="SYN-1"/></OdfBody>"#;
    assert_eq!(world.post(&key, biography).await.outcome, "accepted");
    let mut browser = Browser::new(&world);
    let state = "/results/v1/state?prefix=1930101";
    assert!(!browser.get(state).await.body.contains("DT_BIO_PAR"));
    browser.sign_in().await;
    assert!(browser.get(state).await.body.contains("DT_BIO_PAR"));
    let sealed = browser.cookies[SESSION].clone();
    browser.cookies.insert(SESSION.to_owned(), format!("{}A", &sealed[..sealed.len() - 1]));
    assert!(!browser.get(state).await.body.contains("DT_BIO_PAR"), "a changed cookie opens nothing");
    browser.cookies.insert(SESSION.to_owned(), sealed);
    world.clock_forward(12 * 3_600 + 1);
    assert!(!browser.get(state).await.body.contains("DT_BIO_PAR"), "a shift ends");
    assert_eq!(browser.get(DESK).await.status, 303);
    world.app.stop().await;
}

#[tokio::test]
async fn who_does_not_hold_the_scope_and_answers_that_are_not_ours_are_refused() {
    let (world, identity) = world_of(Person { scopes: &["openid"], ..chie() }).await;
    let mut browser = Browser::new(&world);
    let callback = browser.authorize(DESK).await;
    let refused = browser.get(&callback).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.body.contains("commentators&#x27; desk") && !browser.cookies.contains_key(SESSION));

    identity.person(Person { nonce: Some("another"), ..chie() });
    let callback = browser.authorize(DESK).await;
    assert_eq!(browser.get(&callback).await.status, 400, "an ID token of another sign-in");

    identity.person(chie());
    let callback = browser.authorize(DESK).await;
    for (wrong, what) in [
        (callback.replace("state=", "state=x"), "another state"),
        (format!("{callback}&state=x"), "a state that comes twice"),
        (callback.replace("iss=", "iss=https%3A%2F%2Fevil.example%2F"), "another issuer (RFC 9207)"),
    ] {
        assert_eq!(browser.get(&wrong).await.status, 400, "{what}");
    }
    assert_eq!(Browser::new(&world).get(&callback).await.status, 400, "another browser");
    assert_eq!(browser.get(&callback).await.status, 303);
    assert_eq!(browser.get(&callback).await.status, 400, "a code is good once");
    world.app.stop().await;
}

#[tokio::test]
async fn a_commentator_signs_out_from_our_own_page_only() {
    let (world, _identity) = world_of(chie()).await;
    let mut browser = Browser::new(&world);
    browser.sign_in().await;
    let page = browser.get("/results/cis").await.body;
    let form = page.split(r#"name="form" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(browser.sign_out(&form, "https://evil.example").await.status, 400);
    assert_eq!(browser.sign_out("x", ORIGIN).await.status, 400);
    assert!(browser.cookies.contains_key(SESSION));
    let out = browser.sign_out(&form, ORIGIN).await;
    assert_eq!(out.status, 303);
    assert!(out.location().contains("/logout?id_token_hint="), "{}", out.location());
    assert!(!browser.cookies.contains_key(SESSION));
    assert_eq!(browser.get("/results/cis").await.status, 303);
    world.app.stop().await;
}
