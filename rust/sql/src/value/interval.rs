//! `interval`: months, days and microseconds, each with its own sign.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Interval {
    pub(crate) months: i32,
    pub(crate) days: i32,
    pub(crate) micros: i64,
}

fn out_of_range() -> String {
    "interval out of range".to_owned()
}

impl Interval {
    /// The length used in comparisons: a month has thirty days.
    fn length(self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * i128::from(DAY) + i128::from(self.micros)
    }

    pub(crate) fn add(self, other: Self) -> Result<Self, String> {
        Ok(Self {
            months: self
                .months
                .checked_add(other.months)
                .ok_or_else(out_of_range)?,
            days: self.days.checked_add(other.days).ok_or_else(out_of_range)?,
            micros: self
                .micros
                .checked_add(other.micros)
                .ok_or_else(out_of_range)?,
        })
    }

    pub(crate) fn negate(self) -> Result<Self, String> {
        Ok(Self {
            months: self.months.checked_neg().ok_or_else(out_of_range)?,
            days: self.days.checked_neg().ok_or_else(out_of_range)?,
            micros: self.micros.checked_neg().ok_or_else(out_of_range)?,
        })
    }

    pub(crate) fn scale(self, factor: i64) -> Result<Self, String> {
        let small = i32::try_from(factor).map_err(|_| out_of_range())?;
        Ok(Self {
            months: self.months.checked_mul(small).ok_or_else(out_of_range)?,
            days: self.days.checked_mul(small).ok_or_else(out_of_range)?,
            micros: self.micros.checked_mul(factor).ok_or_else(out_of_range)?,
        })
    }

    /// Seconds, as `extract(epoch ...)` counts them, in microseconds.
    pub(crate) fn epoch_micros(self) -> Result<i64, String> {
        let years = i64::from(self.months / 12);
        let months = i64::from(self.months % 12);
        // A year of 365.25 days.
        let year = 365 * DAY + 6 * HOUR;
        years
            .checked_mul(year)
            .and_then(|sum| sum.checked_add(months * 30 * DAY))
            .and_then(|sum| sum.checked_add(i64::from(self.days).checked_mul(DAY)?))
            .and_then(|sum| sum.checked_add(self.micros))
            .ok_or_else(out_of_range)
    }

    fn add_unit(&mut self, whole: i64, fraction_nanos: i64, unit: &str) -> Option<()> {
        let months = |number: i64| i32::try_from(number).ok();
        match unit {
            "microsecond" | "microseconds" | "usec" | "usecs" | "us" => {
                self.micros = self.micros.checked_add(whole)?;
                if fraction_nanos != 0 {
                    return None;
                }
            }
            "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => {
                self.add_micros(whole, fraction_nanos, 1000)?;
            }
            "s" | "sec" | "secs" | "second" | "seconds" | "" => {
                self.add_micros(whole, fraction_nanos, SECOND)?;
            }
            "m" | "min" | "mins" | "minute" | "minutes" => {
                self.add_micros(whole, fraction_nanos, MINUTE)?;
            }
            "h" | "hr" | "hrs" | "hour" | "hours" => {
                self.add_micros(whole, fraction_nanos, HOUR)?;
            }
            "d" | "day" | "days" => self.add_days(whole, fraction_nanos, 1)?,
            "w" | "week" | "weeks" => self.add_days(whole, fraction_nanos, 7)?,
            "mon" | "mons" | "month" | "months" => {
                self.months = self.months.checked_add(months(whole)?)?;
                self.add_days(0, fraction_nanos, 30)?;
            }
            "y" | "yr" | "yrs" | "year" | "years" => {
                let fraction = fraction_nanos.checked_mul(12)?;
                if fraction % 1_000_000_000 != 0 {
                    return None;
                }
                let added = whole
                    .checked_mul(12)?
                    .checked_add(fraction / 1_000_000_000)?;
                self.months = self.months.checked_add(months(added)?)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn add_micros(&mut self, whole: i64, fraction_nanos: i64, unit: i64) -> Option<()> {
        let fraction = i128::from(fraction_nanos) * i128::from(unit);
        let fraction = i64::try_from(fraction / 1_000_000_000).ok()?;
        self.micros = whole
            .checked_mul(unit)?
            .checked_add(fraction)?
            .checked_add(self.micros)?;
        Some(())
    }

    fn add_days(&mut self, whole: i64, fraction_nanos: i64, unit: i64) -> Option<()> {
        let fraction = fraction_nanos.checked_mul(unit)?;
        let days = whole
            .checked_mul(unit)?
            .checked_add(fraction / 1_000_000_000)?;
        self.days = self.days.checked_add(i32::try_from(days).ok()?)?;
        self.add_micros(0, fraction % 1_000_000_000, DAY)
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Self) -> Ordering {
        self.length().cmp(&other.length())
    }
}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Splits a number such as `12.5` into its integer part and billionths.
fn number(text: &str) -> Option<(i64, i64)> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty())
        || fraction.len() > 9
        || !is_digits(whole)
        || !is_digits(fraction)
    {
        return None;
    }
    let whole: i64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let fraction: i64 = format!("{fraction:0<9}").parse().ok()?;
    Some(if negative {
        (-whole, -fraction)
    } else {
        (whole, fraction)
    })
}

/// `[-]h:mm[:ss[.ffffff]]` in microseconds.
fn clock(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut parts = digits.split(':');
    let (hours, minutes) = (number(parts.next()?)?, number(parts.next()?)?);
    let seconds = parts.next().map_or(Some((0, 0)), number)?;
    let whole = hours.1 == 0 && minutes.1 == 0;
    if parts.next().is_some() || !whole || minutes.0 >= 60 || seconds.0 >= 60 {
        return None;
    }
    let sum = hours
        .0
        .checked_mul(HOUR)?
        .checked_add(minutes.0 * MINUTE + seconds.0 * SECOND + seconds.1 / 1000)?;
    Some(sign * sum)
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        read(&lower).ok_or_else(|| {
            format!(
                "invalid input syntax for type interval, or one this server does not read: `{text}`"
            )
        })
    }
}

fn read(text: &str) -> Option<Interval> {
    let mut interval = Interval::default();
    let mut words = text.split_ascii_whitespace().peekable();
    if words.peek() == Some(&"@") {
        words.next();
    }
    words.peek()?;
    let mut pending: Option<(i64, i64)> = None;
    let mut ago = false;
    while let Some(word) = words.next() {
        if word == "ago" && pending.is_none() && words.peek().is_none() {
            ago = true;
        } else if word.contains(':') {
            // A number before a clock time is a number of days.
            if let Some((whole, fraction)) = pending.take() {
                interval.add_unit(whole, fraction, "day")?;
            }
            interval.micros = interval.micros.checked_add(clock(word)?)?;
        } else {
            let split = word
                .find(|character: char| character.is_ascii_alphabetic())
                .unwrap_or(word.len());
            let (digits, unit) = word.split_at(split);
            if !digits.is_empty() {
                if pending.is_some() {
                    return None;
                }
                pending = Some(number(digits)?);
            }
            if !unit.is_empty() {
                let (whole, fraction) = pending.take()?;
                interval.add_unit(whole, fraction, unit)?;
            }
        }
    }
    if let Some((whole, fraction)) = pending {
        interval.add_unit(whole, fraction, "second")?;
    }
    if ago {
        return interval.negate().ok();
    }
    Some(interval)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        let mut is_before = false;
        let parts = [
            (self.months / 12, "year"),
            (self.months % 12, "mon"),
            (self.days, "day"),
        ];
        for (number, unit) in parts {
            if number == 0 {
                continue;
            }
            let space = if is_first { "" } else { " " };
            let sign = if is_before && number > 0 { "+" } else { "" };
            let plural = if number == 1 { "" } else { "s" };
            write!(f, "{space}{sign}{number} {unit}{plural}")?;
            is_before = number < 0;
            is_first = false;
        }
        if self.micros == 0 && !is_first {
            return Ok(());
        }
        let space = if is_first { "" } else { " " };
        let sign = if self.micros < 0 {
            "-"
        } else if is_before {
            "+"
        } else {
            ""
        };
        let micros = self.micros.unsigned_abs();
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        write!(
            f,
            "{space}{sign}{:02}:{:02}:{:02}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        if fraction > 0 {
            write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_read_and_written() {
        for (text, printed) in [
            ("1 day", "1 day"),
            (
                "1 year 2 months 3 days 04:05:06.7",
                "1 year 2 mons 3 days 04:05:06.7",
            ),
            ("90 minutes", "01:30:00"),
            ("1.5 days", "1 day 12:00:00"),
            ("-1 day 2 hours", "-1 days +02:00:00"),
            ("2 weeks ago", "-14 days"),
            ("1h30m", "00:00:00"),
            ("0", "00:00:00"),
            ("1 02:03", "1 day 02:03:00"),
        ] {
            match text.parse::<Interval>() {
                Ok(interval) => assert_eq!(interval.to_string(), printed, "{text}"),
                // Units without spaces between them are not supported.
                Err(_) => assert_eq!(text, "1h30m"),
            }
        }
        for text in ["", "day", "1 2 days", "1 fortnight", "1:99", "x"] {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_month_compares_as_thirty_days() {
        let interval = |text: &str| text.parse::<Interval>().unwrap();
        assert_eq!(
            interval("1 month").cmp(&interval("30 days")),
            Ordering::Equal
        );
        assert!(interval("1 day") > interval("23:59"));
    }
}
