//! `generate`: a synthetic event, to a directory, to standard output, or to a running feed.

use std::{
    fs,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use chassis::{Operator, Stop};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use domain::NaiveDate;
use serde_json::json;

use super::sending;
use crate::generator::{
    self, Choice, Generated, Options, Programme, SHORTEST_KEEP_ALIVE, SYNTHETIC_DAY, Tables,
};

/// Documents between two lines of progress.
const PROGRESS: usize = 1_000;
/// Seconds between two keep-alives, unless asked otherwise: readers take a venue for late after 30 s.
const KEEP_ALIVE: &str = "20";

const TEACHING: &str = "\
What it makes: a day of competition in the order in which timing and scoring would send it. Good morning, schedules, participants; each venue's
LOCAL_ON, keep-alives, LOCAL_OFF; for each unit GETTING_READY, START_LIST, RUNNING, LIVE with CURRENT, FINISHED, UNOFFICIAL, OFFICIAL, medallists,
standings; good night. The same seed gives the same bytes.

Without --rows it makes up 100 m races, swimming and judo. With --rows DIR it reads schedules.csv, medals.csv, medals-first-seen.csv and
results/*.csv and plays a day of them (--day). Codes that are no RSC of 34 characters are refused, each named on standard error.

--faults adds, to some units, what senders do: a duplicate, a version that overtakes, a hole, a conflict, an invalidation and its correction, a live
version after the official one, a second system that takes over, a code of 33 characters, a unit that ends after midnight.

Where it goes:
  --out DIR   0000001.xml, 0000002.xml, ... and index.csv: file, offset in ms, type, code, version, status, fault, expected outcome
  --out -     an object a line on standard output, with offset_ms and document
  --to URL    POSTs to a running feed, gzip, with the key in --key-file. A document that is not taken is sent again each 5 s, or when Retry-After says so;
              a wrong key (401) ends it. --speed 1 is real time, 60 a minute each second, max as fast as the feed answers.

Examples
  results-feed generate --seed 7 --out /tmp/day
  results-feed generate --seed 7 --units 3 --out - | head -1
  results-feed generate --seed 7 --rows ../shared/data/paris2024 --day 2024-07-28 --discipline SWM --out /tmp/swimming
  results-feed generate --seed 7 --faults --to http://localhost:8106/results/v1/odf --key-file key.txt --speed 60";

fn arg(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

pub(super) fn command() -> Command {
    let command = Command::new("generate")
        .about("Makes a synthetic event as its senders would POST it")
        .arg(
            arg("seed", "N", "Whole number; the same one gives the same bytes")
                .required(true)
                .value_parser(value_parser!(u64)),
        )
        .arg(
            arg("rows", "DIR", "Tables of a real event instead of made-up ones")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            arg("day", "YYYY-MM-DD", "The logical day [2030-08-04; with --rows 2024-07-28]")
                .value_parser(value_parser!(NaiveDate)),
        )
        .arg(
            arg("discipline", "CODE", "Only this one, such as ATH")
                .value_parser(discipline)
                .default_value(""),
        )
        .arg(
            arg("units", "N", "At most so many units, the first ones [12; with --rows all]")
                .value_parser(value_parser!(u32)),
        )
        .arg(
            arg("competition", "CODE", "CompetitionCode of every document")
                .value_parser(competition)
                .default_value("SYN2030"),
        )
        .arg(
            arg("keep-alive", "SECONDS", "Between two keep-alives of a venue; 0 for none")
                .value_parser(value_parser!(u32).range(0..=86_400))
                .default_value(KEEP_ALIVE),
        )
        .arg(Arg::new("test").long("test").action(ArgAction::SetTrue).help("FeedFlag T instead of P"))
        .arg(
            Arg::new("faults")
                .long("faults")
                .action(ArgAction::SetTrue)
                .help("With the mistakes that senders make"),
        )
        .after_help(TEACHING);
    with_destination(command)
}

fn with_destination(command: Command) -> Command {
    command
        .arg(
            arg("out", "DIR|-", "A directory that is made and must be empty, or standard output")
                .required_unless_present("to"),
        )
        .arg(arg("to", "URL", "A feed's /results/v1/odf").conflicts_with("out").requires("key-file"))
        .arg(
            arg("key-file", "FILE", "The key of 32 characters for --to").value_parser(value_parser!(PathBuf)),
        )
        .arg(
            arg("speed", "X", "Times real time for --to, 0.1 to 1000, or max")
                .value_parser(sending::speed)
                .default_value("1"),
        )
}

fn discipline(text: &str) -> Result<String, String> {
    let right = text.is_empty()
        || text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if right {
        Ok(text.to_owned())
    } else {
        Err("three characters of A-Z 0-9, such as ATH or BK3".to_owned())
    }
}

fn competition(text: &str) -> Result<String, String> {
    let right = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if right { Ok(text.to_owned()) } else { Err("1 to 20 letters and digits, such as SYN2030".to_owned()) }
}

pub(super) async fn run(matches: ArgMatches, operator: Operator) -> Result<(), Stop> {
    let asked = |name: &str| matches.get_one::<String>(name).cloned().unwrap_or_default();
    let choice = Choice {
        discipline: asked("discipline"),
        units: matches.get_one::<u32>("units").and_then(|units| usize::try_from(*units).ok()),
    };
    let seed = matches.get_one::<u64>("seed").copied().unwrap_or_default();
    let programme = programme(&matches, seed, &choice)?;
    for refused in programme.refused() {
        progress(&format!("refused: {}: {}", refused.code, refused.error))?;
    }
    if programme.unit_count() == 0 {
        return Err(Stop::Usage("no unit takes place on that day in that discipline".to_owned()));
    }
    progress(&format!("{} units, {} with competitors", programme.unit_count(), programme.units_with_rows()))?;
    let keep_alive = matches.get_one::<u32>("keep-alive").copied().unwrap_or_default();
    let options = Options {
        seed,
        competition: asked("competition"),
        test: matches.get_flag("test"),
        faults: matches.get_flag("faults"),
        keep_alive: if keep_alive == 0 { 0 } else { keep_alive.max(SHORTEST_KEEP_ALIVE) },
    };
    let documents = generator::generate(programme, &options);
    match matches.get_one::<String>("to") {
        Some(url) => {
            let key = key(&matches)?;
            let speed = matches.get_one::<sending::Speed>("speed").copied().unwrap_or_default();
            sending::send(documents, url, &key, speed, &operator).await
        }
        None if asked("out") == "-" => print(documents, matches.get_flag("json"), &operator),
        None => write(documents, Path::new(&asked("out")), &operator),
    }
}

fn programme(matches: &ArgMatches, seed: u64, choice: &Choice) -> Result<Programme, Stop> {
    let day = matches.get_one::<NaiveDate>("day").copied();
    let Some(rows) = matches.get_one::<PathBuf>("rows") else {
        return Ok(generator::synthetic(seed, day.unwrap_or(SYNTHETIC_DAY), choice));
    };
    // Its fullest day.
    let usual = NaiveDate::from_ymd_opt(2024, 7, 28).unwrap_or(SYNTHETIC_DAY);
    Ok(generator::paris(&read(rows)?, day.unwrap_or(usual), choice)?)
}

fn read(rows: &Path) -> Result<Tables, Stop> {
    let text = |path: &Path| {
        fs::read_to_string(path).map_err(|error| Stop::failed(format!("{}: {error}", path.display())))
    };
    let folder = rows.join("results");
    let files =
        fs::read_dir(&folder).map_err(|error| Stop::failed(format!("{}: {error}", folder.display())))?;
    let mut results = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            results.push((name, text(&path)?));
        }
    }
    // A folder has no order, and the same seed gives the same bytes.
    results.sort();
    Ok(Tables {
        schedules: text(&rows.join("schedules.csv"))?,
        medals: text(&rows.join("medals.csv"))?,
        first_seen: text(&rows.join("medals-first-seen.csv"))?,
        results,
    })
}

fn key(matches: &ArgMatches) -> Result<String, Stop> {
    let Some(path) = matches.get_one::<PathBuf>("key-file") else {
        return Err(Stop::Usage("--to needs --key-file".to_owned()));
    };
    let key =
        fs::read_to_string(path).map_err(|error| Stop::failed(format!("{}: {error}", path.display())))?;
    let key = key.trim();
    if key.len() != 32 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Stop::Usage("the key file holds one key of 32 letters and digits".to_owned()));
    }
    Ok(key.to_owned())
}

fn print(documents: impl Iterator<Item = Generated>, json: bool, operator: &Operator) -> Result<(), Stop> {
    for generated in documents {
        let document = String::from_utf8_lossy(&generated.document);
        let fields = [
            ("offset_ms", json!(generated.offset_ms)),
            ("fault", json!(generated.fault.map(generator::Fault::name))),
            ("expected", json!(generated.expected.outcome())),
            ("document", json!(document)),
        ];
        if json {
            operator.fields(&fields)?;
        } else {
            let object: serde_json::Map<_, _> =
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            operator.say(&serde_json::Value::Object(object).to_string())?;
        }
    }
    Ok(())
}

fn write(documents: impl Iterator<Item = Generated>, folder: &Path, operator: &Operator) -> Result<(), Stop> {
    fs::create_dir_all(folder)?;
    if fs::read_dir(folder)?.next().is_some() {
        return Err(Stop::Refused(format!("{} is not empty", folder.display())));
    }
    let mut index = BufWriter::new(fs::File::create(folder.join("index.csv"))?);
    writeln!(index, "file,offset_ms,document_type,document_code,version,result_status,fault,expected")?;
    let (mut count, mut bytes) = (0, 0);
    for generated in documents {
        count += 1;
        bytes += generated.document.len();
        let file = format!("{count:07}.xml");
        fs::write(folder.join(&file), &generated.document)?;
        let Generated { offset_ms, document_type, document_code, version, status, fault, expected, .. } =
            generated;
        let status = status.map_or("", crate::document_type::ResultStatus::name);
        let fault = fault.map_or("", generator::Fault::name);
        let expected = expected.outcome();
        writeln!(
            index,
            "{file},{offset_ms},{document_type},{document_code},{version},{status},{fault},{expected}"
        )?;
        if count % PROGRESS == 0 {
            progress(&format!("{count} documents written"))?;
        }
    }
    index.flush()?;
    operator.fields(&[
        ("documents", count.into()),
        ("bytes", bytes.into()),
        ("folder", folder.display().to_string().into()),
    ])
}

/// A line for whoever waits; standard output is the answer's.
pub(super) fn progress(line: &str) -> Result<(), Stop> {
    Ok(writeln!(std::io::stderr(), "{line}")?)
}
