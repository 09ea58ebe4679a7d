//! A mail as bytes: multipart/alternative of text and HTML, seven bits, CRLF everywhere.

pub mod body;
pub mod header;

use domain::{DateTime, EmailAddress, Utc};

pub use header::HeaderError;

use crate::mailbox;

/// What a mail is made of.
#[derive(Debug)]
pub struct Mail<'a> {
    /// Name of the sender.
    pub from_name: &'a str,
    /// Address of the sender.
    pub from: &'a EmailAddress,
    /// To whom.
    pub to: &'a EmailAddress,
    /// One line.
    pub subject: &'a str,
    /// With angle brackets.
    pub message_id: &'a str,
    /// When it was made.
    pub date: DateTime<Utc>,
    /// BCP 47 tag of both parts.
    pub language: &'a str,
    /// The one-click address of RFC 8058; none in what needs no consent.
    pub unsubscribe: Option<&'a str>,
    /// Plain text, any line ends.
    pub text: &'a str,
    /// HTML, any line ends.
    pub html: &'a str,
}

impl Mail<'_> {
    /// The whole message, header and body, without dot-stuffing.
    ///
    /// # Errors
    /// A header value that would break its line, an address that cannot be mailed.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let boundary = boundary(self.message_id);
        let mut out = Vec::with_capacity(2_048 + 2 * (self.text.len() + self.html.len()));
        let mut line = |text: String| {
            out.extend_from_slice(text.as_bytes());
            out.extend_from_slice(b"\r\n");
        };
        line(header::mailbox("From", self.from_name, &wire(self.from)?)?);
        line(header::mailbox("To", "", &wire(self.to)?)?);
        line(header::unstructured("Subject", self.subject)?);
        line(header::structured("Date", &self.date.format("%a, %d %b %Y %H:%M:%S +0000").to_string())?);
        line(header::structured("Message-ID", self.message_id)?);
        if let Some(url) = self.unsubscribe {
            line(header::structured("List-Unsubscribe", &format!("<{url}>"))?);
            line(header::structured("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")?);
        } else {
            // RFC 3834: no auto-reply to what a machine sends.
            line(header::structured("Auto-Submitted", "auto-generated")?);
        }
        line(header::structured("Content-Language", self.language)?);
        line("MIME-Version: 1.0".to_owned());
        line(format!("Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\""));
        out.extend_from_slice(b"\r\n");
        body::part(&mut out, &boundary, "text/plain", self.text);
        body::part(&mut out, &boundary, "text/html", self.html);
        out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Ok(out)
    }
}

fn wire(address: &EmailAddress) -> Result<String, HeaderError> {
    let form = mailbox::wire_form(address).ok_or(HeaderError::Address)?;
    String::from_utf8(form).map_err(|_| HeaderError::Address)
}

// Quoted-printable never holds `=_`, nor base64 an underscore, so no line of a body can be this.
fn boundary(message_id: &str) -> String {
    let letters: String = message_id.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    format!("=_{letters}_=")
}

#[cfg(test)]
mod tests {
    use mail_parser::{HeaderValue, MessageParser};
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> EmailAddress {
        EmailAddress::classify(text.as_bytes()).unwrap()
    }

    fn encode(subject: &str, text: &str, html: &str, to: &EmailAddress) -> Result<Vec<u8>, HeaderError> {
        let mail = Mail {
            from_name: "組織委員会, Newsletter",
            from: &address("news@committee.example"),
            to,
            subject,
            message_id: "<0123456789abcdef0123456789abcdef@committee.example>",
            date: DateTime::from_timestamp(1_900_000_000, 0).unwrap(),
            language: "ja",
            unsubscribe: Some("https://mail.committee.example/u/AAAA"),
            text,
            html,
        };
        mail.encode()
    }

    fn lines_end_right(bytes: &[u8]) -> bool {
        let text = bytes.iter().enumerate();
        let bare = |(at, byte): (usize, &u8)| match byte {
            b'\n' => at == 0 || bytes[at - 1] != b'\r',
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        };
        !text.into_iter().any(bare)
    }

    #[test]
    fn a_real_parser_reads_every_header_and_both_parts() {
        let to = address("a..b@docomo.ne.jp");
        let subject = "東京2020 ニュースレター: 陸上競技と柔道、そして選手村からのお知らせをお届けします";
        let bytes = encode(subject, "こんにちは\n.\n..dots", "<p>こんにちは = &amp;</p>", &to).unwrap();
        let mail = MessageParser::default().parse(&bytes).unwrap();
        assert_eq!(mail.subject(), Some(subject));
        assert_eq!(mail.message_id(), Some("0123456789abcdef0123456789abcdef@committee.example"));
        let from = mail.from().and_then(|from| from.first()).unwrap();
        assert_eq!(from.name(), Some("組織委員会, Newsletter"));
        assert_eq!(from.address(), Some("news@committee.example"));
        assert!(String::from_utf8_lossy(&bytes).contains("To: <\"a..b\"@docomo.ne.jp>\r\n"));
        assert_eq!(mail.body_text(0).unwrap().replace("\r\n", "\n"), "こんにちは\n.\n..dots");
        assert_eq!(mail.body_html(0).unwrap(), "<p>こんにちは = &amp;</p>");
        assert_eq!(mail.date().unwrap().to_timestamp(), 1_900_000_000);
        let post = mail.header("List-Unsubscribe-Post").and_then(HeaderValue::as_text);
        assert_eq!(post, Some("List-Unsubscribe=One-Click"));
        assert!(bytes.is_ascii());
    }

    #[test]
    fn a_value_that_would_break_its_line_is_refused() {
        let to = address("alice@example.org");
        for subject in ["a\r\nBcc: eve@example.org", "a\nb", "a\0b", "a\rb"] {
            assert_eq!(encode(subject, "", "", &to), Err(HeaderError::Control { name: "Subject" }));
        }
        assert_eq!(encode("a", "", "", &address("nobody")), Err(HeaderError::Address));
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(subject in "[^\\p{Cc}\u{2028}]{1,120}", text in "\\PC{0,400}(\n\\PC{0,90}){0,4}", html in "\\PC{0,900}") {
            let bytes = encode(&subject, &text, &html, &address("alice@example.org")).unwrap();
            prop_assert!(lines_end_right(&bytes) && bytes.is_ascii());
            prop_assert!(bytes.split(|byte| *byte == b'\n').all(|line| line.len() <= 999));
            let mail = MessageParser::default().parse(&bytes).unwrap();
            prop_assert_eq!(mail.part(1).and_then(|part| part.text_contents()).unwrap().replace("\r\n", "\n"), text);
            prop_assert_eq!(mail.part(2).and_then(|part| part.text_contents()).unwrap(), html);
        }
    }
}
