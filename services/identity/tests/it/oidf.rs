//! The modules of the OpenID Foundation's conformance suite, one function for each, under the module's name with underscores.
//! Each checks what its module checks; the crate's README maps functions to modules.

mod backchannel;
mod basic;
mod config;
pub mod fapi2;
mod logout;
pub mod suite;

use std::{collections::BTreeSet, fs, path::Path};

use proto::profile::v1::{Profile, Trait, TraitValue, trait_value::Kind};

/// A profile with every trait that becomes a claim.
pub fn alice() -> Profile {
    let text = |name: &str, text: &str| Trait {
        name: name.to_owned(),
        value: Some(TraitValue { kind: Some(Kind::Text(text.to_owned())) }),
        ..Trait::default()
    };
    let mut profile = crate::world::profile_of("Alice", "Tanaka", "1990-02-28", "en");
    profile.time_zone = "Asia/Tokyo".to_owned();
    profile.changed_at = Some(prost_types::Timestamp { seconds: 1_784_887_200, nanos: 0 });
    profile.traits.extend([
        text("gender", "female"),
        text("phone", "+81312345678"),
        text("address_1", "1-1 Kasumigaokamachi"),
        text("address_2", "Shinjuku-ku"),
        text("prefecture", "JP-13"),
        text("postal_code", "160-0013"),
        text("country", "JP"),
    ]);
    profile
}

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { sources(&path, found) } else { found.push_str(&fs::read_to_string(path).unwrap()) }
    }
}

#[test]
fn the_readme_maps_every_function_to_its_module() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&here.join("tests/it/oidf"), &mut text);
    let functions: BTreeSet<&str> = text
        .split("async fn ")
        .skip(1)
        .filter_map(|rest| rest.split('(').next())
        .map(|name| name.strip_prefix("fapi2_security_profile_final_").unwrap_or(name))
        .collect();
    let readme = fs::read_to_string(here.join("README.md")).unwrap();
    let mut mapped = BTreeSet::new();
    for row in readme.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('`').collect();
        if let [_, function, " | ", module, ..] = cells[..]
            && module.contains('-')
        {
            assert_eq!(module.replace('-', "_"), function);
            assert!(functions.contains(function), "there is no function {function}");
            mapped.insert(function);
        }
    }
    assert_eq!(mapped.len(), 108);
}
