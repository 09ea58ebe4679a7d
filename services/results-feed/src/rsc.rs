use std::{fmt, str::FromStr};

/// Length of every RSC in characters (ODF Foundation Principles 10.3).
pub const LENGTH: usize = 34;

/// A results system code: discipline 1-3, gender 4, event 5-22 (type 8, modifier 10), phase 23-26, unit 27-34.
/// `A-Z 0-9 .`; `-` fills a part on its right (ODF Foundation Principles 10.3) and, within an event, also stands for
/// itself: genuine codes hold `C2-500M` and `SCULL2-L`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rsc([u8; LENGTH]);

/// Where an RSC breaks its rule, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RSC of 34 characters: {rule} at position {position}")]
pub struct InvalidRsc {
    /// First character that is wrong or missing, from 1 to 35.
    pub position: usize,
    /// What is wrong there.
    pub rule: &'static str,
}

// First and last character of the parts that `-` only fills, from 1, as the specification counts.
const FILLED: [(usize, usize); 2] = [(23, 26), (27, 34)];

impl Rsc {
    /// All 34 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Parsing let only ASCII in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The three characters of the discipline.
    #[must_use]
    pub fn discipline(&self) -> &str {
        &self.as_str()[..3]
    }

    /// `M`, `W`, `X`, `O`, `G`, or `-` for none.
    #[must_use]
    pub fn gender(&self) -> char {
        char::from(self.0[3])
    }

    /// Type and modifier of the event without fill; empty where the code names none.
    #[must_use]
    pub fn event(&self) -> &str {
        self.as_str()[4..22].trim_end_matches('-')
    }

    /// The phase without fill, such as `FNL`; empty where the code names none.
    #[must_use]
    pub fn phase(&self) -> &str {
        self.as_str()[22..26].trim_end_matches('-')
    }

    /// The unit without fill; for clocks of a venue its code.
    #[must_use]
    pub fn unit(&self) -> &str {
        self.as_str()[26..32].trim_end_matches('-')
    }

    /// `--` for none, `00` for the parent of subunits, `01` and on for a subunit.
    #[must_use]
    pub fn subunit(&self) -> &str {
        &self.as_str()[32..]
    }

    /// Whether it names an event unit, not only an event, a phase or a discipline.
    #[must_use]
    pub fn is_unit(&self) -> bool {
        !self.unit().is_empty()
    }

    /// The sport event that it belongs to: phase and unit filled with `-`.
    #[must_use]
    pub fn sport_event(&self) -> Self {
        let mut code = self.0;
        code[22..].fill(b'-');
        Self(code)
    }

    /// Whether the code starts with `prefix`.
    #[must_use]
    pub fn starts_with(&self, prefix: &Prefix) -> bool {
        prefix.matches(self.as_str())
    }
}

impl fmt::Display for Rsc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Rsc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rsc({})", self.as_str())
    }
}

impl FromStr for Rsc {
    type Err = InvalidRsc;

    fn from_str(text: &str) -> Result<Self, InvalidRsc> {
        let wrong = |position, rule| Err(InvalidRsc { position, rule });
        for (at, character) in text.chars().take(LENGTH).enumerate() {
            if !is_part(character) && character != '-' {
                return wrong(at + 1, "only A-Z, 0-9, `.` and fill `-` are allowed");
            }
        }
        // Every character seen was ASCII, so bytes are characters from here on.
        if text.len() > LENGTH {
            return wrong(LENGTH + 1, "it goes on");
        }
        let Ok(code) = <[u8; LENGTH]>::try_from(text.as_bytes()) else {
            return wrong(text.len() + 1, "it ends");
        };
        if let Some(at) = code[..3].iter().position(|byte| *byte == b'-') {
            return wrong(at + 1, "the discipline has three characters");
        }
        if !b"MWXOG-".contains(&code[3]) {
            return wrong(4, "the gender is M, W, X, O, G or `-`");
        }
        if code[4] == b'-' && code[4..22].iter().any(|byte| *byte != b'-') {
            return wrong(5, "the event does not begin with `-`");
        }
        for (first, last) in FILLED {
            let part = &code[first - 1..last];
            let filled = part.iter().position(|byte| *byte == b'-').unwrap_or(part.len());
            if let Some(beyond) = part[filled..].iter().position(|byte| *byte != b'-') {
                return wrong(first + filled + beyond, "`-` only fills a part on its right");
            }
        }
        Ok(Self(code))
    }
}

const fn is_part(character: char) -> bool {
    matches!(character, 'A'..='Z' | '0'..='9' | '.')
}

/// The beginning of RSCs: a filter of 0 to 34 characters. The empty one matches everything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Prefix(String);

/// Text that begins no RSC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at most 34 characters of A-Z, 0-9, `.` and `-`")]
pub struct InvalidPrefix;

impl Prefix {
    /// Whether `document_code`, an RSC or not, begins with it.
    #[must_use]
    pub fn matches(&self, document_code: &str) -> bool {
        document_code.starts_with(&self.0)
    }

    /// Its characters: none of them means anything to SQL's `like`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let right =
            text.len() <= LENGTH && text.chars().all(|character| is_part(character) || character == '-');
        if right { Ok(Self(text.to_owned())) } else { Err(InvalidPrefix) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    const FINAL: &str = "ATHM100M------------FNL-000100--";

    fn position(text: &str) -> usize {
        text.parse::<Rsc>().unwrap_err().position
    }

    fn final_100m() -> Rsc {
        "ATHM100M--------------FNL-000100--".parse().unwrap()
    }

    #[test]
    fn the_parts_of_a_final_are_told_apart() {
        let rsc = final_100m();
        assert_eq!(rsc.discipline(), "ATH");
        assert_eq!(rsc.gender(), 'M');
        assert_eq!(rsc.event(), "100M");
        assert_eq!(rsc.phase(), "FNL");
        assert_eq!(rsc.unit(), "000100");
        assert_eq!(rsc.subunit(), "--");
        assert!(rsc.is_unit());
        assert_eq!(rsc.sport_event().to_string(), "ATHM100M--------------------------");
        assert!(!rsc.sport_event().is_unit());
        assert!(rsc.starts_with(&"ATHM100M".parse().unwrap()));
        assert!(!rsc.starts_with(&"ATHW".parse().unwrap()));
    }

    #[test]
    fn disciplines_with_digits_venue_clocks_and_hyphens_in_events_are_right() {
        for code in [
            "BK3M------------------------------",
            "ALP-----------------------JAL-----",
            "CSPMC2-500M-----------HEAT000100--",
        ] {
            assert_eq!(code.parse::<Rsc>().unwrap().to_string(), code);
        }
    }

    #[test]
    fn an_error_names_its_position() {
        assert_eq!(position(FINAL), 33, "two characters are missing");
        assert_eq!(position(""), 1);
        assert_eq!(position("ATHM100M--------------FNL-000100-"), 34);
        assert_eq!(position("ATHM100M--------------FNL-000100---"), 35);
        assert_eq!(position("ATHm100M--------------FNL-000100--"), 4);
        assert_eq!(position("ATHQ100M--------------FNL-000100--"), 4);
        assert_eq!(position("A-HM100M--------------FNL-000100--"), 2);
        assert_eq!(position("ATHM-100M-------------FNL-000100--"), 5);
        assert_eq!(position("ATHM100M--------------F'L-000100--"), 24);
        assert_eq!(position("ATHM100M--------------F-L-000100--"), 25);
        assert_eq!(position("ATHM100Mé-------------FNL-000100--"), 9);
    }

    #[test]
    fn every_results_code_of_paris_is_read_but_the_malformed_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/paris2024/results");
        let Ok(files) = fs::read_dir(&folder) else {
            return println!("skipped: there is no ../shared/data beside the project");
        };
        let (mut right, mut refused) = (0, Vec::new());
        for file in files {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for code in text.lines().skip(1).filter_map(|line| line.split(',').nth(1)) {
                match code.parse::<Rsc>() {
                    Ok(rsc) => {
                        assert_eq!(rsc.to_string(), code);
                        right += 1;
                    }
                    Err(error) => refused.push((code.to_owned(), error.position)),
                }
            }
        }
        refused.dedup();
        assert!(right > 15_000, "{right} codes");
        assert!(refused.iter().all(|(code, _)| code.starts_with("ATH_ATHMDECATH")), "{refused:?}");
        assert!(refused.iter().all(|(_, position)| *position == 4), "{refused:?}");
    }

    // Codes of four tables, whose columns are the parts of the code.
    #[test]
    fn every_code_of_pyeongchang_is_read() {
        let folder =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/odf/pyeongchang2018-codes");
        if !folder.exists() {
            return println!("skipped: there is no ../shared/data beside the project");
        }
        let mut count = 0;
        for (table, columns) in [("DisciplineGender", 2), ("Event", 3), ("Phase", 4), ("EventUnit", 5)] {
            let text = fs::read_to_string(folder.join(format!("{table}.csv"))).unwrap();
            for line in text.lines().skip(1).filter(|line| line.split(',').nth(columns - 1).is_some()) {
                let parts: String = line.split(',').take(columns).collect();
                // A line that goes on inside quotes begins with no code.
                if line.split(',').next().is_none_or(|discipline| discipline.len() != 3)
                    || parts.contains(char::is_lowercase)
                {
                    continue;
                }
                let code = format!("{parts:-<34}");
                assert_eq!(
                    code.parse::<Rsc>().map(|rsc| rsc.to_string()),
                    Ok(code.clone()),
                    "{table}: {line}"
                );
                count += 1;
            }
        }
        assert!(count > 1_000, "{count} codes");
    }

    proptest! {
        #[test]
        fn what_is_read_prints_back_the_same(
            discipline in "[A-Z0-9.]{3}", gender in "[MWXOG-]", event in "[A-Z0-9.][A-Z0-9.-]{0,7}", modifier in "[A-Z0-9.]{0,10}",
            phase in "[A-Z0-9.]{0,4}", unit in "[A-Z0-9.]{0,8}",
        ) {
            let code = format!("{discipline}{gender}{event:-<8}{modifier:-<10}{phase:-<4}{unit:-<8}");
            prop_assert_eq!(code.parse::<Rsc>().unwrap().to_string(), code);
        }

        #[test]
        fn garbage_is_refused_at_a_position_inside_or_just_behind(text in "\\PC{0,60}") {
            if let Err(error) = text.parse::<Rsc>() {
                prop_assert!((1..=LENGTH + 1).contains(&error.position));
            }
        }
    }
}
