//! A relying party that keeps FAPI 2.0, and lets a module break one rule at a time.

use std::cell::RefCell;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::{
    Registration, SCOPE,
    checks::{check_pushed, claims_of, is_unguessable},
    signer::{Signer, base64url, sha256},
};
use crate::{
    browser::{Browser, Person},
    world::{ALICE, Answer, ISSUER, World, answer, param},
};

pub const PAR: &str = "/oauth2/par";
pub const TOKEN: &str = "/oauth2/token";
pub const USERINFO: &str = "/oauth2/userinfo";

pub type Form = Vec<(String, String)>;

pub struct RelyingParty<'w> {
    pub world: &'w World,
    pub client: &'static Registration,
    /// Its key for proofs.
    pub key: Signer,
    // The newest nonce of the server.
    nonce: RefCell<Option<String>>,
}

/// An authorization request.
#[derive(Clone)]
pub struct Request {
    pub form: Form,
    pub verifier: String,
}

/// A proof before it is signed.
pub struct Unsigned {
    pub header: Value,
    pub claims: Value,
}

impl Request {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.form.retain(|(own, _)| own != name);
        self
    }

    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        let mut changed = self.without(name);
        changed.form.push((name.to_owned(), value.to_owned()));
        changed
    }
}

/// Text of so many characters that nobody guesses.
pub fn random(length: usize) -> String {
    let mut bytes = vec![0; length];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    base64url(bytes).chars().take(length).collect()
}

pub fn form(pairs: &[(&str, &str)]) -> Form {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

impl<'w> RelyingParty<'w> {
    pub fn new(world: &'w World, client: &'static Registration) -> Self {
        Self { world, client, key: Signer::p256(), nonce: RefCell::default() }
    }

    fn now(&self) -> i64 {
        self.world.app.clock.now().timestamp()
    }

    /// A right request.
    pub fn request(&self) -> Request {
        let verifier = random(43);
        let pairs = form(&[
            ("client_id", self.client.client_id),
            ("response_type", "code"),
            ("redirect_uri", self.client.redirect_uri),
            ("scope", SCOPE),
            ("state", &random(10)),
            ("nonce", &random(10)),
            ("code_challenge", &sha256(&verifier)),
            ("code_challenge_method", "S256"),
        ]);
        Request { form: pairs, verifier }
    }

    /// Claims of a right assertion.
    pub fn assertion_claims(&self) -> Value {
        let (now, id) = (self.now(), self.client.client_id);
        json!({"iss": id, "sub": id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": random(20)})
    }

    /// An assertion with these claims.
    pub fn assertion(&self, claims: &Value) -> Form {
        let header = json!({"alg": self.client.key.alg(), "kid": "1"});
        assertion(&self.client.key.jws(&header, claims))
    }

    /// A right proof for an endpoint, before it is signed.
    pub fn unsigned(&self, method: &str, path: &str, access_token: Option<&str>) -> Unsigned {
        let mut jwk = self.key.public_jwk();
        jwk.as_object_mut().unwrap().retain(|name, _| !matches!(name.as_str(), "kid" | "use"));
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk});
        let mut claims = json!({
            "jti": random(20), "htm": method, "htu": format!("{ISSUER}{path}"), "iat": self.now(),
        });
        if let Some(token) = access_token {
            claims["ath"] = Value::from(sha256(token));
        }
        if let Some(nonce) = &*self.nonce.borrow() {
            claims["nonce"] = Value::from(nonce.as_str());
        }
        Unsigned { header, claims }
    }

    pub fn proof(&self, method: &str, path: &str, access_token: Option<&str>) -> String {
        let Unsigned { header, claims } = self.unsigned(method, path, access_token);
        self.key.jws(&header, &claims)
    }

    /// One exchange with an endpoint.
    pub async fn post(&self, path: &str, form: &[(String, String)], proof: Option<&str>) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self.world.app.http().post(self.world.app.http_url(path));
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        self.note(answer(request.body(body).send().await.unwrap()).await)
    }

    pub fn note(&self, answer: Answer) -> Answer {
        let nonce = answer.header("dpop-nonce");
        if !nonce.is_empty() {
            *self.nonce.borrow_mut() = Some(nonce.to_owned());
        }
        answer
    }

    /// Asks an endpoint with whatever `make` says, and once more when a nonce is wanted.
    pub async fn call(
        &self,
        path: &str,
        pairs: &[(String, String)],
        make: impl Fn() -> (Form, Option<String>),
    ) -> Answer {
        let once = async || {
            let (own, proof) = make();
            self.post(path, &[pairs, &own].concat(), proof.as_deref()).await
        };
        let answer = once().await;
        if answer.text("error") == "use_dpop_nonce" { once().await } else { answer }
    }

    /// Pushes a request as it is usual: without a proof.
    pub async fn push(&self, request: &Request) -> Answer {
        self.post(PAR, &[&request.form[..], &self.assertion(&self.assertion_claims())].concat(), None).await
    }

    /// Pushes a request with a proof.
    pub async fn push_with_proof(&self, request: &Request) -> Answer {
        let make = || (self.assertion(&self.assertion_claims()), Some(self.proof("POST", PAR, None)));
        self.call(PAR, &request.form, make).await
    }

    /// A call of the token endpoint as it should be.
    pub async fn token(&self, pairs: &[(String, String)]) -> Answer {
        let make = || (self.assertion(&self.assertion_claims()), Some(self.proof("POST", TOKEN, None)));
        self.call(TOKEN, pairs, make).await
    }

    /// The form that redeems a code.
    pub fn redemption(&self, request: &Request, code: &str) -> Form {
        form(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.client.redirect_uri),
            ("code_verifier", &request.verifier),
        ])
    }

    pub async fn redeem(&self, request: &Request, code: &str) -> Answer {
        self.token(&self.redemption(request, code)).await
    }

    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("scope", SCOPE)];
        self.token(&form(&pairs)).await
    }

    /// Asks userinfo with a scheme and these proofs.
    pub async fn show(&self, scheme: &str, token: &str, proofs: &[&str]) -> Answer {
        let mut request = self.world.app.http().request(Method::GET, self.world.app.http_url(USERINFO));
        request = request.header("authorization", format!("{scheme} {token}"));
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        self.note(answer(request.send().await.unwrap()).await)
    }

    /// Asks userinfo with a changed proof, and once more when a nonce is wanted.
    pub async fn resource_with(&self, token: &str, change: impl Fn(&mut Unsigned)) -> Answer {
        let once = async || {
            let mut unsigned = self.unsigned("GET", USERINFO, Some(token));
            change(&mut unsigned);
            let proof = self.key.jws(&unsigned.header, &unsigned.claims);
            self.show("DPoP", token, &[&proof]).await
        };
        let answer = once().await;
        if answer.text("error") == "use_dpop_nonce" { once().await } else { answer }
    }

    pub async fn resource(&self, token: &str) -> Answer {
        self.resource_with(token, |_| ()).await
    }

    /// The URL that sends a browser on with a pushed request. What the suite repeats beside it does not count.
    pub fn authorization_url(&self, pushed: &Answer, beside: &[(&str, &str)]) -> String {
        self.authorization_url_of(self.client.client_id, pushed, beside)
    }

    pub fn authorization_url_of(&self, client_id: &str, pushed: &Answer, beside: &[(&str, &str)]) -> String {
        check_pushed(pushed);
        let mut url = Url::parse(ISSUER).unwrap();
        url.set_path("/authorize");
        url.query_pairs_mut()
            .append_pair("client_id", client_id)
            .append_pair("request_uri", pushed.text("request_uri"))
            .extend_pairs(beside);
        url.into()
    }

    /// What the browser of the plan's user does: signs up or in, and agrees.
    pub async fn authorize(&self, browser: &mut Browser<'_>, url: &str) -> Url {
        let start = browser.open(url).await;
        browser.go_through(person(browser), start).await
    }

    /// From the request to its code, as every module does it that has nothing to change there.
    pub async fn code(&self, browser: &mut Browser<'_>, request: &Request) -> String {
        let pushed = self.push(request).await;
        let url = self.authorize(browser, &self.authorization_url(&pushed, &[])).await;
        self.check_response(&url, request)
    }

    /// From the request to checked tokens.
    pub async fn tokens(&self, browser: &mut Browser<'_>, request: &Request) -> Answer {
        let code = self.code(browser, request).await;
        let tokens = self.redeem(request, &code).await;
        self.check_tokens(&tokens, request).await;
        tokens
    }

    /// From the request to userinfo.
    pub async fn whole_flow(&self, browser: &mut Browser<'_>, request: &Request) -> Answer {
        let tokens = self.tokens(browser, request).await;
        self.check_resource(tokens.text("access_token")).await;
        tokens
    }

    /// A successful authorization response; its code.
    #[track_caller]
    pub fn check_response(&self, url: &Url, request: &Request) -> String {
        let (start, query) =
            self.client.redirect_uri.split_once('?').unwrap_or((self.client.redirect_uri, ""));
        assert_eq!(url.as_str().split('?').next(), Some(start));
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            assert_eq!(param(url, &name), value);
        }
        let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert!(!names.iter().any(|name| name == "error"), "{url}");
        assert!(url.fragment().is_none(), "{url}");
        assert_eq!(param(url, "iss"), ISSUER);
        match request.get("state") {
            Some(state) => assert_eq!(param(url, "state"), state),
            None => assert!(!names.iter().any(|name| name == "state"), "{url}"),
        }
        let code = param(url, "code");
        assert!(is_unguessable(&code), "{code}");
        code
    }

    /// A successful token answer with an ID token.
    pub async fn check_tokens(&self, answer: &Answer, request: &Request) {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.text("token_type"), "DPoP");
        assert!(answer.body["expires_in"].as_i64().unwrap() > 0);
        let access_token = answer.text("access_token");
        assert!(is_unguessable(access_token));
        assert!(is_unguessable(answer.text("refresh_token")));
        assert!(
            answer.body["refresh_token"].as_str().unwrap().bytes().all(|byte| (0x20..0x7f).contains(&byte))
        );
        assert_eq!(claims_of(access_token)["cnf"]["jkt"], json!(self.key.thumbprint()));

        let id_token = answer.text("id_token");
        let header = jsonwebtoken::decode_header(id_token).unwrap();
        assert!(header.kid.is_some());
        assert!(matches!(
            header.alg,
            jsonwebtoken::Algorithm::ES256 | jsonwebtoken::Algorithm::PS256 | jsonwebtoken::Algorithm::EdDSA
        ));
        let claims = self.world.read(id_token, "JWT", self.client.client_id).await;
        let now = self.now();
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(self.client.client_id)));
        assert!(claims["exp"].as_i64().unwrap() > now && claims["iat"].as_i64().unwrap() <= now);
        assert!(claims["sub"].as_str().is_some_and(|sub| (1..=255).contains(&sub.len())));
        assert_eq!(claims.get("nonce").and_then(Value::as_str), request.get("nonce"));
        assert_eq!(claims.get("s_hash"), None, "nothing depends on the state");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, access_token.as_bytes());
        assert_eq!(claims["at_hash"], json!(base64url(&digest.as_ref()[..16])));
    }

    /// A protected resource that answers.
    pub async fn check_resource(&self, access_token: &str) {
        let answer = self.resource(access_token).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert!(answer.headers.contains_key("date"));
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(answer.body["sub"].is_string());
    }
}

/// The form fields of a signed assertion.
pub fn assertion(signed: &str) -> Form {
    form(&[
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", signed),
    ])
}

/// Alice, whom a browser with a session knows already.
pub fn person(browser: &Browser<'_>) -> Person {
    let known = browser.cookies.keys().any(|name| name.ends_with("session"));
    Person { is_new: !known, ..ALICE }
}
