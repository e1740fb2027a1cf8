//! `uuid`: sixteen bytes, as in the catalog.

use std::fmt::Write as _;

/// Parses the forms that `PostgreSQL` accepts: hyphens after any four digits, braces around all.
pub(crate) fn parse(text: &str) -> Result<[u8; 16], String> {
    let invalid = || format!("invalid input syntax for type uuid: `{text}`");
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => text,
    };
    let mut bytes = [0_u8; 16];
    let mut digits = 0_usize;
    let mut after_hyphen = true;
    for character in inner.chars() {
        if character == '-' {
            if after_hyphen || !digits.is_multiple_of(4) || digits == 32 {
                return Err(invalid());
            }
            after_hyphen = true;
            continue;
        }
        let digit = character.to_digit(16).ok_or_else(invalid)?;
        let byte = bytes.get_mut(digits / 2).ok_or_else(invalid)?;
        *byte = (*byte << 4) | u8::try_from(digit).map_err(|_| invalid())?;
        digits += 1;
        after_hyphen = false;
    }
    if digits == 32 {
        Ok(bytes)
    } else {
        Err(invalid())
    }
}

/// Formats thirty-two lower-case digits in five groups.
pub(crate) fn format(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_postgresql_are_read() {
        let plain = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for text in [
            plain,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11}",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ] {
            assert_eq!(format(&parse(text).unwrap()), plain);
        }
        for text in ["", "x", "a0eebc99", "-a0eebc999c0b4ef8bb6d6bb9bd380a11"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
