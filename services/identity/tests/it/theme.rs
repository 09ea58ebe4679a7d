//! A client's pages have its look, and no other page has.

use proto::identity::v1::{
    Client, GetClientRequest, ListClientsRequest, Logo, Theme, UpdateClientRequest,
    client_service_client::ClientServiceClient,
};
use reqwest::{Method, Response, StatusCode, header};
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::{
    app_codes::turn_on,
    browser::{Asks, Browser, Page},
    clients::PORTAL_SCOPE,
    device,
    registration::{REGISTRATION, call, initial_access_token},
    tap::Tap,
    world::{ALICE, BOB, DEADLINE, ISSUER, World, authorize_url},
};

const SVG: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\"><circle cx=\"4\" cy=\"4\" r=\"4\"/></svg>";

fn theme(accent: &str) -> Theme {
    let logo = Logo { media_type: "image/svg+xml".to_owned(), data: SVG.into() };
    Theme { accent: accent.to_owned(), accent_dark: "#f2a0b5".to_owned(), logo: Some(logo) }
}

/// Gives a client a look, as its administrators do.
async fn dress(world: &World, client_id: &str, theme: Theme) -> Result<Client, Status> {
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let get = GetClientRequest { client_id: client_id.to_owned() };
    let client = clients.get_client(get).await.unwrap().into_inner().client.unwrap();
    let client = Some(Client { theme: Some(theme), ..client });
    let updated = clients.update_client(UpdateClientRequest { client, expected_version: 0 }).await?;
    Ok(updated.into_inner().client.unwrap())
}

/// A look that keeps the rules.
async fn dress_well(world: &World, client_id: &str) {
    dress(world, client_id, theme("#8a1538")).await.unwrap();
}

/// Addresses of the style sheets behind the one of every page, and of the logo with the words in its place.
fn look(page: &Page) -> (Vec<String>, Option<(String, String)>) {
    let html = Html::parse_document(&page.html);
    let (styles, logos) =
        (Selector::parse("link[rel=stylesheet]").unwrap(), Selector::parse("header img").unwrap());
    let attribute = |element: ElementRef<'_>, name| element.attr(name).unwrap().to_owned();
    let mut styles: Vec<String> = html.select(&styles).map(|style| attribute(style, "href")).collect();
    assert_eq!(styles.remove(0), "/identity/assets/style.css", "{}", page.url);
    let logo = html.select(&logos).next().map(|logo| (attribute(logo, "src"), attribute(logo, "alt")));
    (styles, logo)
}

/// Where the look of the client's page is served.
#[track_caller]
fn is_dressed(page: &Page, client_id: &str, name: &str) -> String {
    let (styles, logo) = look(page);
    let (src, alt) = logo.unwrap_or_else(|| panic!("no logo on {}: {}", page.url, page.html));
    let at = src.strip_suffix("/logo").unwrap().to_owned();
    assert_eq!((styles, alt.as_str()), (vec![format!("{at}/style.css")], name), "{}", page.url);
    assert!(at.starts_with(&format!("/identity/themes/{client_id}/")), "{at}");
    at
}

#[track_caller]
fn is_plain(page: &Page) {
    assert_eq!(look(page), (Vec::new(), None), "{}", page.url);
}

async fn get(world: &World, path: &str) -> Response {
    world.app.http().get(world.app.http_url(path)).send().await.unwrap()
}

fn said<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn login(browser: &mut Browser<'_>, client_id: &str, scope: &str, others: &[(&str, &str)]) -> Page {
    browser.open(&authorize_url(client_id, scope, others)).await.page()
}

/// The one form of a page that is posted, sent off by a button.
async fn press(browser: &mut Browser<'_>, page: &Page, button: Option<&str>) -> Page {
    let form = page.forms().into_iter().find(|form| form.post).unwrap();
    browser.submit(&form, button).await.page()
}

#[tokio::test]
async fn every_page_on_a_new_users_way_to_a_client_has_its_look() {
    let world = World::start().await;
    dress_well(&world, "shop").await;
    let mut browser = world.browser();
    let start = login(&mut browser, "shop", "openid email", &[("response_mode", "form_post")]).await;
    let recover = browser.open(&start.link("/recover").unwrap()).await.page();
    let passkey = start.url.as_str().replace("/login?", "/login/passkey?");
    let passkey = browser.open(&passkey).await.page();
    let sign_up = browser.open(&start.link("/signup").unwrap()).await.page();
    let mut form = sign_up.form_asking(Asks::Address).unwrap();
    form.fill(Asks::Address, BOB.email);
    let sent = browser.submit(&form, None).await.page();
    let link = world.peers.mail_to(BOB.email).await.variables["link"].clone();
    let link = browser.open(&link).await.page();
    let password = press(&mut browser, &link, None).await;
    let mut form = password.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Password, "short");
    let refused = browser.submit(&form, None).await.page();
    form.fill(Asks::Password, BOB.password);
    let consent = browser.submit(&form, None).await.page();
    let way_back = press(&mut browser, &consent, Some("allow")).await;
    let sign_out = browser.open("/logout?client_id=shop").await.page();
    let signed_out = press(&mut browser, &sign_out, None).await;
    let seen = [
        (start, "/login"),
        (recover, "/recover"),
        (passkey, "/login/passkey"),
        (sign_up, "/signup"),
        (sent, "/signup/verify"),
        (link, "/signup/verify"),
        (password, "/signup/complete"),
        (refused, "/signup/complete"),
        (consent, "/consent"),
        (way_back, "/consent"),
        (sign_out, "/logout"),
        (signed_out, "/logout"),
    ];
    for (page, path) in seen {
        assert_eq!(page.url.path(), path, "{}", page.html);
        is_dressed(&page, "shop", "Shop");
        let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("style-src 'self'; img-src 'self'; connect-src 'self'"), "{policy}");
    }
}

#[tokio::test]
async fn a_second_step_and_a_device_have_the_look_of_their_client() {
    let world = World::start().await;
    for client_id in ["shop", "tv"] {
        dress_well(&world, client_id).await;
    }
    let (mut own, _) = world.sign_up(ALICE).await;
    let begun = device::begin(&world, "openid").await;
    let confirm = device::type_code(&mut own, ALICE, begun.text("user_code")).await;
    is_dressed(&confirm, "tv", "Living room <TV>");
    let done = press(&mut own, &confirm, Some("allow")).await;
    is_dressed(&done, "tv", "Living room <TV>");
    is_plain(&own.open("/device").await.page());

    turn_on(&world, &mut own).await;
    let mut other = world.browser();
    let page = login(&mut other, "shop", "openid", &[]).await;
    let mut form = page.form_asking(Asks::Password).unwrap();
    form.fill(Asks::Address, ALICE.email);
    form.fill(Asks::Password, ALICE.password);
    let code = other.submit(&form, None).await.page();
    assert_eq!(code.url.path(), "/login/totp", "{}", code.html);
    is_dressed(&code, "shop", "Shop");
}

#[tokio::test]
async fn pages_of_other_clients_and_of_none_look_as_ever() {
    let world = World::start().await;
    dress_well(&world, "shop").await;
    let (mut browser, _) = world.sign_up(ALICE).await;
    for path in ["/account/security", "/account/security/password", "/device", "/logout"] {
        is_plain(&browser.open(path).await.page());
    }
    let mut other = world.browser();
    is_plain(&login(&mut other, "portal", PORTAL_SCOPE, &[]).await);
    for path in ["/login", "/signup", "/recover", "/logout?client_id=nobody", "/authorize?client_id=shop"] {
        is_plain(&other.open(path).await.page());
    }
    // With the parameter twice the request says nothing, and so no client either.
    is_plain(&browser.open("/logout?client_id=shop&client_id=shop").await.page());
}

#[tokio::test]
async fn a_look_is_kept_for_ever_and_its_logo_can_do_nothing() {
    let world = World::start().await;
    dress_well(&world, "shop").await;
    let at = is_dressed(&login(&mut world.browser(), "shop", "openid", &[]).await, "shop", "Shop");
    let style = get(&world, &format!("{at}/style.css")).await;
    assert_eq!((style.status(), said(&style, "content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert_eq!(said(&style, "cache-control"), "public, max-age=31536000, immutable");
    assert!(!style.headers().contains_key(header::SET_COOKIE));
    let style = style.text().await.unwrap();
    for part in ["--accent: #8a1538;", "@media (prefers-color-scheme: dark)", "--accent: #f2a0b5;"] {
        assert!(style.contains(part), "{style}");
    }
    let logo = get(&world, &format!("{at}/logo")).await;
    assert_eq!(logo.status(), StatusCode::OK);
    assert_eq!(said(&logo, "content-type"), "image/svg+xml; charset=utf-8");
    assert_eq!(said(&logo, "cache-control"), "public, max-age=31536000, immutable");
    assert_eq!(said(&logo, "x-content-type-options"), "nosniff");
    let policy = said(&logo, "content-security-policy");
    for part in ["default-src 'none'", "style-src 'unsafe-inline'", "frame-ancestors 'none'", "sandbox"] {
        assert!(policy.split("; ").any(|own| own == part), "{policy}");
    }
    assert!(!policy.contains("allow-") && !policy.contains("script-src"), "{policy}");
    assert_eq!(logo.text().await.unwrap(), SVG);
}

#[tokio::test]
async fn another_look_has_another_address_and_an_old_page_shows_what_there_is() {
    let world = World::start().await;
    let mut browser = world.browser();
    dress_well(&world, "shop").await;
    let old = is_dressed(&login(&mut browser, "shop", "openid", &[]).await, "shop", "Shop");
    dress(&world, "shop", theme("#145a32")).await.unwrap();
    let new = is_dressed(&login(&mut browser, "shop", "openid", &[]).await, "shop", "Shop");
    assert_ne!(old, new);
    for (at, kept) in [(&old, "no-store"), (&new, "public, max-age=31536000, immutable")] {
        let style = get(&world, &format!("{at}/style.css")).await;
        assert_eq!((style.status(), said(&style, "cache-control")), (StatusCode::OK, kept));
        assert!(style.text().await.unwrap().contains("--accent: #145a32;"), "{at}");
    }
    let bare = Theme { logo: None, accent_dark: String::new(), ..theme("#145a32") };
    dress(&world, "shop", bare).await.unwrap();
    let (styles, logo) = look(&login(&mut browser, "shop", "openid", &[]).await);
    assert_eq!((styles.len(), logo), (1, None));
    let style = get(&world, &styles[0]).await.text().await.unwrap();
    assert!(style.contains("--accent: #145a32;") && !style.contains("@media"), "{style}");
    assert_eq!(get(&world, &styles[0].replace("style.css", "logo")).await.status(), StatusCode::NOT_FOUND);

    let plain = dress(&world, "shop", Theme::default()).await.unwrap();
    assert_eq!(plain.theme, None);
    is_plain(&login(&mut browser, "shop", "openid", &[]).await);
    assert_eq!(get(&world, &format!("{new}/style.css")).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn where_there_is_no_look_there_is_a_page_that_says_so() {
    let world = World::start().await;
    for client_id in ["portal", "nobody", "%ff", "%00", "..%2f..%2fetc", &"x".repeat(300)] {
        for file in ["style.css", "logo"] {
            let path = format!("/identity/themes/{client_id}/0123456789abcdef0123456789abcdef/{file}");
            let answer = get(&world, &path).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(said(&answer, "cache-control"), "no-store", "{path}");
            assert!(said(&answer, "content-type").starts_with("text/html"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_look_comes_out_of_memory() {
    let tap = Tap::start().await;
    let world = World::start_through(&tap).await;
    dress_well(&world, "shop").await;
    let at = is_dressed(&login(&mut world.browser(), "shop", "openid", &[]).await, "shop", "Shop");
    let reads = async || {
        tap.take();
        for file in ["style.css", "logo"] {
            assert_eq!(get(&world, &format!("{at}/{file}")).await.status(), StatusCode::OK);
        }
        // Other work of the process goes over the same line.
        tap.take().texts.iter().filter(|text| text.contains("token_endpoint_auth_method")).count()
    };
    // A client that changed is looked up for as long as a second.
    let known = async {
        while reads().await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, known).await.unwrap();
    for _ in 0..20 {
        assert_eq!(reads().await, 0);
    }
}

#[tokio::test]
async fn a_look_that_breaks_a_rule_is_refused_by_its_field() {
    let world = World::start().await;
    let with = |media_type: &str, data: &[u8]| Theme {
        logo: Some(Logo { media_type: media_type.to_owned(), data: data.to_vec() }),
        ..theme("#8a1538")
    };
    let wrongs = [
        (theme("#ffd700"), "client.theme.accent"),
        (theme("red;} body{display:none"), "client.theme.accent"),
        (theme(""), "client.theme.accent"),
        (Theme { accent_dark: "#000000".to_owned(), ..theme("#8a1538") }, "client.theme.accent_dark"),
        (with("image/gif", b"GIF89a"), "client.theme.logo.media_type"),
        (with("image/png", SVG.as_bytes()), "client.theme.logo.data"),
        (with("image/svg+xml", b"<svg><script>alert(1)</script></svg>"), "client.theme.logo.data"),
        (with("image/svg+xml", format!("<svg>{}", " ".repeat(32_768)).as_bytes()), "client.theme.logo.data"),
    ];
    for (theme, field) in wrongs {
        let refused = dress(&world, "shop", theme).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert_eq!(chassis::fields_of(&refused).remove(0).field, field);
    }
    is_plain(&login(&mut world.browser(), "shop", "openid", &[]).await);
}

#[tokio::test]
async fn a_list_leaves_logos_out_and_is_not_taken_for_the_whole() {
    let world = World::start().await;
    let dressed = dress(&world, "shop", theme("#8A1538")).await.unwrap();
    assert_eq!(dressed.theme, Some(theme("#8a1538")));
    let mut clients = ClientServiceClient::new(world.app.grpc(&["identity.admin"]));
    let listed = clients.list_clients(ListClientsRequest::default()).await.unwrap().into_inner().clients;
    let shop = listed.into_iter().find(|client| client.client_id == "shop").unwrap();
    let logo = shop.theme.clone().unwrap().logo.unwrap();
    assert_eq!((logo.media_type.as_str(), logo.data.len()), ("image/svg+xml", 0));
    let update = UpdateClientRequest { client: Some(shop.clone()), expected_version: 0 };
    let refused = clients.update_client(update).await.unwrap_err();
    assert_eq!(chassis::fields_of(&refused).remove(0).field, "client.theme.logo.data");
    // Who does not know of looks changes none.
    let client = Some(Client { theme: None, name: "Another".to_owned(), ..shop });
    let updated = clients.update_client(UpdateClientRequest { client, expected_version: 0 }).await.unwrap();
    assert_eq!(updated.into_inner().client.unwrap().theme, dressed.theme);
}

#[tokio::test]
async fn the_bootstrap_file_gives_a_look_and_takes_it_back() {
    let world = World::start().await;
    let path = world.bootstrap_file().to_owned();
    let plain = std::fs::read_to_string(&path).unwrap();
    let mut file: Value = serde_json::from_str(&plain).unwrap();
    let clients = file["clients"].as_array_mut().unwrap();
    let shop = clients.iter_mut().find(|client| client["client_id"] == "shop").unwrap();
    shop["theme"] = json!({"accent": "#8a1538"});
    std::fs::write(&path, file.to_string()).unwrap();
    let world = world.killed_and_restarted().await;
    let (styles, logo) = look(&login(&mut world.browser(), "shop", "openid", &[]).await);
    assert_eq!((styles.len(), logo), (1, None));
    std::fs::write(&path, plain).unwrap();
    let world = world.killed_and_restarted().await;
    is_plain(&login(&mut world.browser(), "shop", "openid", &[]).await);
}

#[tokio::test]
async fn an_operator_gives_a_look_by_a_file() {
    let world = World::start().await;
    let path = std::env::temp_dir().join(format!("kotinos-theme-{}.json", domain::new_id().simple()));
    let file = path.to_str().unwrap();
    let operate = async |verb: &str, accent: &str| {
        let logo = json!({"media_type": "image/svg+xml", "data": "PHN2Zy8+"});
        let client = json!({
            "client_id": "kiosk", "name": "Kiosk", "kind": "partner", "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code"], "redirect_uris": ["https://kiosk.example/cb"],
            "scopes": ["openid"], "theme": {"accent": accent, "logo": logo},
        });
        std::fs::write(&path, client.to_string()).unwrap();
        world.operate(&["clients", verb, file, "--operator", "olga", "--json"]).await
    };
    let (text, ended) = operate("create", "#8a1538").await;
    ended.unwrap();
    let shown: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(shown["accent"], "#8a1538", "{text}");
    assert_eq!(shown["logo"], "image/svg+xml, 6 bytes", "{text}");
    let (_, ended) = operate("update", "#ffffff").await;
    let why = ended.unwrap_err().to_string();
    assert!(why.contains("theme.accent"), "{why}");
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_client_that_registered_itself_brings_no_logo_and_keeps_what_an_operator_gave_it() {
    let world = World::start_registering().await;
    let token = initial_access_token(&world, "partners").await;
    let mut metadata = json!({
        "client_name": "Ticket exchange", "redirect_uris": ["https://rp.example/callback"],
        "logo_uri": "https://rp.example/logo.png", "theme": {"accent": "#8a1538"},
    });
    let client = call(&world, Method::POST, REGISTRATION, &token, Some(&metadata)).await;
    assert_eq!(client.status, StatusCode::CREATED, "{}", client.body);
    let client_id = client.text("client_id");
    let start = format!(
        "/authorize?response_type=code&scope=openid&client_id={client_id}&redirect_uri=https://rp.example/callback"
    );
    let page = world.browser().open(&start).await.page();
    assert_eq!(page.url.path(), "/login", "{}", page.html);
    is_plain(&page);
    assert!(!page.html.contains("logo.png"), "{}", page.html);

    dress_well(&world, client_id).await;
    metadata["client_id"] = client_id.into();
    metadata["theme"] = Value::Null;
    let path = client.text("registration_client_uri").strip_prefix(ISSUER).unwrap();
    let token = client.text("registration_access_token");
    let replaced = call(&world, Method::PUT, path, token, Some(&metadata)).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.body);
    is_dressed(&world.browser().open(&start).await.page(), client_id, "Ticket exchange");
}
