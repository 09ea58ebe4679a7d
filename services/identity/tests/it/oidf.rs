//! The modules of the OpenID Foundation's conformance suite, one function for each, under the module's name with underscores.
//! Each checks what its module checks; the crate's README maps functions to modules.

mod backchannel;
mod basic;
mod config;
pub mod fapi2;
mod logout;
pub mod suite;

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
