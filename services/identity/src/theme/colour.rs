use std::fmt;

/// A colour in sRGB: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(pub u8, pub u8, pub u8);

impl Colour {
    /// Reads `#` and six hexadecimal digits; nothing else that CSS would take.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).ok();
        Some(Self(part(0)?, part(2)?, part(4)?))
    }

    /// How well one is read on the other, 1 to 21 (WCAG 2.2, "contrast ratio").
    pub fn contrast(self, other: Self) -> f64 {
        let (one, two) = (self.luminance(), other.luminance());
        (one.max(two) + 0.05) / (one.min(two) + 0.05)
    }

    /// Three quarters of each part: of a button on which a pointer rests.
    #[must_use]
    pub fn darker(self) -> Self {
        let part = |part: u8| part - part.div_ceil(4);
        Self(part(self.0), part(self.1), part(self.2))
    }

    /// A quarter of the way to white: the same on dark pages.
    #[must_use]
    pub fn lighter(self) -> Self {
        let part = |part: u8| part + (u8::MAX - part) / 4;
        Self(part(self.0), part(self.1), part(self.2))
    }

    // WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let part = |part: u8| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(self.0) + 0.7152 * part(self.1) + 0.0722 * part(self.2)
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).unwrap()
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        let white = colour("#FFFFFF");
        for (text, expected) in [("#000000", 21.0), ("#ffffff", 1.0), ("#767676", 4.54), ("#0b4f9c", 8.04)] {
            let contrast = colour(text).contrast(white);
            assert!((contrast - expected).abs() < 0.01, "{text}: {contrast}");
            assert!((contrast - white.contrast(colour(text))).abs() < 1e-9, "either way");
        }
    }

    #[test]
    fn a_colour_is_six_digits_and_nothing_else() {
        for wrong in ["", "#", "#fff", "0b4f9c", "#0b4f9", "#0b4f9c0", "#0b4f9g", "#+1+1+1", "#é0b4f", "red"]
        {
            assert_eq!(Colour::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_button_under_the_pointer_is_read_better() {
        assert_eq!(colour("#0b4f9c").darker(), colour("#083b75"), "as style.css has it");
        let (white, black) = (colour("#ffffff"), colour("#000000"));
        for text in ["#000000", "#0b4f9c", "#010203", "#ffffff"] {
            let one = colour(text);
            assert!(one.darker().contrast(white) >= one.contrast(white), "{text}");
            assert!(one.lighter().contrast(black) >= one.contrast(black), "{text}");
        }
    }
}
