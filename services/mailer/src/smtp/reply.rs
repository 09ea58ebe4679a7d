//! Replies of an SMTP server (RFC 5321 4.2), read from bytes as they come.

/// Longest line that is read; the RFC says 512, servers say more.
const LONGEST_LINE: usize = 4_096;
/// Longest reply, all lines.
const LONGEST: usize = 64 * 1_024;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// Its lines, without code and line ends.
    pub lines: Vec<String>,
}

/// What the other side says is no SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the relay's reply {0}")]
pub struct BadReply(&'static str);

impl Reply {
    /// Takes one whole reply off the front of a buffer; nothing while it is not all there.
    ///
    /// # Errors
    /// What is no reply, or is too long.
    pub fn take(buffer: &mut Vec<u8>) -> Result<Option<Self>, BadReply> {
        let mut lines = Vec::new();
        let mut code = None;
        let mut start = 0;
        loop {
            let Some(length) = buffer[start..].iter().position(|byte| *byte == b'\n') else {
                let is_long = buffer.len() - start > LONGEST_LINE || buffer.len() > LONGEST;
                return if is_long { Err(BadReply("is too long")) } else { Ok(None) };
            };
            let line = &buffer[start..start + length];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            start += length + 1;
            if line.len() > LONGEST_LINE || start > LONGEST {
                return Err(BadReply("is too long"));
            }
            let (number, is_last, text) = parse(line)?;
            if *code.get_or_insert(number) != number {
                return Err(BadReply("changes its code between lines"));
            }
            lines.push(text);
            if is_last {
                buffer.drain(..start);
                return Ok(Some(Self { code: number, lines }));
            }
        }
    }

    /// 2xx
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx: later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// The enhanced status code (RFC 3463), such as `5.1.1`; empty when there is none.
    #[must_use]
    pub fn enhanced(&self) -> &str {
        let word = self.lines.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
        let mut parts = word.split('.');
        let number = |part: Option<&str>, longest| {
            part.is_some_and(|part| {
                (1..=longest).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        let is_one = number(parts.next(), 1) && number(parts.next(), 3) && number(parts.next(), 3);
        if is_one && parts.next().is_none() { word } else { "" }
    }

    /// Whether a refusal of RCPT says that the mailbox is not there. A policy block (5.7.x) is about us, not about it.
    #[must_use]
    pub fn is_hard_bounce(&self) -> bool {
        match self.enhanced() {
            "" => matches!(self.code, 550 | 551 | 553),
            code => code.starts_with("5.1.") && !matches!(code, "5.1.7" | "5.1.8") || code == "5.2.1",
        }
    }

    /// Its words in one line, cut to 500 characters.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ").chars().filter(|letter| !letter.is_control()).take(500).collect()
    }
}

fn parse(line: &[u8]) -> Result<(u16, bool, String), BadReply> {
    let (digits, rest) = line.split_at_checked(3).ok_or(BadReply("has no code"))?;
    let code = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let code: u16 = code.and_then(|text| text.parse().ok()).ok_or(BadReply("has no code"))?;
    if !(200..600).contains(&code) {
        return Err(BadReply("has an unknown code"));
    }
    let (is_last, text) = match rest.split_first() {
        None => (true, rest),
        Some((b' ', text)) => (true, text),
        Some((b'-', text)) => (false, text),
        Some(_) => return Err(BadReply("has no separator after its code")),
    };
    Ok((code, is_last, String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(text: &str) -> Reply {
        Reply::take(&mut text.as_bytes().to_vec()).unwrap().unwrap()
    }

    #[test]
    fn replies_that_came_together_are_read_one_by_one() {
        let mut buffer = b"250-relay.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n354 go on\r\n25".to_vec();
        assert_eq!(
            Reply::take(&mut buffer).unwrap().unwrap().lines,
            ["relay.example", "PIPELINING", "8BITMIME"]
        );
        assert_eq!(Reply::take(&mut buffer).unwrap().unwrap().code, 354);
        assert_eq!(Reply::take(&mut buffer), Ok(None));
        assert_eq!(buffer, b"25");
    }

    #[test]
    fn the_enhanced_code_tells_a_missing_mailbox_from_a_policy() {
        assert_eq!(take("550 5.1.1 no such user\r\n").enhanced(), "5.1.1");
        assert!(take("550 5.1.1 no such user\r\n").is_hard_bounce());
        assert!(take("550 no such user\r\n").is_hard_bounce());
        assert!(!take("550 5.7.1 blocked\r\n").is_hard_bounce());
        assert!(!take("552 5.2.2 mailbox full\r\n").is_hard_bounce());
        assert_eq!(take("250 2.0.0.1 x\r\n").enhanced(), "");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let long = format!("250 {}", "x".repeat(5_000));
        let many = "250-x\r\n".repeat(20_000);
        for text in ["hello\r\n", "25\r\n", "999 x\r\n", "250-a\r\n550 b\r\n", "250=x\r\n", &long, &many] {
            assert!(Reply::take(&mut text.as_bytes().to_vec()).is_err(), "{text:.20}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reply::take(&mut bytes);
        }

        #[test]
        fn a_reply_is_the_same_wherever_it_is_cut(cut in 0_usize..40) {
            let whole = b"250-relay.example\r\n250-SIZE 1000\r\n250 OK\r\n";
            let mut buffer = whole[..cut].to_vec();
            prop_assert_eq!(Reply::take(&mut buffer).unwrap(), None);
            buffer.extend_from_slice(&whole[cut..]);
            prop_assert_eq!(Reply::take(&mut buffer).unwrap().unwrap().lines.len(), 3);
        }
    }
}
