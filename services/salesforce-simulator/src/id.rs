//! Salesforce ids: 15 characters with meaning of case, and 3 that let them survive software that folds it.

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SUFFIX: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
/// Instance and reserved characters, the same for every id of this org.
const INSTANCE: &str = "5g0";

/// The 18-character id of the `serial`-th record of an object with this key prefix (3 characters).
#[must_use]
pub fn write(prefix: &str, serial: u64) -> String {
    let mut digits = [b'0'; 9];
    let mut rest = serial;
    for digit in digits.iter_mut().rev() {
        *digit = usize::try_from(rest % 62).ok().and_then(|i| BASE62.get(i)).copied().unwrap_or(b'0');
        rest /= 62;
    }
    let mut id = String::with_capacity(18);
    id.push_str(prefix);
    id.push_str(INSTANCE);
    id.extend(digits.iter().map(|digit| char::from(*digit)));
    let suffix = suffix(id.as_bytes());
    id.push_str(&suffix);
    id
}

/// The serial in an id of 15 or 18 characters, if it is well formed and of this prefix.
#[must_use]
pub fn read(prefix: &str, id: &str) -> Option<u64> {
    if !id.is_ascii() || !matches!(id.len(), 15 | 18) {
        return None;
    }
    let (body, check) = id.split_at(15);
    if !check.is_empty() && !suffix(body.as_bytes()).eq_ignore_ascii_case(check) {
        return None;
    }
    let digits = body.strip_prefix(prefix)?.strip_prefix(INSTANCE)?;
    let mut serial = 0u64;
    for digit in digits.bytes() {
        let value = BASE62.iter().position(|known| *known == digit)?;
        serial = serial.checked_mul(62)?.checked_add(u64::try_from(value).ok()?)?;
    }
    Some(serial)
}

/// One character for each five: bit n is set where the n-th is upper case.
fn suffix(body: &[u8]) -> String {
    body.chunks(5)
        .map(|group| {
            let bits = group
                .iter()
                .enumerate()
                .fold(0usize, |bits, (place, byte)| bits | usize::from(byte.is_ascii_uppercase()) << place);
            SUFFIX.get(bits).map_or('A', |byte| char::from(*byte))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_is_that_of_published_ids() {
        assert_eq!(suffix(b"001RM000003oLnn"), "YAE");
        assert_eq!(suffix(b"001D000000IqhSL"), "IAZ");
    }

    #[test]
    fn an_id_is_read_back_in_both_lengths() {
        for serial in [0, 1, 61, 62, 8_200_000] {
            let id = write("003", serial);
            assert_eq!(id.len(), 18);
            assert_eq!(read("003", &id), Some(serial));
            assert_eq!(read("003", &id[..15]), Some(serial));
            assert_eq!(read("001", &id), None);
        }
    }

    #[test]
    fn a_wrong_id_is_not_read() {
        for id in
            ["", "003", "003é", "0035g0000000000000", "zzzzzzzzzzzzzzzzzz", "日本語日本語日本語日本語日本語"]
        {
            assert_eq!(read("003", id), None, "{id}");
        }
    }
}
