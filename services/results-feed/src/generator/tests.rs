use std::collections::{BTreeMap, HashMap, HashSet};

use domain::NaiveDate;

use super::*;
use crate::{
    decoders::odf,
    document::{Document, Outcome, Version},
    header::DocumentKey,
    result,
};

fn options(seed: u64, faults: bool) -> Options {
    Options { seed, competition: "SYN2030".to_owned(), test: false, faults, keep_alive: 600 }
}

fn event(seed: u64, units: usize, faults: bool) -> Vec<Generated> {
    let choice = Choice { units: Some(units), ..Choice::default() };
    generate(synthetic(seed, SYNTHETIC_DAY, &choice), &options(seed, faults)).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_another_day() {
    assert_eq!(event(7, 9, true), event(7, 9, true));
    assert_eq!(event(7, 9, false), event(7, 9, false));
    assert_ne!(event(7, 9, false), event(8, 9, false));
}

#[test]
fn the_day_has_its_frame() {
    let documents = event(1, 3, false);
    let place = |name: &str| documents.iter().position(|document| document.document_type == name).unwrap();
    let last = |name: &str| documents.iter().rposition(|document| document.document_type == name).unwrap();
    assert_eq!((place("DT_GLOBAL_GM"), last("DT_GLOBAL_GN")), (0, documents.len() - 1));
    assert!(place("DT_SCHEDULE") < place("DT_LOCAL_ON") && place("DT_PARTIC") < place("DT_LOCAL_ON"));
    assert!(place("DT_LOCAL_ON") < place("DT_KA") && last("DT_KA") < last("DT_LOCAL_OFF"));
    assert!(place("DT_LOCAL_ON") < place("DT_RESULT") && last("DT_RESULT") < last("DT_LOCAL_OFF"));
    let offsets: Vec<u64> = documents.iter().map(|document| document.offset_ms).collect();
    assert!(offsets.is_sorted() && offsets[0] == 0);
}

#[test]
fn a_unit_goes_from_its_start_list_to_the_medals() {
    let documents = event(1, 1, false);
    let told: Vec<String> = documents
        .iter()
        .filter(|document| !["DT_KA", "DT_CURRENT"].contains(&document.document_type))
        .map(|document| match document.status {
            Some(status) => format!("{} {status}", document.document_type),
            None => document.document_type.to_owned(),
        })
        .collect();
    let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
    told.dedup();
    let live = "DT_RESULT LIVE";
    assert_eq!(
        told,
        [
            "DT_GLOBAL_GM",
            "DT_SCHEDULE",
            "DT_PARTIC",
            "DT_LOCAL_ON",
            "DT_SCHEDULE_UPDATE",
            "DT_RESULT START_LIST",
            "DT_SCHEDULE_UPDATE",
            live,
            "DT_SCHEDULE_UPDATE",
            "DT_RESULT UNOFFICIAL",
            "DT_RESULT OFFICIAL",
            "DT_MEDALLISTS OFFICIAL",
            "DT_MEDALS",
            "DT_LOCAL_OFF",
            "DT_GLOBAL_GN"
        ]
    );
    let currents = documents.iter().filter(|document| document.document_type == "DT_CURRENT").count();
    let lives = documents.iter().filter(|document| document.status == Some(ResultStatus::Live)).count();
    assert_eq!((currents, lives), (8, 8));
}

#[test]
fn rows_of_a_race_appear_by_rank() {
    let documents = event(3, 1, false);
    let mut seen = 0;
    for document in documents.iter().filter(|document| document.status == Some(ResultStatus::Live)) {
        let decoded = odf::decode(&document.document).unwrap();
        let lines = result::lines(&decoded.body.unwrap());
        let out: Vec<&str> =
            lines.iter().map(|line| line.rank.as_str()).take_while(|rank| !rank.is_empty()).collect();
        let expected: Vec<String> = (1..=out.len()).map(|rank| rank.to_string()).collect();
        assert_eq!(out, expected);
        assert!(out.len() >= seen && lines.len() == 8);
        seen = out.len();
    }
    assert!(seen >= 7);
}

#[test]
fn a_decathlon_whose_code_has_38_characters_is_refused() {
    let programme = synthetic(1, SYNTHETIC_DAY, &Choice::default());
    let [refused] = programme.refused() else { panic!("{:?}", programme.refused()) };
    assert_eq!((refused.code.len(), refused.error.position), (38, 4));
}

// What a feed would answer, by the rule of versions alone.
fn answers(documents: &[Generated]) -> Vec<(Expected, Option<Fault>)> {
    let mut heads: HashMap<DocumentKey, Document> = HashMap::new();
    documents
        .iter()
        .map(|generated| {
            let Ok(decoded) = odf::decode(&generated.document) else {
                return (Expected::InvalidRsc, generated.fault);
            };
            let sha256 = decoded.body.map(|body| {
                let mut digest = [0; 32];
                let bytes = body.to_bytes();
                digest
                    .copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes).as_ref());
                digest
            });
            let header = decoded.header;
            let offer = Version { version: header.version, sha256, status: header.status };
            let head = heads.get(&header.key);
            let outcome = Document::offer(head, &offer);
            let (answer, invalidated) = match outcome {
                Outcome::Accepted => (Expected::Accepted, false),
                Outcome::Invalidated => (Expected::Accepted, true),
                Outcome::Duplicate => (Expected::Duplicate, false),
                Outcome::Conflict => (Expected::Conflict, false),
                Outcome::Late => (Expected::Late, false),
            };
            if answer == Expected::Accepted {
                let (version, status) = (header.version, header.status);
                heads.insert(header.key, Document { version, sha256, status, invalidated, seq: 0 });
            }
            (answer, generated.fault)
        })
        .collect()
}

#[test]
fn without_faults_every_document_is_accepted() {
    for seed in 0..5 {
        let documents = event(seed, 12, false);
        assert!(documents.iter().all(|document| document.fault.is_none()));
        assert!(answers(&documents).iter().all(|(answer, _)| *answer == Expected::Accepted));
    }
}

#[test]
fn each_fault_is_there_and_meets_its_outcome() {
    for seed in 0..20 {
        let documents = event(seed, 6, true);
        let expected: Vec<_> = documents.iter().map(|document| (document.expected, document.fault)).collect();
        assert_eq!(answers(&documents), expected, "seed {seed}");
        let faults: HashSet<Fault> = documents.iter().filter_map(|document| document.fault).collect();
        assert_eq!(faults.len(), 10, "seed {seed}: {faults:?}");
        let offsets: Vec<u64> = documents.iter().map(|document| document.offset_ms).collect();
        assert!(offsets.is_sorted());
    }
}

#[test]
fn after_midnight_the_logical_day_goes_on() {
    let documents = event(2, 4, true);
    let rolled = documents.iter().filter(|document| document.fault == Some(Fault::MidnightRoll));
    let texts: Vec<&str> = rolled.map(|document| std::str::from_utf8(&document.document).unwrap()).collect();
    assert!(texts.iter().any(|text| text.contains("ResultStatus=\"OFFICIAL\"")));
    assert!(
        texts
            .iter()
            .all(|text| text.contains(" Date=\"2030-08-05\"") && text.contains("LogicalDate=\"2030-08-04\""))
    );
}

#[test]
fn a_system_that_takes_over_has_another_name() {
    let documents = event(2, 4, true);
    let sources: HashSet<String> = documents
        .iter()
        .filter(|document| document.document_type == "DT_RESULT")
        .filter_map(|document| odf::decode(&document.document).ok())
        .map(|decoded| decoded.header.source)
        .collect();
    assert!(
        sources.iter().any(|source| source.ends_with('2'))
            && sources.iter().any(|source| source.ends_with('1'))
    );
}

fn small_tables() -> Tables {
    let code = "ATHM100M--------------FNL-000100--";
    Tables {
        schedules: "start_date,end_date,day,status,discipline,discipline_code,event,event_medal,phase,gender,venue,venue_code,location_code,url\n\
            2024-08-04T21:50:00+02:00,2024-08-04T21:55:00+02:00,2024-08-04,FINISHED,Athletics,ATH,Men's 100m,1,Final,M,Stade,STA,STA,/en/results/athletics/men-s-100m/fnl-000100--\n\
            2024-08-04T20:00:00+02:00,2024-08-04T20:05:00+02:00,2024-08-04,CANCELLED,Athletics,ATH,Men's 100m,0,Preliminary,M,Stade,STA,STA,/en/results/athletics/men-s-100m/prel--------\n\
            2024-08-04T19:00:00+02:00,2024-08-04T19:30:00+02:00,2024-08-04,FINISHED,Fencing,FEN,Men's Foil Team,0,\"Semifinal, 1\",M,Palais,GRP,GRP,/en/results/fencing/men-s-foil-team/sfnl000100--\n\
            2024-08-05T19:00:00+02:00,2024-08-05T19:30:00+02:00,2024-08-05,FINISHED,Fencing,FEN,Women's Foil,0,x,W,Palais,GRP,GRP,\n"
            .to_owned(),
        medals: "medal_type,medal_code,medal_date,name,country_code,discipline,event,url_event,code\n\
            Gold Medal,1,2024-08-04,Taro SATO,JPN,Athletics,Men's 100m,/x/fnl-000100--,11\n\
            Bronze Medal,3,2024-08-03,A B,FRA,Athletics,Men's 200m,/x/fnl-000100--,12\n"
            .to_owned(),
        first_seen: "first_seen_unix,noc,name,discipline,event,color\n1722803000,JPN,SATO Taro,Athletics,Men's 100m,G\n"
            .to_owned(),
        results: vec![(
            "athletics.csv".to_owned(),
            format!(
                "stage_code,event_name,discipline_name,gender,participant_code,participant_name,participant_type,participant_country_code,rank,result,result_type,start_order,bib\n\
                 {code},Men's 100m,Athletics,M,11,SATO \"Taro\" <&>,Person,JPN,1.0,9.79,TIME,4.0,101\n\
                 {code},Men's 100m,Athletics,M,12,O'NEIL Bob,Person,FRA,2.0,9.80,TIME,5.0,102\n\
                 ATH_ATHMDECATH------------------------,Men's Decathlon,Athletics,M,13,C D,Person,CAN,1.0,8796,POINTS,,\n"
            ),
        )],
    }
}

#[test]
fn a_schedule_without_codes_finds_them_in_the_results_or_makes_them() {
    let day = NaiveDate::from_ymd_opt(2024, 8, 4).unwrap();
    let programme = paris(&small_tables(), day, &Choice::default()).unwrap();
    let codes: Vec<String> = programme.codes().map(|code| code.to_string()).collect();
    assert_eq!(
        codes,
        [
            "FENMFOILTEAM----------SFNL000100--",
            "ATHM100M--------------PREL--------",
            "ATHM100M--------------FNL-000100--"
        ]
    );
    assert_eq!((programme.units_with_rows(), programme.refused().len()), (1, 1));
    let documents: Vec<Generated> = generate(programme, &options(1, false)).collect();
    assert!(answers(&documents).iter().all(|(answer, _)| *answer == Expected::Accepted));
    let medals = documents.iter().find(|document| document.document_type == "DT_MEDALS").unwrap();
    let text = std::str::from_utf8(&medals.document).unwrap();
    assert!(text.contains("Organisation=\"JPN\"") && text.contains("Organisation=\"FRA\""), "{text}");
    // Seen at 22:23:20 that day.
    let medallists = documents.iter().find(|document| document.document_type == "DT_MEDALLISTS").unwrap();
    assert!(std::str::from_utf8(&medallists.document).unwrap().contains("Time=\"222320000\""));
}

#[test]
fn a_table_without_a_column_is_refused_by_name() {
    let day = NaiveDate::from_ymd_opt(2024, 8, 4).unwrap();
    let tables = Tables { medals: "a,b\n1,2\n".to_owned(), ..small_tables() };
    let error = paris(&tables, day, &Choice::default()).unwrap_err();
    assert_eq!(error.to_string(), "table medals.csv: has no column medal_code");
}

fn real_tables() -> Option<Tables> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/paris2024");
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let mut results: Vec<(String, String)> = std::fs::read_dir(folder.join("results"))
        .ok()?
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), text(&format!("results/{name}")).unwrap()))
        .collect();
    results.sort();
    Some(Tables {
        schedules: text("schedules.csv")?,
        medals: text("medals.csv")?,
        first_seen: text("medals-first-seen.csv")?,
        results,
    })
}

#[test]
fn a_whole_day_of_paris_is_accepted_by_the_rule_of_versions() {
    let Some(tables) = real_tables() else {
        return println!("skipped: there is no ../shared/data beside the project");
    };
    let day = NaiveDate::from_ymd_opt(2024, 7, 28).unwrap();
    let programme = paris(&tables, day, &Choice::default()).unwrap();
    assert!(
        programme.unit_count() > 400 && programme.units_with_rows() > 250,
        "{}",
        programme.units_with_rows()
    );
    assert_eq!(programme.refused().len(), 1, "{:?}", programme.refused());
    let documents: Vec<Generated> = generate(programme, &options(1, false)).collect();
    let unaccepted: Vec<&str> = documents
        .iter()
        .zip(answers(&documents))
        .filter(|(_, (answer, _))| *answer != Expected::Accepted)
        .map(|(document, _)| std::str::from_utf8(&document.document).unwrap())
        .collect();
    assert!(unaccepted.is_empty(), "{unaccepted:?}");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for document in &documents {
        *counts.entry(document.document_type).or_default() += 1;
    }
    println!("{} documents: {counts:?}", documents.len());
    assert!(counts["DT_RESULT"] > 2_000 && counts["DT_MEDALLISTS"] >= 13);
}
