//! Time from the bytes of a document to the patch from the version before, beside quick-xml's bare events on the same
//! bytes: which share of what the XML reader alone could do is left.
//!
//! Figures are the best of several runs, taken in turn: what else the machine does disturbs them upwards only. Processor
//! time is wall-clock time here: one thread, nothing waits.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its figures, and ends where its own documents are wrong"
)]

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use quick_xml::{Reader, events::Event};
use results_feed::{decoders::odf, difference::Difference};
use testkit::races::hundred_metres_final;

const RUNS: usize = 15;
/// Bytes that a run reads at least.
const RUN: usize = 8 << 20;

struct Subject {
    name: &'static str,
    document: String,
    before: String,
}

fn main() {
    println!(
        "{:<30}{:>10}{:>12}{:>12}{:>12}{:>8}{:>14}",
        "document", "bytes", "bare MB/s", "parse MB/s", "+diff MB/s", "ratio", "documents/s"
    );
    for subject in subjects() {
        measure(&subject);
    }
}

fn subjects() -> Vec<Subject> {
    let race = hundred_metres_final(1);
    let results: Vec<&str> = race
        .iter()
        .filter(|document| document.document_type == "DT_RESULT")
        .map(|document| document.xml.as_str())
        .collect();
    let (before, document) = (results[results.len() - 2].to_owned(), results[results.len() - 1].to_owned());
    let large = |rows: usize, last: &str| {
        let start = document.find("<Competition").expect("a body");
        let mut xml = document[..start].to_owned();
        xml.push_str("<Competition Code=\"SYN2030\">\n");
        for row in 0..rows {
            let mark = if row + 1 == rows { last } else { "10.21" };
            write!(
                xml,
                "  <Result Rank=\"{row}\" Result=\"{mark}\" ResultType=\"TIME\" SortOrder=\"{row}\" StartOrder=\"{row}\">\n    \
                 <Competitor Code=\"{row:07}\" Type=\"A\" Bib=\"{row}\" Organisation=\"JPN\">\n      <Composition>\n        \
                 <Athlete Code=\"{row:07}\" Order=\"1\" Bib=\"{row}\">\n          <Description GivenName=\"Hayato\" \
                 FamilyName=\"KITAMORI\" Gender=\"M\" Organisation=\"JPN\" BirthDate=\"2005-01-01\"/>\n        </Athlete>\n      \
                 </Composition>\n    </Competitor>\n  </Result>\n"
            )
            .expect("memory");
        }
        xml.push_str("</Competition></OdfBody>");
        xml
    };
    let versions = |rows: usize| (large(rows, "9.79"), large(rows, "9.80"));
    let (medium, many) = (versions(48), versions(22_500));
    vec![
        Subject { name: "DT_RESULT, eight lanes", document, before },
        Subject { name: "DT_RESULT, 48 competitors", document: medium.0, before: medium.1 },
        Subject { name: "10 MB", document: many.0, before: many.1 },
    ]
}

fn measure(subject: &Subject) {
    let bytes = subject.document.as_bytes();
    let base = odf::decode(subject.before.as_bytes()).expect("a document").body.expect("a body");
    let mut best = [Duration::MAX; 3];
    let rounds = (RUN / bytes.len()).max(1);
    for _ in 0..RUNS {
        best[0] = best[0].min(timed(rounds, || bare(&subject.document)));
        best[1] = best[1].min(timed(rounds, || odf::decode(black_box(bytes)).is_ok()));
        best[2] = best[2].min(timed(rounds, || {
            let decoded = odf::decode(black_box(bytes)).expect("a document");
            let body = decoded.body.expect("a body");
            Difference::between(base.bytes(), body.bytes()).is_some()
        }));
    }
    let speed = |time: Duration| megabytes(bytes.len()) / time.as_secs_f64();
    println!(
        "{:<30}{:>10}{:>12.0}{:>12.0}{:>12.0}{:>8.2}{:>14.0}   {:?} each",
        subject.name,
        bytes.len(),
        speed(best[0]),
        speed(best[1]),
        speed(best[2]),
        best[0].as_secs_f64() / best[2].as_secs_f64(),
        1.0 / best[2].as_secs_f64(),
        best[2],
    );
}

fn timed(rounds: usize, mut work: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    for _ in 0..rounds {
        assert!(black_box(work()), "the subject is a document");
    }
    started.elapsed() / u32::try_from(rounds).expect("few")
}

fn bare(document: &str) -> bool {
    let mut reader = Reader::from_str(black_box(document));
    loop {
        match reader.read_event() {
            Ok(Event::Eof) => return true,
            Ok(event) => {
                black_box(event);
            }
            Err(_) => return false,
        }
    }
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes).expect("few")) / 1e6
}
