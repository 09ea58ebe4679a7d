//! The pages of fans: three languages, no script needed, nothing from elsewhere.

use testkit::races::{FINAL_100M, hundred_metres_final};

use crate::world::World;

async fn page(world: &World, path: &str, language: &str) -> (u16, String) {
    let request = world.app.http().get(world.app.http_url(path)).header("accept-language", language);
    let answer = request.send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"));
    // The templates write a slash as a reference.
    (answer.status().as_u16(), answer.text().await.unwrap().replace("&#x2f;", "/"))
}

#[tokio::test]
async fn the_final_is_shown_in_three_languages() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(1)).await;
    let path = format!("/results/live/{FINAL_100M}");
    for (language, word, status) in
        [("ja", "順位", "公式"), ("en", "Rank", "Official"), ("fr", "Rang", "Officiel")]
    {
        let (code, html) = page(&world, &path, language).await;
        assert_eq!(code, 200);
        assert!(html.contains(&format!("<html lang=\"{language}\">")));
        assert!(html.contains(word) && html.contains(status), "{html}");
        assert_eq!(html.matches("<tr data-row").count(), 8);
        assert!(html.contains("feed?prefix="), "the page says where it goes on");
        let (_, medals) = page(&world, "/results/medals", language).await;
        assert_eq!(medals.matches("<th scope=\"row\">").count(), 3);
        let (_, units) = page(&world, "/results/live", language).await;
        assert!(units.contains(&path));
    }
    let (_, html) = page(&world, &format!("{path}?lang=fr"), "ja").await;
    assert!(html.contains("<html lang=\"fr\">"), "a link outweighs the header");
    world.app.stop().await;
}

#[tokio::test]
async fn a_page_is_asked_for_again_by_its_tag() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    world.send(&key, &hundred_metres_final(1)).await;
    for path in
        [format!("/results/live/{FINAL_100M}"), "/results/medals".to_owned(), "/results/live".to_owned()]
    {
        let get = |tag: &str| {
            let request = world.app.http().get(world.app.http_url(&path)).header("accept-language", "en");
            request.header("if-none-match", tag).send()
        };
        let first = get("\"x\"").await.unwrap();
        assert_eq!(first.status(), 200, "{path}");
        assert_eq!(first.headers()["cache-control"], "public, max-age=1");
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        let again = get(&tag).await.unwrap();
        assert_eq!(again.status(), 304, "{path}");
        assert!(again.bytes().await.unwrap().is_empty());
    }
    world.app.stop().await;
}

#[tokio::test]
async fn the_feed_of_a_page_goes_on_where_the_page_stands_and_names_its_cells() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let race = hundred_metres_final(1);
    let seq = world.send(&key, &race).await;
    let (_, html) = page(&world, &format!("/results/live/{FINAL_100M}"), "en").await;
    let between = |html: &str, from: &str, to: &str| {
        html.split(from).nth(1).unwrap().split(to).next().unwrap().to_owned()
    };
    assert!(between(&html, "&amp;cursor=", "\"").ends_with(&format!(".{seq}")), "{html}");
    let handle = between(&html, "data-handle=\"", "\"");
    assert!(html.contains(&format!("data-key=\"{handle}/Competition/Result/1930101/Rank\"")), "{html}");
    let (_, medals) = page(&world, "/results/medals", "en").await;
    let handle = between(&medals, "data-handle=\"", "\"");
    assert!(medals.contains(&format!("data-key=\"{handle}/Competition/MedalLine/")), "{medals}");
    assert!(between(&medals, "&amp;cursor=", "\"").ends_with(&format!(".{seq}")));
    world.app.stop().await;
}

#[tokio::test]
async fn an_organisation_has_the_name_of_the_code_table_in_the_readers_language() {
    let world = World::start().await;
    let (_, key) = world.key("P", &[]).await;
    let table = r#"<OdfBody CompetitionCode="SYN2030" DocumentCode="GLO" DocumentType="DT_CODES" DocumentSubtype="ORGANISATION" Version="1" FeedFlag="P" Date="2030-08-04" Time="080000000" LogicalDate="2030-08-04" Source="SYN"><Competition><CodeSet Code="JPN"><Language Language="ENG" Description="Japan"/><Language Language="FRA" Description="Japon"/><Language Language="JPN" Description="日本"/></CodeSet><CodeSet Code="FRA"><Language Language="ENG" Description="France"/></CodeSet></Competition></OdfBody>"#;
    assert_eq!(world.post(&key, table).await.outcome, "accepted");
    world.send(&key, &hundred_metres_final(1)).await;
    for (language, japan) in [("ja", "日本"), ("en", "Japan"), ("fr", "Japon")] {
        let (_, html) = page(&world, &format!("/results/live/{FINAL_100M}"), language).await;
        assert!(html.contains(&format!("<abbr title=\"{japan}\">JPN</abbr>")), "{html}");
        assert!(html.contains("<abbr title=\"France\">FRA</abbr>"), "English for want of the language");
        assert!(html.contains("<abbr title=\"KEN\">KEN</abbr>"), "the code for want of a name");
    }
    world.app.stop().await;
}

#[tokio::test]
async fn an_unknown_unit_is_a_page_that_says_so() {
    let world = World::start().await;
    for unit in ["nonsense", &FINAL_100M[..33], FINAL_100M, "%3Cscript%3E", "..%2F..%2Fetc%2Fpasswd"] {
        let (code, html) = page(&world, &format!("/results/live/{unit}"), "en").await;
        assert_eq!(code, 404, "{unit}");
        assert!(html.contains("Page not found") && !html.contains("<script>"));
    }
    let (code, html) = page(&world, "/results/medals", "en").await;
    assert_eq!(code, 200);
    assert!(html.contains("No medals"));
    world.app.stop().await;
}
