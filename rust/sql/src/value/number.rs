//! Integers and floating-point numbers, in the syntax of `PostgreSQL`.

/// Removes the whitespace that `PostgreSQL` ignores around a number.
fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}'])
}

/// Parses an integer of the type `name`, which has the bounds `least` and `most`.
pub(crate) fn parse_integer(text: &str, name: &str, least: i64, most: i64) -> Result<i64, String> {
    let digits = trimmed(text);
    let body = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    if body.is_empty() || !body.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("invalid input syntax for type {name}: `{text}`"));
    }
    digits
        .parse::<i64>()
        .ok()
        .filter(|value| (least..=most).contains(value))
        .ok_or_else(|| format!("value `{text}` is out of range for type {name}"))
}

pub(crate) fn parse_int4(text: &str) -> Result<i64, String> {
    parse_integer(text, "integer", i64::from(i32::MIN), i64::from(i32::MAX))
}

pub(crate) fn parse_int8(text: &str) -> Result<i64, String> {
    parse_integer(text, "bigint", i64::MIN, i64::MAX)
}

pub(crate) fn parse_float(text: &str) -> Result<f64, String> {
    let digits = trimmed(text);
    let plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    let value = match digits.parse::<f64>() {
        Ok(value) if plain => value,
        Err(_) if plain => {
            return Err(format!(
                "invalid input syntax for type double precision: `{text}`"
            ));
        }
        _ => {
            return Err(format!(
                "`{text}` is not a double precision number that this server accepts: \
                 only finite decimal numbers are"
            ));
        }
    };
    let has_digit = digits
        .bytes()
        .take_while(|byte| !matches!(byte, b'e' | b'E'))
        .any(|byte| matches!(byte, b'1'..=b'9'));
    if value.is_infinite() || (value == 0.0 && has_digit) {
        return Err(format!(
            "`{text}` is out of range for type double precision"
        ));
    }
    Ok(value)
}

pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    let word = trimmed(text).to_ascii_lowercase();
    let starts = |full: &str, least: usize| word.len() >= least && full.starts_with(&word);
    if starts("true", 1) || starts("yes", 1) || starts("on", 2) || word == "1" {
        Ok(true)
    } else if starts("false", 1) || starts("no", 1) || starts("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(format!("invalid input syntax for type boolean: `{text}`"))
    }
}

/// The shortest text that parses to the same number, in the format of `PostgreSQL`.
pub(crate) fn format_float(value: f64) -> String {
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.into();
    }
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..15).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Rounds a floating-point number to an integer; halves are rounded to even.
pub(crate) fn float_to_int(value: f64, name: &str, least: i64, most: i64) -> Result<i64, String> {
    let rounded = value.round_ties_even();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "the bounds are checked just here"
    )]
    if rounded >= least as f64 && rounded < most as f64 + 1.0 {
        let whole = rounded as i64;
        if (least..=most).contains(&whole) {
            return Ok(whole);
        }
    }
    Err(format!("{name} out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_postgresql_writes_them() {
        for (value, text) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (1e15, "1e+15"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (-2.5e-300, "-2.5e-300"),
        ] {
            assert_eq!(format_float(value), text);
        }
    }

    #[test]
    fn invalid_numbers_are_refused() {
        for text in ["", "x", "1x", "1 2", "0x10", "1_000", "9999999999"] {
            assert!(parse_int4(text).is_err(), "{text}");
        }
        assert_eq!(parse_int4(" -7 "), Ok(-7));
        for text in ["inf", "nan", "1e999", "1e-999", "."] {
            assert!(parse_float(text).is_err(), "{text}");
        }
        assert_eq!(parse_bool("T"), Ok(true));
        assert!(parse_bool("o").is_err());
    }
}
