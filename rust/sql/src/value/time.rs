//! `timestamptz`, `timestamp` and `date`: microseconds and days since 1970, in UTC.

use super::interval::{DAY, HOUR, Interval, MINUTE, SECOND};

/// Later than every other instant; its counterpart is earlier than all.
pub(crate) const INFINITY: i64 = i64::MAX;
pub(crate) const MINUS_INFINITY: i64 = i64::MIN;

/// A calendar date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    /// Microseconds since midnight.
    pub(crate) micros: i64,
}

/// Days from 1970-01-01 to a date in the Gregorian calendar.
pub(crate) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Civil {
    pub(crate) fn from_micros(micros: i64) -> Self {
        let (year, month, day) = civil_from_days(micros.div_euclid(DAY));
        Self {
            year,
            month,
            day,
            micros: micros.rem_euclid(DAY),
        }
    }

    pub(crate) fn to_micros(self) -> Result<i64, String> {
        days_from_civil(self.year, self.month, self.day)
            .checked_mul(DAY)
            .and_then(|micros| micros.checked_add(self.micros))
            .filter(|micros| is_in_range(*micros))
            .ok_or_else(out_of_range)
    }

    /// The day of the week; Monday is 1.
    pub(crate) fn iso_weekday(self) -> i64 {
        (days_from_civil(self.year, self.month, self.day) + 3).rem_euclid(7) + 1
    }

    pub(crate) fn day_of_year(self) -> i64 {
        days_from_civil(self.year, self.month, self.day) - days_from_civil(self.year, 1, 1) + 1
    }

    /// The year and the week of ISO 8601.
    pub(crate) fn iso_week(self) -> (i64, i64) {
        let days = days_from_civil(self.year, self.month, self.day);
        let thursday = days + 4 - self.iso_weekday();
        let (year, _, _) = civil_from_days(thursday);
        (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
    }
}

pub(crate) fn out_of_range() -> String {
    "timestamp out of range: this server supports the years 1 to 9999".to_owned()
}

/// Whether the year has four digits, so that it needs no era when formatted.
fn is_in_range(micros: i64) -> bool {
    let (least, end) = (days_from_civil(1, 1, 1), days_from_civil(10_000, 1, 1));
    (least * DAY..end * DAY).contains(&micros)
}

/// Checks the result of an addition.
pub(crate) fn checked(micros: Option<i64>) -> Result<i64, String> {
    micros
        .filter(|micros| is_in_range(*micros))
        .ok_or_else(out_of_range)
}

pub(crate) fn is_finite(micros: i64) -> bool {
    micros != INFINITY && micros != MINUS_INFINITY
}

fn special(text: &str) -> Option<i64> {
    match text {
        "epoch" => Some(0),
        "infinity" => Some(INFINITY),
        "-infinity" => Some(MINUS_INFINITY),
        _ => None,
    }
}

/// Parses an instant; without a zone it is in UTC.
pub(crate) fn parse_timestamptz(text: &str) -> Result<i64, String> {
    parse(text, "timestamp with time zone", true)
}

/// Parses a local time; a zone is ignored.
pub(crate) fn parse_timestamp(text: &str) -> Result<i64, String> {
    parse(text, "timestamp", false)
}

/// Parses a date as days since 1970.
pub(crate) fn parse_date(text: &str) -> Result<i64, String> {
    let micros = parse(text, "date", false)?;
    Ok(if is_finite(micros) {
        micros.div_euclid(DAY)
    } else {
        micros
    })
}

fn parse(text: &str, name: &str, with_zone: bool) -> Result<i64, String> {
    let trimmed = text
        .trim_matches([' ', '\t', '\n', '\r'])
        .to_ascii_lowercase();
    if let Some(micros) = special(&trimmed) {
        return Ok(micros);
    }
    let (civil, offset) = read(&trimmed).ok_or_else(|| {
        format!(
            "`{text}` is not a {name} that this server accepts: write `YYYY-MM-DD HH:MM:SS+00:00`"
        )
    })?;
    let last = days_in_month(civil.year, civil.month);
    if !(1..=12).contains(&civil.month) || !(1..=last).contains(&civil.day) {
        return Err(format!("date/time field value out of range: `{text}`"));
    }
    let micros = civil.to_micros()?;
    let offset = if with_zone { offset } else { 0 };
    checked(micros.checked_sub(offset))
}

fn digits(text: &str, least: usize, most: usize) -> Option<i64> {
    let is_number =
        (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// The date and time of day, and the offset of the zone in microseconds.
fn read(text: &str) -> Option<(Civil, i64)> {
    let (date, rest) = match text.find([' ', 't']) {
        Some(at) => (&text[..at], text[at + 1..].trim_start()),
        None => (text, ""),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4, 4).filter(|year| *year > 0)?;
    let month = digits(parts.next()?, 1, 2)?;
    let day = digits(parts.next()?, 1, 2)?;
    if parts.next().is_some() {
        return None;
    }
    let end = rest
        .find(|character: char| !matches!(character, '0'..='9' | ':' | '.'))
        .unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(end);
    let micros = if clock.is_empty() {
        0
    } else {
        read_clock(clock)?
    };
    let civil = Civil {
        year,
        month,
        day,
        micros,
    };
    Some((civil, read_zone(zone.trim())?))
}

fn read_clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hours = digits(parts.next()?, 1, 2)?;
    let minutes = digits(parts.next()?, 2, 2)?;
    let (seconds, micros) = match parts.next() {
        None => (0, 0),
        Some(text) => {
            let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
            let fraction = digits(
                &format!("{:0<7}", fraction.get(..7).unwrap_or(fraction)),
                7,
                7,
            )?;
            // Half a microsecond is rounded to even, as in the C library.
            let micros = fraction / 10;
            let up = match fraction % 10 {
                0..5 => false,
                5 => micros % 2 == 1,
                _ => true,
            };
            (digits(seconds, 2, 2)?, micros + i64::from(up))
        }
    };
    let is_clock = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    is_clock.then_some(hours * HOUR + minutes * MINUTE + seconds * SECOND + micros)
}

fn read_zone(text: &str) -> Option<i64> {
    if matches!(text, "" | "z" | "utc" | "gmt") {
        return Some(0);
    }
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = match rest.split_once(':') {
        Some((hours, minutes)) => (digits(hours, 1, 2)?, digits(minutes, 2, 2)?),
        None if rest.len() == 4 => (digits(rest.get(..2)?, 2, 2)?, digits(rest.get(2..)?, 2, 2)?),
        None => (digits(rest, 1, 2)?, 0),
    };
    (hours < 16 && minutes < 60).then_some(sign * (hours * HOUR + minutes * MINUTE))
}

fn clock_text(micros: i64) -> String {
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if fraction == 0 {
        return clock;
    }
    format!("{clock}.{}", format!("{fraction:06}").trim_end_matches('0'))
}

fn infinite(micros: i64) -> Option<String> {
    match micros {
        INFINITY => Some("infinity".into()),
        MINUS_INFINITY => Some("-infinity".into()),
        _ => None,
    }
}

/// Formats `2024-01-02 03:04:05.6`, with `separator` between date and time.
pub(crate) fn format_timestamp(micros: i64, separator: char) -> String {
    infinite(micros).unwrap_or_else(|| {
        let civil = Civil::from_micros(micros);
        format!(
            "{:04}-{:02}-{:02}{separator}{}",
            civil.year,
            civil.month,
            civil.day,
            clock_text(civil.micros)
        )
    })
}

pub(crate) fn format_timestamptz(micros: i64) -> String {
    infinite(micros).unwrap_or_else(|| format!("{}+00", format_timestamp(micros, ' ')))
}

/// Formats an instant like `row_to_json`.
pub(crate) fn json_timestamptz(micros: i64) -> String {
    infinite(micros).unwrap_or_else(|| format!("{}+00:00", format_timestamp(micros, 'T')))
}

pub(crate) fn format_date(days: i64) -> String {
    infinite(days).unwrap_or_else(|| {
        let (year, month, day) = civil_from_days(days);
        format!("{year:04}-{month:02}-{day:02}")
    })
}

/// Adds the months, clamped to the end of the month, then the days, then the microseconds.
pub(crate) fn add_interval(micros: i64, interval: Interval) -> Result<i64, String> {
    if !is_finite(micros) {
        return Ok(micros);
    }
    let mut civil = Civil::from_micros(micros);
    let months = civil.year * 12 + civil.month - 1 + i64::from(interval.months);
    civil.year = months.div_euclid(12);
    civil.month = months.rem_euclid(12) + 1;
    civil.day = civil.day.min(days_in_month(civil.year, civil.month));
    let moved = civil.to_micros()?;
    checked(
        moved
            .checked_add(i64::from(interval.days) * DAY)
            .and_then(|micros| micros.checked_add(interval.micros)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_read_and_written() {
        for (text, printed) in [
            ("2024-02-29", "2024-02-29 00:00:00+00"),
            ("2024-02-29T12:34:56.5Z", "2024-02-29 12:34:56.5+00"),
            ("2024-02-29 12:34+02", "2024-02-29 10:34:00+00"),
            (
                "1969-12-31 23:59:59.999999-0530",
                "1970-01-01 05:29:59.999999+00",
            ),
            ("epoch", "1970-01-01 00:00:00+00"),
            ("infinity", "infinity"),
        ] {
            assert_eq!(
                format_timestamptz(parse_timestamptz(text).unwrap()),
                printed
            );
        }
        for text in [
            "",
            "2023-02-29",
            "2024-13-01",
            "yesterday",
            "2024-01-01 25:00",
            "24-1-1",
        ] {
            assert!(parse_timestamptz(text).is_err(), "{text}");
        }
    }

    #[test]
    fn adding_a_month_is_clamped_to_its_end() {
        let start = parse_timestamp("2024-01-31 10:00").unwrap();
        let later = add_interval(start, "1 month".parse().unwrap()).unwrap();
        assert_eq!(format_timestamp(later, ' '), "2024-02-29 10:00:00");
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        let civil = Civil::from_micros(parse_timestamp("2021-01-03").unwrap());
        assert_eq!(civil.iso_week(), (2020, 53));
        assert_eq!(civil.iso_weekday(), 7);
        assert_eq!(civil.day_of_year(), 3);
    }
}
