/// Given name and family name of a name as results write it: the family name in capitals, with its particles, first.
/// `van ROUWENDAAL Sharon` is Sharon, van ROUWENDAAL. Without capitals the last word is the family name.
#[must_use]
pub fn split(name: &str) -> (String, String) {
    let words: Vec<&str> = name.split_whitespace().collect();
    let capital = |word: &&str| {
        let mut letters = word.chars().filter(|letter| letter.is_alphabetic()).peekable();
        letters.peek().is_some() && letters.all(|letter| !letter.is_lowercase())
    };
    let last = words.iter().rposition(capital);
    let (family, given) = match last {
        Some(last) if last + 1 < words.len() => words.split_at(last + 1),
        Some(_) => (&words[..], &[][..]),
        None => {
            let (given, family) = words.split_at(words.len().saturating_sub(1));
            (family, given)
        }
    };
    (given.join(" "), family.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_name_is_in_capitals() {
        let of = |name| {
            let (given, family) = split(name);
            format!("{given}|{family}")
        };
        assert_eq!(of("van ROUWENDAAL Sharon"), "Sharon|van ROUWENDAAL");
        assert_eq!(of("CUNHA Ana Marcela"), "Ana Marcela|CUNHA");
        assert_eq!(of("RAYSSA"), "|RAYSSA");
        assert_eq!(of("Remco Evenepoel"), "Remco|Evenepoel");
        assert_eq!(of(""), "|");
    }
}
