//! What Alice told about herself is nowhere but where it belongs: not in logs, spans, metrics and Kafka's headers.

use anyhow::{Result, ensure};
use e2e::Walk;

/// Looks everywhere where an operator may look.
pub async fn stays_inside(walk: &Walk<'_>) -> Result<()> {
    let suite = walk.suite;
    let secrets = [walk.alice.address, walk.alice.given_name, walk.alice.family_name];
    let mut places: Vec<(String, String)> = Vec::new();
    for (name, log) in suite.logs().await? {
        ensure!(!log.is_empty(), "{name} logged nothing: the look into its log proves nothing");
        places.push((format!("the log of {name}"), log));
    }
    let spans = suite.spans.spans();
    ensure!(spans.len() > 100, "only {} spans came", spans.len());
    for span in spans {
        let text = format!("{} {:?} {:?}", span.name, span.attributes, span.error);
        places.push((format!("span {} of {}", span.name, span.service), text));
    }
    let http = reqwest::Client::builder().no_proxy().build()?;
    for service in suite.shape.services() {
        let page =
            http.get(suite.addresses.metrics_url(service)).send().await?.error_for_status()?.text().await?;
        ensure!(page.contains("# TYPE"), "{service} shows no metrics");
        places.push((format!("the metrics of {service}"), page));
    }
    let records = suite.facts.all().await;
    ensure!(records.len() > 20, "only {} records lie on Kafka", records.len());
    for record in records {
        let text = format!("{} {:?}", record.key, record.headers);
        places.push((format!("key and headers of a record on {}", record.topic), text));
    }
    for (place, text) in &places {
        for secret in secrets {
            let found = written(secret).into_iter().find(|form| text.contains(form.as_str()));
            ensure!(found.is_none(), "{place} holds {secret}, written {found:?}");
        }
    }
    Ok(())
}

/// How a text may be written in logs and labels.
fn written(secret: &str) -> Vec<String> {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let json: String = secret
        .chars()
        .map(
            |letter| {
                if letter.is_ascii() { letter.to_string() } else { format!("\\u{:04x}", u32::from(letter)) }
            },
        )
        .collect();
    let debug: String = secret.escape_unicode().to_string();
    let mut forms = vec![secret.to_owned(), percent.to_lowercase(), percent, json, debug];
    forms.sort();
    forms.dedup();
    forms
}

#[test]
fn a_planted_leak_is_found_in_any_writing() {
    for leak in ["to alice@fans.example:", "?email=alice%40fans.example&"] {
        assert!(written("alice@fans.example").iter().any(|form| leak.contains(form.as_str())), "{leak}");
    }
    for leak in ["青木", "%E9%9D%92%E6%9C%A8", "%e9%9d%92%e6%9c%a8", "\\u9752\\u6728", "\\u{9752}\\u{6728}"]
    {
        assert!(written("青木").iter().any(|form| leak.contains(form.as_str())), "{leak}");
    }
}
