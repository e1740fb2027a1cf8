//! Functions on instants, dates and intervals. Times without a zone are in UTC.

use rusqlite::types::Value;

use super::{Arguments, Function, bounded, decimal};
use crate::types::Type::{Date, Float8, Int4, Interval, Numeric, Text, Timestamp, Timestamptz};
use crate::value::decimal::Decimal;
use crate::value::interval::{DAY, HOUR, Interval as Span, MINUTE, SECOND};
use crate::value::time::{self, Civil, days_from_civil};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("+", &[Timestamptz, Interval], Timestamptz, later),
    Function::strict("+", &[Timestamp, Interval], Timestamp, later),
    Function::strict("+", &[Interval, Timestamptz], Timestamptz, |a| {
        time::add_interval(a.int(1)?, a.interval(0)?).map(Value::Integer)
    }),
    Function::strict("+", &[Interval, Timestamp], Timestamp, |a| {
        time::add_interval(a.int(1)?, a.interval(0)?).map(Value::Integer)
    }),
    Function::strict("-", &[Timestamptz, Interval], Timestamptz, earlier),
    Function::strict("-", &[Timestamp, Interval], Timestamp, earlier),
    Function::strict("-", &[Timestamptz, Timestamptz], Interval, difference),
    Function::strict("-", &[Timestamp, Timestamp], Interval, difference),
    Function::strict("+", &[Date, Interval], Timestamp, |a| {
        time::add_interval(midnight(a.int(0)?)?, a.interval(1)?).map(Value::Integer)
    }),
    Function::strict("+", &[Interval, Date], Timestamp, |a| {
        time::add_interval(midnight(a.int(1)?)?, a.interval(0)?).map(Value::Integer)
    }),
    Function::strict("+", &[Int4, Date], Date, |a| {
        midnight(a.int(0)? + a.int(1)?)?;
        Ok(Value::Integer(a.int(0)? + a.int(1)?))
    }),
    Function::strict("-", &[Date, Interval], Timestamp, |a| {
        time::add_interval(midnight(a.int(0)?)?, a.interval(1)?.negate()?).map(Value::Integer)
    }),
    Function::strict("+", &[Date, Int4], Date, |a| {
        midnight(a.int(0)? + a.int(1)?)?;
        Ok(Value::Integer(a.int(0)? + a.int(1)?))
    }),
    Function::strict("-", &[Date, Int4], Date, |a| {
        midnight(a.int(0)? - a.int(1)?)?;
        Ok(Value::Integer(a.int(0)? - a.int(1)?))
    }),
    Function::strict("-", &[Date, Date], Int4, |a| {
        midnight(a.int(0)?)?;
        midnight(a.int(1)?)?;
        Ok(Value::Integer(a.int(0)? - a.int(1)?))
    }),
    Function::strict("+", &[Interval, Interval], Interval, |a| {
        a.interval(0)?.add(a.interval(1)?).map(span)
    }),
    Function::strict("-", &[Interval, Interval], Interval, |a| {
        a.interval(0)?.add(a.interval(1)?.negate()?).map(span)
    }),
    Function::strict("-", &[Interval], Interval, |a| {
        a.interval(0)?.negate().map(span)
    }),
    Function::strict("*", &[Interval, Float8], Interval, |a| {
        a.interval(0)?.scale(whole(a.float(1)?)?).map(span)
    }),
    Function::strict("*", &[Float8, Interval], Interval, |a| {
        a.interval(1)?.scale(whole(a.float(0)?)?).map(span)
    }),
    Function::strict("date_trunc", &[Text, Timestamptz], Timestamptz, truncated),
    Function::strict("date_trunc", &[Text, Timestamp], Timestamp, truncated),
    Function::strict(".extract", &[Text, Timestamptz], Numeric, |a| {
        instant_field(a.text(0)?, a.int(1)?, true).map(decimal)
    }),
    Function::strict(".extract", &[Text, Timestamp], Numeric, |a| {
        instant_field(a.text(0)?, a.int(1)?, false).map(decimal)
    }),
    Function::strict(".extract", &[Text, Date], Numeric, |a| {
        date_field(a.text(0)?, a.int(1)?).map(decimal)
    }),
    Function::strict(".extract", &[Text, Interval], Numeric, |a| {
        interval_field(a.text(0)?, a.interval(1)?).map(decimal)
    }),
    Function::strict("date_part", &[Text, Timestamptz], Float8, |a| {
        let exact = instant_field(a.text(0)?, a.int(1)?, true)?;
        Ok(rounded(a.text(0)?, a.int(1)?.rem_euclid(MINUTE), exact))
    }),
    Function::strict("date_part", &[Text, Timestamp], Float8, |a| {
        let exact = instant_field(a.text(0)?, a.int(1)?, false)?;
        Ok(rounded(a.text(0)?, a.int(1)?.rem_euclid(MINUTE), exact))
    }),
    Function::strict("date_part", &[Text, Date], Float8, |a| {
        Ok(Value::Real(
            instant_field(a.text(0)?, midnight(a.int(1)?)?, false)?.to_float(),
        ))
    }),
    Function::strict("date_part", &[Text, Interval], Float8, |a| {
        let interval = a.interval(1)?;
        let exact = interval_field(a.text(0)?, interval)?;
        Ok(rounded(a.text(0)?, interval.micros % MINUTE, exact))
    }),
    Function::strict("to_char", &[Timestamptz, Text], Text, |a| {
        to_char(a.int(0)?, a.text(1)?, "UTC")
    }),
    Function::strict("to_char", &[Timestamp, Text], Text, |a| {
        to_char(a.int(0)?, a.text(1)?, "")
    }),
    Function::strict("to_timestamp", &[Float8], Timestamptz, |a| {
        #[allow(clippy::cast_precision_loss, reason = "a million is exact")]
        let micros = (a.float(0)? * SECOND as f64).round_ties_even();
        #[allow(
            clippy::cast_possible_truncation,
            reason = "a cast of a float stays in range"
        )]
        time::checked(Some(micros as i64)).map(Value::Integer)
    }),
    Function::strict("timezone", &[Text, Timestamptz], Timestamp, in_zone),
    Function::strict("timezone", &[Text, Timestamp], Timestamptz, in_zone),
    Function::strict("make_date", &[Int4, Int4, Int4], Date, |a| {
        let (year, month, day) = (a.int(0)?, a.int(1)?, a.int(2)?);
        let is_date = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=time::days_in_month(year, month)).contains(&day);
        if !is_date {
            return Err(format!(
                "date field value out of range: {year}-{month}-{day}"
            ));
        }
        Ok(Value::Integer(days_from_civil(year, month, day)))
    }),
];

fn span(value: Span) -> Value {
    Value::Text(value.to_string())
}

fn later(a: &Arguments<'_>) -> Result<Value, String> {
    time::add_interval(a.int(0)?, a.interval(1)?).map(Value::Integer)
}

fn earlier(a: &Arguments<'_>) -> Result<Value, String> {
    time::add_interval(a.int(0)?, a.interval(1)?.negate()?).map(Value::Integer)
}

fn midnight(days: i64) -> Result<i64, String> {
    time::checked(days.checked_mul(DAY))
}

fn whole(factor: f64) -> Result<i64, String> {
    if factor.fract() != 0.0 || factor.abs() > f64::from(i32::MAX) {
        return Err("an interval times a fractional number is not supported".into());
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked just here")]
    Ok(factor as i64)
}

fn difference(a: &Arguments<'_>) -> Result<Value, String> {
    if !time::is_finite(a.int(0)?) || !time::is_finite(a.int(1)?) {
        return Err("cannot subtract infinite timestamps".into());
    }
    let micros = a
        .int(0)?
        .checked_sub(a.int(1)?)
        .ok_or("interval out of range")?;
    Ok(span(Span {
        months: 0,
        days: i32::try_from(micros / DAY).map_err(|_| "interval out of range")?,
        micros: micros % DAY,
    }))
}

/// Only UTC is supported: there is no database of other zones.
fn in_zone(a: &Arguments<'_>) -> Result<Value, String> {
    let zone = a.text(0)?;
    if ["utc", "gmt", "z", "etc/utc", "zulu"].contains(&zone.to_ascii_lowercase().as_str()) {
        return Ok(Value::Integer(a.int(1)?));
    }
    Err(format!(
        "time zone `{zone}` is not supported: only `UTC` is"
    ))
}

/// A field as `PostgreSQL` computes it in floating point: from whole seconds and the remainder.
#[allow(
    clippy::cast_precision_loss,
    reason = "less than a minute of microseconds is exact"
)]
fn rounded(field: &str, clock: i64, exact: Decimal) -> Value {
    let (seconds, rest) = ((clock / SECOND) as f64, (clock % SECOND) as f64);
    Value::Real(match field.to_ascii_lowercase().as_str() {
        "second" => seconds + rest / 1_000_000.0,
        "millisecond" | "milliseconds" => seconds * 1000.0 + rest / 1000.0,
        _ => exact.to_float(),
    })
}

fn unknown_field(field: &str, name: &str) -> String {
    format!("unit `{field}` is not supported for type {name}")
}

fn truncated(a: &Arguments<'_>) -> Result<Value, String> {
    let micros = a.int(1)?;
    if !time::is_finite(micros) {
        return Ok(Value::Integer(micros));
    }
    let civil = Civil::from_micros(micros);
    let start = |year: i64, month: i64| days_from_civil(year, month, 1) * DAY;
    let field = a.text(0)?.to_ascii_lowercase();
    let first = match field.as_str() {
        "microsecond" | "microseconds" => micros,
        "millisecond" | "milliseconds" => micros.div_euclid(1000) * 1000,
        "second" => micros.div_euclid(SECOND) * SECOND,
        "minute" => micros.div_euclid(MINUTE) * MINUTE,
        "hour" => micros.div_euclid(HOUR) * HOUR,
        "day" => micros.div_euclid(DAY) * DAY,
        "week" => (micros.div_euclid(DAY) - civil.iso_weekday() + 1) * DAY,
        "month" => start(civil.year, civil.month),
        "quarter" => start(civil.year, (civil.month - 1) / 3 * 3 + 1),
        "year" => start(civil.year, 1),
        "decade" => start(civil.year.div_euclid(10) * 10, 1),
        "century" => start((civil.year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" => start((civil.year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => return Err(unknown_field(&field, "timestamp")),
    };
    time::checked(Some(first)).map(Value::Integer)
}

/// A number with `digits` digits after the point.
fn scaled(micros: i64, digits: i32) -> Result<Decimal, String> {
    Decimal::from_micros(micros).round(digits)
}

fn instant_field(field: &str, micros: i64, has_zone: bool) -> Result<Decimal, String> {
    let name = if has_zone {
        "timestamp with time zone"
    } else {
        "timestamp without time zone"
    };
    if !time::is_finite(micros) {
        return Err("fields of infinite timestamps are not supported".into());
    }
    let civil = Civil::from_micros(micros);
    let clock = civil.micros;
    let int = |value: i64| Ok(Decimal::from_int(value));
    match field.to_ascii_lowercase().as_str() {
        "epoch" => scaled(micros, 6),
        "microsecond" | "microseconds" => int(clock % MINUTE),
        "millisecond" | "milliseconds" => Decimal::from_micros(clock % MINUTE)
            .multiply(Decimal::from_int(1000))?
            .truncate(3),
        "second" => scaled(clock % MINUTE, 6),
        "minute" => int(clock / MINUTE % 60),
        "hour" => int(clock / HOUR),
        "timezone" | "timezone_hour" | "timezone_minute" if has_zone => int(0),
        other => calendar_field(other, civil).ok_or_else(|| unknown_field(field, name)),
    }
}

fn calendar_field(field: &str, civil: Civil) -> Option<Decimal> {
    Some(Decimal::from_int(match field {
        "day" => civil.day,
        "month" => civil.month,
        "year" => civil.year,
        "quarter" => (civil.month - 1) / 3 + 1,
        "decade" => civil.year.div_euclid(10),
        "century" => (civil.year - 1).div_euclid(100) + 1,
        "millennium" => (civil.year - 1).div_euclid(1000) + 1,
        "dow" => civil.iso_weekday() % 7,
        "isodow" => civil.iso_weekday(),
        "doy" => civil.day_of_year(),
        "week" => civil.iso_week().1,
        "isoyear" => civil.iso_week().0,
        _ => return None,
    }))
}

fn date_field(field: &str, days: i64) -> Result<Decimal, String> {
    let micros = midnight(days)?;
    match field.to_ascii_lowercase().as_str() {
        "epoch" => Ok(Decimal::from_int(micros / SECOND)),
        lower => calendar_field(lower, Civil::from_micros(micros))
            .ok_or_else(|| unknown_field(field, "date")),
    }
}

fn interval_field(field: &str, interval: Span) -> Result<Decimal, String> {
    let months = i64::from(interval.months);
    let micros = interval.micros;
    Ok(Decimal::from_int(
        match field.to_ascii_lowercase().as_str() {
            "epoch" => return scaled(interval.epoch_micros()?, 6),
            "second" => return scaled(micros % MINUTE, 6),
            "millisecond" | "milliseconds" => {
                return Decimal::from_micros(micros % MINUTE)
                    .multiply(Decimal::from_int(1000))?
                    .truncate(3);
            }
            "microsecond" | "microseconds" => micros % MINUTE,
            "minute" => micros / MINUTE % 60,
            "hour" => micros / HOUR,
            "day" => i64::from(interval.days),
            "month" => months % 12,
            "quarter" => months % 12 / 3 + 1,
            "year" => months / 12,
            _ => return Err(unknown_field(field, "interval")),
        },
    ))
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// `word` in the case that the pattern has: `MONTH`, `Month` or `month`.
fn cased(word: &str, pattern: &str) -> String {
    let mut letters = pattern.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_uppercase() => {
            word.to_uppercase()
        }
        (Some(first), _) if first.is_lowercase() => word.to_lowercase(),
        _ => word.to_owned(),
    }
}

/// The supported patterns, longer ones first.
const PATTERNS: [&str; 37] = [
    "MONTH", "Month", "month", "HH24", "HH12", "YYYY", "IYYY", "A.M.", "P.M.", "a.m.", "p.m.",
    "DAY", "Day", "day", "MON", "Mon", "mon", "DDD", "HH", "MI", "SS", "MS", "US", "AM", "PM",
    "am", "pm", "MM", "DD", "YY", "DY", "Dy", "dy", "IW", "WW", "ID", "TZ",
];

fn to_char(micros: i64, format: &str, zone: &str) -> Result<Value, String> {
    if format.is_empty() {
        return Ok(Value::Null);
    }
    if !time::is_finite(micros) {
        return Err("to_char of infinite timestamps is not supported".into());
    }
    let civil = Civil::from_micros(micros);
    let mut out = String::new();
    let mut rest = format;
    while let Some(character) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(quoted.get(..end).unwrap_or_default());
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        let after_fill = rest.strip_prefix("FM");
        let is_bare = after_fill.is_some();
        let body = after_fill.unwrap_or(rest);
        if body.starts_with("SSSS") || body.starts_with("IDDD") {
            return Err(format!(
                "to_char pattern `{format}` is not supported from `{rest}` on"
            ));
        }
        if let Some(pattern) = PATTERNS.iter().find(|pattern| body.starts_with(**pattern)) {
            out.push_str(&field_text(civil, pattern, is_bare, zone));
            rest = body.get(pattern.len()..).unwrap_or_default();
            if rest.starts_with("TH") || rest.starts_with("th") {
                return Err(format!(
                    "ordinal suffix in to_char pattern `{format}` is not supported"
                ));
            }
            continue;
        }
        if let Some(after) = body.strip_prefix(['Q', 'D']).filter(|_| !is_bare) {
            let number = if body.starts_with('Q') {
                (civil.month - 1) / 3 + 1
            } else {
                civil.iso_weekday() % 7 + 1
            };
            out.push_str(&number.to_string());
            rest = after;
            continue;
        }
        if is_bare || character == '\\' || (character.is_ascii_alphabetic() && character != 'T') {
            return Err(format!(
                "to_char pattern `{format}` is not supported from `{rest}` on"
            ));
        }
        out.push(character);
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    bounded(out)
}

fn field_text(civil: Civil, pattern: &str, is_bare: bool, zone: &str) -> String {
    let clock = civil.micros;
    let number = |value: i64, width: usize| {
        if is_bare {
            value.to_string()
        } else {
            format!("{value:0width$}")
        }
    };
    let word = |words: &[&str], index: i64| {
        let word = words
            .get(usize::try_from(index).unwrap_or(0))
            .copied()
            .unwrap_or_default();
        let word = cased(word, pattern);
        if is_bare { word } else { format!("{word:9}") }
    };
    let short = |words: &[&str], index: i64| word(words, index).chars().take(3).collect();
    let hour = clock / HOUR;
    let half = if hour < 12 { 'a' } else { 'p' };
    match pattern {
        "YYYY" => number(civil.year, 4),
        "YY" => number(civil.year % 100, 2),
        "IYYY" => number(civil.iso_week().0, 4),
        "MM" => number(civil.month, 2),
        "DD" => number(civil.day, 2),
        "DDD" => number(civil.day_of_year(), 3),
        "HH24" => number(hour, 2),
        "HH" | "HH12" => number((hour + 11) % 12 + 1, 2),
        "MI" => number(clock / MINUTE % 60, 2),
        "SS" => number(clock / SECOND % 60, 2),
        "MS" => number(clock % SECOND / 1000, 3),
        "US" => number(clock % SECOND, 6),
        "IW" => number(civil.iso_week().1, 2),
        "WW" => number((civil.day_of_year() - 1) / 7 + 1, 2),
        "ID" => civil.iso_weekday().to_string(),
        "TZ" => zone.to_owned(),
        "AM" | "PM" => format!("{half}m").to_uppercase(),
        "am" | "pm" => format!("{half}m"),
        "A.M." | "P.M." => format!("{half}.m.").to_uppercase(),
        "a.m." | "p.m." => format!("{half}.m."),
        "MONTH" | "Month" | "month" => word(&MONTHS, civil.month - 1),
        "MON" | "Mon" | "mon" => short(&MONTHS, civil.month - 1),
        "DAY" | "Day" | "day" => word(&DAYS, civil.iso_weekday() - 1),
        _ => short(&DAYS, civil.iso_weekday() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str) -> Result<Value, String> {
        let micros = time::parse_timestamp("2024-03-05 14:07:09.012345").unwrap();
        to_char(micros, format, "UTC")
    }

    #[test]
    fn patterns_are_filled_in() {
        for (format, text) in [
            ("YYYY-MM-DD HH24:MI:SS.US", "2024-03-05 14:07:09.012345"),
            ("FMMonth FMDD, YYYY", "March 5, 2024"),
            ("Dy DD Mon HH12:MI AM", "Tue 05 Mar 02:07 PM"),
            ("IYYY-\"W\"IW-ID", "2024-W10-2"),
        ] {
            assert_eq!(shown(format), Ok(Value::Text(text.into())));
        }
    }

    #[test]
    fn unknown_patterns_are_refused() {
        for format in ["CC", "DDth", "J", "YYYY-MM-DDTHH24", "SSSS", "OF"] {
            assert!(shown(format).is_err(), "{format}");
        }
    }
}
