//! The pages of fans: three languages, no script needed, nothing from elsewhere.

use testkit::races::{FINAL_100M, hundred_metres_final};

use crate::world::World;

async fn page(world: &World, path: &str, language: &str) -> (u16, String) {
    let request = world.app.http().get(world.app.http_url(path)).header("accept-language", language);
    let answer = request.send().await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'"));
    (answer.status().as_u16(), answer.text().await.unwrap())
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
        assert_eq!(html.matches("<tr data-order").count(), 8);
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
