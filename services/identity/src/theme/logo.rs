use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{given, members, wrong};
use crate::client::InvalidClient;

/// Largest logo, in bytes.
const LARGEST: usize = 32 * 1024;
/// The same in base64.
const LONGEST: usize = LARGEST.div_ceil(3) * 4;
/// Longest side of a picture made of pixels: a few bytes can unpack to more memory than a telephone has.
const LONGEST_SIDE: u32 = 2_048;

const DATA: &str = "theme.logo.data";

/// A picture of at most 32 KiB: SVG, or PNG or WebP of at most 2,048 pixels a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    kind: Kind,
    bytes: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Svg,
    Png,
    WebP,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Svg, Self::Png, Self::WebP];

    const fn media_type(self) -> &'static str {
        match self {
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
            Self::WebP => "image/webp",
        }
    }
}

impl Logo {
    /// Reads `{"media_type", "data"}`, the data in base64 with padding (RFC 4648 4).
    ///
    /// # Errors
    /// The first field that breaks a rule; data that are not what the media type says.
    pub(super) fn parse(logo: &Value) -> Result<Self, InvalidClient> {
        let members = members("theme.logo", logo, &["media_type", "data"])?;
        let media_type = given(members, "media_type").and_then(Value::as_str);
        let Some(kind) = Kind::ALL.into_iter().find(|kind| media_type == Some(kind.media_type())) else {
            return wrong("theme.logo.media_type", "must be image/svg+xml, image/png or image/webp");
        };
        let data = given(members, "data").and_then(Value::as_str).unwrap_or_default();
        if data.len() > LONGEST {
            return wrong(DATA, "must be at most 32 KiB");
        }
        let Ok(bytes) = STANDARD.decode(data) else { return wrong(DATA, "must be base64 with padding") };
        if bytes.len() > LARGEST {
            return wrong(DATA, "must be at most 32 KiB");
        }
        match kind {
            Kind::Svg => check_svg(&bytes)?,
            Kind::Png => check_pixels(png_sides(&bytes), "must be a PNG of at most 2,048 pixels a side")?,
            Kind::WebP => check_pixels(webp_sides(&bytes), "must be a WebP of at most 2,048 pixels a side")?,
        }
        Ok(Self { kind, bytes: bytes.into() })
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"media_type": self.media_type(), "data": STANDARD.encode(&self.bytes)})
    }

    /// Of the picture, without parameters.
    pub const fn media_type(&self) -> &'static str {
        self.kind.media_type()
    }

    /// For its answer. An SVG says of itself how its letters are written; what was checked was UTF-8, and so shall it be read
    /// (RFC 7303 3.2: the parameter comes before the document).
    pub const fn content_type(&self) -> &'static str {
        match self.kind {
            Kind::Svg => "image/svg+xml; charset=utf-8",
            Kind::Png | Kind::WebP => self.kind.media_type(),
        }
    }

    /// The picture.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

// An <img> runs no script and loads nothing, and the answer's policy forbids both to whoever opens the address itself: what
// has no place in a picture is refused all the same, in case it is shown some day where neither holds. Entities would also
// be a way to write more than is stored.
fn check_svg(bytes: &[u8]) -> Result<(), InvalidClient> {
    let Ok(text) = str::from_utf8(bytes) else { return wrong(DATA, "must be UTF-8 for image/svg+xml") };
    if !text.starts_with("<svg") && !text.starts_with("<?xml") {
        return wrong(DATA, "must begin with <svg or <?xml for image/svg+xml");
    }
    let lower = text.to_ascii_lowercase();
    // Names of elements may have a prefix.
    if ["<script", ":script", "<!doctype", "<!entity"].iter().any(|part| lower.contains(part)) {
        return wrong(DATA, "must have no script, DOCTYPE or ENTITY");
    }
    Ok(())
}

fn check_pixels(sides: Option<(u32, u32)>, rule: &'static str) -> Result<(), InvalidClient> {
    let sound = |side: u32| (1..=LONGEST_SIDE).contains(&side);
    if sides.is_some_and(|(width, height)| sound(width) && sound(height)) {
        return Ok(());
    }
    wrong(DATA, rule)
}

// The signature and the first chunk (PNG, third edition, 5.2 and 11.2.1).
fn png_sides(bytes: &[u8]) -> Option<(u32, u32)> {
    let rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR")?;
    let (width, rest) = rest.split_first_chunk::<4>()?;
    let (height, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)))
}

// The container and its first chunk: simple lossy, simple lossless or extended (RFC 9649 2.4 to 2.7, 3.4; RFC 6386 9.1).
fn webp_sides(bytes: &[u8]) -> Option<(u32, u32)> {
    let (size, rest) = bytes.strip_prefix(b"RIFF")?.split_first_chunk::<4>()?;
    if usize::try_from(u32::from_le_bytes(*size)).ok()? != rest.len() {
        return None;
    }
    let (name, rest) = rest.strip_prefix(b"WEBP")?.split_first_chunk::<4>()?;
    let chunk = rest.get(4..)?;
    match name {
        b"VP8 " => {
            let frame = chunk.get(3..)?.strip_prefix(b"\x9d\x01\x2a")?.first_chunk::<4>()?;
            let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some((side(frame[0], frame[1]), side(frame[2], frame[3])))
        }
        b"VP8L" => {
            let bits = u32::from_le_bytes(*chunk.strip_prefix(b"\x2f")?.first_chunk::<4>()?);
            Some(((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1))
        }
        b"VP8X" => {
            let canvas = chunk.get(4..)?.first_chunk::<6>()?;
            let side = |at: usize| u32::from_le_bytes([canvas[at], canvas[at + 1], canvas[at + 2], 0]) + 1;
            Some((side(0), side(3)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logo(media_type: &str, bytes: &[u8]) -> Result<Logo, InvalidClient> {
        Logo::parse(&json!({"media_type": media_type, "data": STANDARD.encode(bytes)}))
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(), &sides, b"\x08\x06\0\0\0"].concat()
    }

    fn webp(name: &[u8; 4], chunk: &[u8]) -> Vec<u8> {
        let length = |of: usize| u32::try_from(of).unwrap().to_le_bytes();
        let whole = length(12 + chunk.len());
        [b"RIFF".as_slice(), &whole, b"WEBP", name, &length(chunk.len()), chunk].concat()
    }

    #[test]
    fn a_picture_of_each_kind_is_taken() {
        let right = [
            ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()),
            ("image/svg+xml", b"<?xml version='1.0'?><svg/>".to_vec()),
            ("image/png", png(2_048, 1)),
            ("image/webp", webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a\x00\x48\x01\x00")),
            ("image/webp", webp(b"VP8L", b"\x2f\xff\xc7\xff\x01")),
            ("image/webp", webp(b"VP8X", b"\0\0\0\0\xff\x07\x00\0\0\0")),
        ];
        for (media_type, bytes) in right {
            let one = logo(media_type, &bytes);
            let one = one.unwrap_or_else(|wrong| panic!("{media_type} {bytes:02x?}: {wrong}"));
            assert_eq!((one.media_type(), one.bytes().as_ref()), (media_type, bytes.as_slice()));
            assert_eq!(Logo::parse(&one.to_json()), Ok(one));
        }
    }

    #[test]
    fn a_picture_is_what_its_media_type_says() {
        let svg = b"<svg/>".to_vec();
        let wrongs = [
            ("image/png", svg.clone()),
            ("image/webp", svg.clone()),
            ("image/webp", png(1, 1)),
            ("image/svg+xml", png(1, 1)),
            ("image/png", b"\x89PNG\r\n\x1a\n".to_vec()),
            ("image/png", png(1, 1)[..20].to_vec()),
            ("image/webp", webp(b"VP8X", b"")),
            ("image/webp", webp(b"VP9 ", &[0; 10])),
            ("image/webp", [webp(b"VP8L", b"\x2f\0\0\0\0"), svg.clone()].concat()),
            ("image/webp", b"RIFF".to_vec()),
            ("image/svg+xml", Vec::new()),
            ("image/svg+xml", b" <svg/>".to_vec()),
            ("image/svg+xml", b"<html/>".to_vec()),
            ("image/svg+xml", b"<svg>\xff</svg>".to_vec()),
        ];
        for (media_type, bytes) in wrongs {
            assert_eq!(logo(media_type, &bytes).unwrap_err().field, DATA, "{media_type} {bytes:02x?}");
        }
        for media_type in ["", "image/gif", "text/html", "image/svg+xml; charset=utf-16", "IMAGE/PNG"] {
            assert_eq!(logo(media_type, &svg).unwrap_err().field, "theme.logo.media_type", "{media_type}");
        }
    }

    #[test]
    fn a_picture_that_unpacks_to_more_than_a_telephone_holds_is_refused() {
        let wrongs = [
            ("image/png", png(2_049, 1)),
            ("image/png", png(u32::MAX, u32::MAX)),
            ("image/png", png(0, 1)),
            ("image/webp", webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a\x01\x08\x01\x00")),
            ("image/webp", webp(b"VP8L", b"\x2f\xff\xff\xff\xff")),
            ("image/webp", webp(b"VP8X", b"\0\0\0\0\xff\xff\xff\xff\xff\xff")),
        ];
        for (media_type, bytes) in wrongs {
            let refused = logo(media_type, &bytes).unwrap_err();
            assert!(refused.field == DATA && refused.rule.contains("2,048"), "{bytes:02x?}: {refused}");
        }
    }

    #[test]
    fn a_picture_is_small() {
        let svg = |length: usize| [b"<svg>".as_slice(), &vec![b' '; length - 5]].concat();
        logo("image/svg+xml", &svg(LARGEST)).unwrap();
        for length in [LARGEST + 1, LARGEST + 2, LARGEST + 3, 1 << 20] {
            let refused = logo("image/svg+xml", &svg(length)).unwrap_err();
            assert_eq!((refused.field, refused.rule), (DATA, "must be at most 32 KiB"), "{length}");
        }
    }

    #[test]
    fn an_svg_has_no_script_and_no_entity() {
        for wrong in [
            "<svg><script>alert(1)</script></svg>",
            "<svg><SCRIPT href='//evil.example'/></svg>",
            "<svg xmlns:s='http://www.w3.org/2000/svg'><s:script/></svg>",
            "<?xml version='1.0'?><!DOCTYPE svg><svg/>",
            "<?xml version='1.0'?><!doctype svg [<!ENTITY a 'b'>]><svg>&a;</svg>",
        ] {
            let refused = logo("image/svg+xml", wrong.as_bytes()).unwrap_err();
            assert_eq!(refused.rule, "must have no script, DOCTYPE or ENTITY", "{wrong}");
        }
    }

    #[test]
    fn data_that_are_no_base64_are_refused() {
        for data in [
            json!("PHN2Zy8"),
            json!("PHN2Zy8+\n"),
            json!("<svg/>"),
            json!("=é="),
            json!(7),
            json!(["PHN2Zy8+"]),
        ] {
            let refused =
                Logo::parse(&json!({"media_type": "image/svg+xml", "data": data.clone()})).unwrap_err();
            assert_eq!(refused.field, DATA, "{data}");
        }
        let refused =
            Logo::parse(&json!({"media_type": "image/png", "data": "", "url": "https://evil.example"}));
        assert_eq!(refused.unwrap_err().field, "theme.logo");
    }
}
