//! `like`, `similar to` and regular expressions.
//!
//! A regular expression of `PostgreSQL` is rewritten for the `regex` crate, element by element.
//! Elements without an equivalent (back references, lookaround) are refused. Both engines agree on
//! whether a text matches, but not on *what* matches: `PostgreSQL` takes the longest match, the
//! crate the first. So functions that extract or replace only accept expressions for which both are
//! the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use rusqlite::types::Value;

use super::text::lower;
use super::{Arguments, Function, boolean, bounded};
use crate::budget::{Rounds, use_memory};
use crate::types::Type::{self, Bool, Text};
use crate::value::array::{Items, collect, encode};

const WORDS: Type = Type::TEXT_ARRAY;
/// Maximum number of compiled regular expressions of a statement.
const MOST_COMPILED: usize = 8;
const MOST_PROGRAM_BYTES: usize = 1 << 20;
/// Maximum size of the search cache of each.
const MOST_CACHE_BYTES: usize = 512 << 10;
/// A search cannot be interrupted, and its worst-case time is the length of the text times the size
/// of the program.
const MOST_TEXT_BYTES: usize = 1 << 20;
/// The program size is limited further for texts longer than this.
const LONG_TEXT_BYTES: usize = 64 << 10;
const MOST_LONG_PROGRAM_BYTES: usize = 128 << 10;

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("~~", &[Text, Text], Bool, |a| {
        like(a.text(0)?, a.text(1)?, Some('\\'))
    }),
    Function::strict("~~*", &[Text, Text], Bool, |a| {
        like(&lower(a.text(0)?), &lower(a.text(1)?), Some('\\'))
    }),
    Function::strict(".like_escape", &[Text, Text, Text], Bool, |a| {
        like(a.text(0)?, a.text(1)?, escape_character(a.text(2)?)?)
    }),
    Function::strict(".ilike_escape", &[Text, Text, Text], Bool, |a| {
        let escape = escape_character(&lower(a.text(2)?))?;
        like(&lower(a.text(0)?), &lower(a.text(1)?), escape)
    }),
    Function::strict("~", &[Text, Text], Bool, |a| {
        matches(a.text(1)?, a.text(0)?, false)
    }),
    Function::strict("~*", &[Text, Text], Bool, |a| {
        matches(a.text(1)?, a.text(0)?, true)
    }),
    Function::strict(".similar_to", &[Text, Text], Bool, |a| {
        matches(
            &similar_to_regex(a.text(1)?, Some('\\'))?,
            a.text(0)?,
            false,
        )
    }),
    Function::strict(".similar_to", &[Text, Text, Text], Bool, |a| {
        let escape = escape_character(a.text(2)?)?;
        matches(&similar_to_regex(a.text(1)?, escape)?, a.text(0)?, false)
    }),
    Function::strict("substring", &[Text, Text], Text, |a| {
        let regex = extracting(a.text(1)?, false, a.text(0)?)?;
        let Some(found) = regex.captures(a.text(0)?) else {
            return Ok(Value::Null);
        };
        let group = found.get(usize::from(found.len() > 1));
        group.map_or(Ok(Value::Null), |group| bounded(group.as_str().to_owned()))
    }),
    Function::strict("regexp_replace", &[Text, Text, Text], Text, |a| {
        replace(a, "")
    }),
    Function::strict("regexp_replace", &[Text, Text, Text, Text], Text, |a| {
        replace(a, a.text(3)?)
    }),
    Function::strict("regexp_match", &[Text, Text], WORDS, |a| first_match(a, "")),
    Function::strict("regexp_match", &[Text, Text, Text], WORDS, |a| {
        first_match(a, a.text(2)?)
    }),
    Function::strict("regexp_split_to_array", &[Text, Text], WORDS, |a| {
        let regex = extracting(a.text(1)?, false, a.text(0)?)?;
        if regex.is_match("") {
            return Err(format!(
                "splitting by `{}`, which matches the empty text, is not supported",
                a.text(1)?
            ));
        }
        let items = collect(regex.split(a.text(0)?).map(Some))?;
        bounded(encode(&items))
    }),
];

fn escape_character(text: &str) -> Result<Option<char>, String> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (escape, None) => Ok(escape),
        _ => Err(format!("escape `{text}` is not one character")),
    }
}

/// One element of a `like` pattern.
#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Any,
    One,
    Exactly(char),
}

fn like(text: &str, pattern: &str, escape: Option<char>) -> Result<Value, String> {
    use_memory(pattern.len() * 16)?;
    let mut pieces = Vec::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            _ if Some(character) == escape => Piece::Exactly(
                characters
                    .next()
                    .ok_or("LIKE pattern must not end with escape character")?,
            ),
            '%' => Piece::Any,
            '_' => Piece::One,
            other => Piece::Exactly(other),
        });
    }
    is_like(text, &pieces).map(boolean)
}

/// Backtracks only to the last `%`; earlier ones never need to change.
fn is_like(text: &str, pieces: &[Piece]) -> Result<bool, String> {
    let (mut at, mut piece) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    let mut rounds = Rounds::default();
    loop {
        rounds.next()?;
        let rest = text.get(at..).unwrap_or_default();
        let next = rest.chars().next();
        match (pieces.get(piece), next) {
            (Some(Piece::Any), _) => {
                piece += 1;
                retry = Some((piece, at));
                continue;
            }
            (Some(Piece::One), Some(character)) => {
                at += character.len_utf8();
                piece += 1;
                continue;
            }
            (Some(Piece::Exactly(wanted)), Some(character)) if *wanted == character => {
                at += character.len_utf8();
                piece += 1;
                continue;
            }
            (None, None) => return Ok(true),
            _ => {}
        }
        let Some((after, start)) = retry else {
            return Ok(false);
        };
        let Some(skipped) = text.get(start..).and_then(|rest| rest.chars().next()) else {
            return Ok(false);
        };
        at = start + skipped.len_utf8();
        retry = Some((after, at));
        piece = after;
    }
}

/// Converts a `similar to` pattern to a regular expression in the syntax of `PostgreSQL`.
fn similar_to_regex(pattern: &str, escape: Option<char>) -> Result<String, String> {
    let mut out = String::from("^(?:");
    let mut characters = pattern.chars();
    let mut in_brackets = false;
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            let escaped = characters
                .next()
                .ok_or("SIMILAR TO pattern must not end with escape character")?;
            if escaped == '"' {
                return Err("parts of a SIMILAR TO pattern are not supported".into());
            }
            if escaped.is_alphanumeric() {
                out.push(escaped);
            } else {
                out.extend(['\\', escaped]);
            }
            continue;
        }
        match character {
            ']' if in_brackets => {
                in_brackets = false;
                out.push(']');
            }
            '\\' => out.push_str("\\\\"),
            other if in_brackets => out.push(other),
            '[' => {
                in_brackets = true;
                out.push('[');
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            '.' | '^' | '$' => out.extend(['\\', character]),
            other => out.push(other),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// Compiled patterns, by text, case-insensitivity and whether they are for long texts.
type CompiledPatterns = HashMap<(String, bool, bool), Arc<Regex>>;

thread_local! {
    /// Sharing a regex does not copy its memory.
    static COMPILED: RefCell<CompiledPatterns> = RefCell::default();
}

/// Drops the compiled expressions of the last statement.
pub(crate) fn clear_compiled() {
    COMPILED.take();
}

/// The compiled regular expression for a search in `text`.
fn compile(pattern: &str, ignore_case: bool, text: &str) -> Result<Arc<Regex>, String> {
    if text.len() > MOST_TEXT_BYTES {
        return Err(format!(
            "regular expressions in texts of more than {MOST_TEXT_BYTES} bytes are not supported"
        ));
    }
    let is_long = text.len() > LONG_TEXT_BYTES;
    let key = (pattern.to_owned(), ignore_case, is_long);
    if let Some(regex) = COMPILED.with_borrow(|compiled| compiled.get(&key).map(Arc::clone)) {
        return Ok(regex);
    }
    crate::budget::check_time()?;
    let size = if is_long {
        MOST_LONG_PROGRAM_BYTES
    } else {
        MOST_PROGRAM_BYTES
    };
    let (written, embedded) = rewrite(pattern)?;
    let regex = RegexBuilder::new(&written)
        .case_insensitive(ignore_case || embedded)
        .dot_matches_new_line(true)
        .size_limit(size)
        .dfa_size_limit(MOST_CACHE_BYTES)
        .build()
        .map(Arc::new)
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => too_big(pattern),
            _ => format!("invalid regular expression: `{pattern}`"),
        })?;
    COMPILED.with_borrow_mut(|compiled| {
        if compiled.len() >= MOST_COMPILED {
            compiled.clear();
        }
        compiled.insert(key, Arc::clone(&regex));
    });
    Ok(regex)
}

fn too_big(pattern: &str) -> String {
    let start: String = pattern.chars().take(100).collect();
    format!("regular expression `{start}` is too large for the text it is used on")
}

fn matches(pattern: &str, text: &str, ignore_case: bool) -> Result<Value, String> {
    Ok(boolean(compile(pattern, ignore_case, text)?.is_match(text)))
}

/// The expression, if its first match is its longest: it has no alternatives, no lazy repetition
/// and no repeated groups.
fn extracting(pattern: &str, ignore_case: bool, text: &str) -> Result<Arc<Regex>, String> {
    let mut previous = ' ';
    let mut in_brackets = false;
    let mut characters = pattern.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                characters.next();
            }
            '[' if !in_brackets => {
                in_brackets = true;
                characters.next_if_eq(&'^');
                characters.next_if_eq(&']');
            }
            // A class such as `[:alpha:]` has its own closing bracket.
            '[' if characters.next_if_eq(&':').is_some() => {
                characters.by_ref().find(|inner| *inner == ']');
            }
            ']' => in_brackets = false,
            _ if in_brackets => {}
            '|' => return Err(ambiguous(pattern)),
            '*' | '+' | '?' | '{' if previous == ')' => return Err(ambiguous(pattern)),
            '?' if matches!(previous, '*' | '+' | '?' | '}') => return Err(ambiguous(pattern)),
            _ => {}
        }
        previous = character;
    }
    compile(pattern, ignore_case, text)
}

fn ambiguous(pattern: &str) -> String {
    format!(
        "regular expression `{pattern}` is not supported for taking texts apart: \
         it has alternatives, reluctant repetition or a repeated group"
    )
}

fn replace(a: &Arguments<'_>, flags: &str) -> Result<Value, String> {
    let mut everywhere = false;
    let mut ignore_case = false;
    for flag in flags.chars() {
        match flag {
            'g' => everywhere = true,
            'i' => ignore_case = true,
            'c' => ignore_case = false,
            other => {
                return Err(format!(
                    "option `{other}` of regexp_replace is not supported"
                ));
            }
        }
    }
    let text = a.text(0)?;
    let regex = extracting(a.text(1)?, ignore_case, text)?;
    let template = a.text(2)?;
    let limit = if everywhere { usize::MAX } else { 1 };
    let mut rounds = Rounds::default();
    let mut out = String::new();
    let mut last = 0;
    for found in regex.captures_iter(text).take(limit) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(text.get(last..whole.start()).unwrap_or_default());
        last = whole.end();
        let mut characters = template.chars();
        while let Some(character) = characters.next() {
            if out.len() > super::MOST_BYTES {
                super::check_length(out.len())?;
            }
            if character != '\\' {
                out.push(character);
                continue;
            }
            match characters.next() {
                Some('&') => out.push_str(whole.as_str()),
                Some(digit @ '1'..='9') => {
                    let group = usize::try_from(u32::from(digit) - u32::from('0')).unwrap_or(0);
                    out.push_str(found.get(group).map_or("", |group| group.as_str()));
                }
                Some('\\') | None => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
            }
        }
        if out.len() > super::MOST_BYTES {
            super::check_length(out.len())?;
        }
        rounds.next()?;
    }
    use_memory(out.len())?;
    out.push_str(text.get(last..).unwrap_or_default());
    bounded(out)
}

fn first_match(a: &Arguments<'_>, flags: &str) -> Result<Value, String> {
    let ignore_case = match flags {
        "" | "c" => false,
        "i" => true,
        other => {
            return Err(format!(
                "options `{other}` of regexp_match are not supported"
            ));
        }
    };
    let regex = extracting(a.text(1)?, ignore_case, a.text(0)?)?;
    let Some(found) = regex.captures(a.text(0)?) else {
        return Ok(Value::Null);
    };
    let skipped = usize::from(found.len() > 1);
    let items: Items = found
        .iter()
        .skip(skipped)
        .map(|group| group.map(|group| group.as_str().to_owned()))
        .collect();
    bounded(encode(&items))
}

/// The expression in the syntax of the `regex` crate, and whether it requests to ignore case.
fn rewrite(pattern: &str) -> Result<(String, bool), String> {
    let mut rest = pattern;
    let mut ignore_case = false;
    if rest.starts_with("***") {
        return Err(format!("director `***` is not supported in `{pattern}`"));
    }
    if let Some(after) = rest.strip_prefix("(?i)") {
        ignore_case = true;
        rest = after;
    }
    let refuse = |what: &str| format!("{what} is not supported in regular expression `{pattern}`");
    let mut out = String::new();
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => {
                let escaped = characters
                    .next()
                    .ok_or_else(|| format!("invalid regular expression: `{pattern}`"))?;
                out.push_str(
                    &escape(escaped, false)
                        .ok_or_else(|| refuse(&format!("escape `\\{escaped}`")))?,
                );
            }
            '(' if characters.next_if_eq(&'?').is_some() => match characters.next() {
                Some(':') => out.push_str("(?:"),
                _ => return Err(refuse("a group that begins with `(?`")),
            },
            '[' => brackets(&mut characters, &mut out).map_err(|what| refuse(&what))?,
            '{' if !characters.peek().is_some_and(char::is_ascii_digit) => out.push_str("\\{"),
            other => out.push(other),
        }
    }
    Ok((out, ignore_case))
}

fn escape(character: char, in_brackets: bool) -> Option<String> {
    let written = match character {
        'd' if in_brackets => "0-9",
        'w' if in_brackets => r"\p{Alphabetic}\p{Nd}_",
        's' => r"\s",
        'd' => "[0-9]",
        'D' if !in_brackets => "[^0-9]",
        'w' => r"[\p{Alphabetic}\p{Nd}_]",
        'W' if !in_brackets => r"[^\p{Alphabetic}\p{Nd}_]",
        'S' if !in_brackets => r"\S",
        'n' => r"\n",
        'r' => r"\r",
        't' => r"\t",
        'f' => r"\x0c",
        'v' => r"\x0b",
        'y' if !in_brackets => r"\b",
        'Y' if !in_brackets => r"\B",
        'm' if !in_brackets => r"\b{start}",
        'M' if !in_brackets => r"\b{end}",
        'A' if !in_brackets => r"\A",
        'Z' if !in_brackets => r"\z",
        other if other.is_alphanumeric() => return None,
        other => return Some(literal(other)),
    };
    Some(written.to_owned())
}

fn literal(character: char) -> String {
    match character {
        '-' | '&' | '~' | '^' => format!("\\{character}"),
        other => regex::escape(&other.to_string()),
    }
}

/// Rewrites a bracket expression whose opening bracket has been read.
fn brackets(
    characters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    out: &mut String,
) -> Result<(), String> {
    let unfinished = || "an unfinished bracket expression".to_owned();
    out.push('[');
    if characters.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let mut is_first = true;
    let mut can_start_range = false;
    loop {
        let character = characters.next().ok_or_else(unfinished)?;
        match character {
            ']' if !is_first => {
                out.push(']');
                return Ok(());
            }
            '[' if matches!(characters.peek(), Some(':' | '.' | '=')) => {
                let mut class = String::new();
                for inner in characters.by_ref() {
                    if inner == ']' {
                        break;
                    }
                    class.push(inner);
                }
                out.push_str(match class.as_str() {
                    ":alpha:" => r"\p{Alphabetic}",
                    ":digit:" => "0-9",
                    ":alnum:" => r"\p{Alphabetic}\p{Nd}",
                    ":upper:" => r"\p{Uppercase}",
                    ":lower:" => r"\p{Lowercase}",
                    ":space:" => r"\s",
                    ":blank:" => r"\t ",
                    ":xdigit:" => "0-9A-Fa-f",
                    _ => return Err(format!("`[{class}]`")),
                });
                can_start_range = false;
            }
            '-' if can_start_range && characters.peek().is_some_and(|next| *next != ']') => {
                out.push('-');
                can_start_range = false;
            }
            '\\' => {
                let escaped = characters.next().ok_or_else(unfinished)?;
                out.push_str(
                    &escape(escaped, true).ok_or_else(|| format!("escape `\\{escaped}`"))?,
                );
                can_start_range = !escaped.is_alphanumeric();
            }
            other => {
                out.push_str(&literal(other));
                can_start_range = true;
            }
        }
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_with_wildcards_and_escapes() {
        let is = |text, pattern| like(text, pattern, Some('\\')) == Ok(boolean(true));
        assert!(is("USEAST/PMU1", "%/PMU_"));
        assert!(is("a%b", r"a\%b"));
        assert!(!is("axb", r"a\%b"));
        assert!(is("", "%"));
        assert!(is("aab", "%ab"));
        assert!(is("é", "_"));
        assert!(!is("A", "a"));
        assert!(like("a", r"a\", Some('\\')).is_err());
    }

    #[test]
    fn similar_to_takes_the_whole_text() {
        let is = |text, pattern| {
            let regex = similar_to_regex(pattern, Some('\\')).unwrap();
            matches(&regex, text, false) == Ok(boolean(true))
        };
        assert!(is("agave/IC_B/B5", "%agave%|%x%"));
        assert!(is("abc", "(a|b)%"));
        assert!(!is("abc", "b"));
        assert!(!is("abc", "a.c"));
        assert!(is("a.c", "a.c"));
        assert!(is("x5", "x[0-9]"));
    }

    #[test]
    fn expressions_without_an_equivalent_are_refused() {
        for pattern in [
            r"(a)\1", "a(?=b)", "(?<n>a)", "***:a", r"\q", "[[.a.]]", "[a", "(",
        ] {
            assert!(compile(pattern, false, "").is_err(), "{pattern}");
        }
        for pattern in ["a|ab", "(ab)?", "a*?", "(a){2}"] {
            assert!(extracting(pattern, false, "").is_err(), "{pattern}");
        }
        assert!(extracting("^([^/]+)/([a-z|]*)", false, "").is_ok());
    }

    #[test]
    fn brackets_mean_what_they_mean_in_postgresql() {
        let is = |text, pattern| matches(pattern, text, false) == Ok(boolean(true));
        assert!(is("[", "^[[]$"));
        assert!(is("]", "^[]]$"));
        assert!(is("&&", "^[&&a]+$"));
        assert!(is("-", "^[a-]$"));
        assert!(is("é", "^[[:alpha:]]$"));
        assert!(!is("٣", r"^\d$"));
        assert!(is("a\nb", "a.b"));
        assert!(is("a{", "a{"));
    }
}
