use super::*;

fn catalogue(at: usize) -> BTreeMap<String, String> {
    serde_json::from_str(WORDS[at].1).unwrap()
}

#[test]
fn every_language_has_the_same_words() {
    let english: Vec<String> = catalogue(1).into_keys().collect();
    for (at, (locale, _)) in WORDS.iter().enumerate() {
        let words = catalogue(at);
        assert!(words.values().all(|word| !word.trim().is_empty()), "{locale}");
        assert_eq!(words.into_keys().collect::<Vec<_>>(), english, "{locale}");
    }
}

#[test]
fn every_sport_prefecture_and_status_has_its_name() {
    let english = catalogue(1);
    let sports = OLYMPIC_SPORTS.iter().chain(&PARALYMPIC_SPORTS).map(|code| format!("sport_{code}"));
    let prefectures = (1..=47).map(|number| format!("prefecture_{number:02}"));
    let statuses = STATUSES.iter().map(|code| format!("status_{code}"));
    for key in sports.chain(prefectures).chain(statuses) {
        assert!(english.contains_key(&key), "{key}");
    }
}

#[test]
fn every_word_of_the_templates_is_in_the_catalogue() {
    let english = catalogue(1);
    let mut used = 0;
    for (name, source) in TEMPLATES {
        for rest in source.split("t.").skip(1).zip(source.split("t.")).filter_map(|(rest, before)| {
            let begins = before.chars().last().is_none_or(|last| !last.is_alphanumeric() && last != '_');
            begins.then_some(rest)
        }) {
            let key: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(english.contains_key(&key), "{name}: {key}");
            used += 1;
        }
    }
    assert!(used > 50, "{used}");
}

fn visitor(signed_in: bool) -> Value {
    context! { here => "/account", path => "/account?\"><script>", signed_in, csrf => "token", form => "id" }
}

fn unit() -> Value {
    context! {
        unit => "ATHM100M--------------FNL-000100--", discipline => "ATH", name => "Men's 100m Final",
        schedule_status => "RUNNING", result_status => "LIVE", start => 1_912_078_200, venue => "STA",
    }
}

fn account() -> Value {
    let names = [
        "given_name",
        "family_name",
        "given_name_kana",
        "family_name_kana",
        "gender",
        "country",
        "prefecture",
        "postal_code",
        "address_1",
        "address_2",
        "phone",
        "birth_date",
    ];
    let values: BTreeMap<&str, &str> = names.into_iter().map(|name| (name, "JP-13")).collect();
    let wrong = BTreeMap::from([("birth_date", "rule_date"), ("favourite_olympic_sports", "rule_sports")]);
    let errors: Vec<Value> =
        wrong.iter().map(|(field, rule)| context! { field => *field, rule => *rule }).collect();
    context! {
        email => "alice@example.org", security => "https://id.example/account/security", saved => true, locale => "ja",
        values => Value::from(Serde(values)), errors, wrong => Value::from(Serde(&wrong)),
        ..sports()
    }
}

fn sports() -> Value {
    let offered = BTreeMap::from([
        ("favourite_olympic_sports", OLYMPIC_SPORTS.to_vec()),
        ("favourite_paralympic_sports", PARALYMPIC_SPORTS.to_vec()),
    ]);
    let sets = BTreeMap::from([
        ("favourite_olympic_sports", vec!["ATH", "JUD"]),
        ("favourite_paralympic_sports", vec![]),
    ]);
    context! { offered => Value::from(Serde(offered)), sets => Value::from(Serde(sets)) }
}

fn consents() -> Value {
    let notice = context! { version => 2, language => "ja", paragraphs => vec!["One & two".to_owned()] };
    let answer = context! { status => "given", at => 1_912_078_200, version => 2, method => "portal /account/consents" };
    let none = Value::from(());
    let offers = vec![
        context! { purpose => "committee_newsletter", given => true, answer, notice => notice.clone() },
        context! { purpose => "ioc_newsletter", given => false, answer => none.clone(), notice },
        context! { purpose => "open_tracking", given => false, answer => none.clone(), notice => none.clone() },
        context! { purpose => "profiling", given => true, answer => none.clone(), notice => none },
    ];
    context! { offers, saved => true, out_of_date => true }
}

/// Every page, as full as it gets.
fn samples() -> Vec<(&'static str, Value)> {
    let line = |notice_version: u32| {
        context! { purpose => "profiling", status => "given", notice_version, method => "portal", at => 1_912_078_200 }
    };
    let session = context! {
        session_id => "1", authenticated_at => 1_912_078_200, seen_at => 0, sites => vec!["portal".to_owned()],
    };
    let row = context! {
        competitor => "1930101", name => "Théo D'ARVILLE", noc => "FRA", bib => "102", start_order => "4", rank => "1",
        mark => "9.79", irm => "",
    };
    let none = Value::from(());
    vec![
        ("home.html", context! {}),
        ("problem.html", context! { key => "problem_not_found" }),
        ("account.html", account()),
        (
            "favourites.html",
            context! { saved => true, errors => none.clone(), wrong => context! {}, ..sports() },
        ),
        ("consents.html", consents()),
        ("history.html", context! { lines => vec![line(2), line(0)] }),
        (
            "sessions.html",
            context! { sessions => vec![session], current => "1", security => "https://id.example", saved => true },
        ),
        (
            "my.html",
            context! { name => "Alice", favourites => vec!["ATH".to_owned(), "ZZZ".to_owned()], units => vec![unit()] },
        ),
        ("my.html", context! { name => "", favourites => Vec::<String>::new(), units => none.clone() }),
        (
            "results.html",
            context! { units => vec![unit()], feed => "/my/results/feed?sport=ATH", all => false, has_favourites => true },
        ),
        (
            "results.html",
            context! { units => Vec::<Value>::new(), feed => "/", all => true, has_favourites => false },
        ),
        (
            "unit.html",
            context! {
                feed => "/my/results/feed?unit=ATHM100M--------------FNL-000100--", status => "LIVE", unit => unit(),
                rows => vec![row], received_at => 1_912_078_260,
            },
        ),
        (
            "unit.html",
            context! { feed => "/", status => "", unit => unit(), rows => none.clone(), received_at => none },
        ),
    ]
}

#[test]
fn every_page_renders_in_every_language_and_markup_stays_text() {
    let pages = Pages::load(chrono_tz::Asia::Tokyo).unwrap();
    for (template, page) in samples() {
        for locale in Locale::ALL {
            for signed_in in [true, false] {
                let page = context! { ..page.clone(), ..visitor(signed_in) };
                let html = pages.render(template, locale, page).unwrap();
                assert!(html.contains(&format!("<html lang=\"{}\">", locale.tag())), "{template}");
                assert!(!html.contains("\"><script>") && !html.contains("D'ARVILLE"), "{template}: {html}");
            }
        }
    }
}

#[test]
fn times_are_in_the_zone_of_the_pages() {
    assert_eq!(moment(1_912_078_200, chrono_tz::Asia::Tokyo), "2030-08-04 21:50 JST");
    assert_eq!(iso(1_912_078_200), "2030-08-04T12:50:00+00:00");
}

#[test]
fn the_script_is_small() {
    assert!(include_str!("../../static/live.js").len() <= 8 * 1024);
    assert!(include_str!("../../static/results.js").len() <= 8 * 1024);
}
