//! From text to the tree of one query, within bounds.

use sqlparser::ast::{Query, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::dialect::Postgres;
use crate::error::{Error, Place};

/// No statement is longer.
const MOST_BYTES: usize = 256 << 10;
/// Words, constants, signs and the space between them; the tree takes about 1 KiB for each.
const MOST_TOKENS: usize = 64 << 10;
/// Each operator may make the tree deeper by one.
const MOST_OPERATORS: usize = 2000;
/// Parentheses within each other, as the parser counts them.
const MOST_NESTING: usize = 40;
/// The same of square brackets and braces.
const MOST_BRACKETS: usize = 6;

/// Refuses a text that is longer than a statement may be.
pub(crate) fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > MOST_BYTES {
        return Err(Error::at(
            format!("the statement is longer than {MOST_BYTES} bytes"),
            None,
        ));
    }
    Ok(())
}

/// The query that `text` holds.
pub(crate) fn parse(text: &str) -> Result<Query, Error> {
    check_length(text)?;
    if text.contains('\0') {
        return Err(Error::at(
            "the statement holds the character of code zero",
            None,
        ));
    }
    let tokens = Tokenizer::new(&Postgres, text)
        .tokenize_with_location()
        .map_err(|error| {
            let place = Place {
                line: error.location.line,
                column: error.location.column,
            };
            Error::at(format!("syntax error: {}", error.message), Some(place))
        })?;
    if tokens.len() > MOST_TOKENS {
        return Err(Error::at(
            format!("the statement has more than {MOST_TOKENS} words and signs"),
            None,
        ));
    }
    check_nesting(&tokens)?;
    check_intervals(&tokens)?;
    let operators = tokens.iter().filter(|token| deepens(&token.token)).count();
    if operators > MOST_OPERATORS {
        return Err(Error::at(
            format!("the statement has more than {MOST_OPERATORS} operators"),
            None,
        ));
    }
    let mut statements = Parser::new(&Postgres)
        .with_recursion_limit(MOST_NESTING)
        .with_tokens_with_locations(tokens)
        .parse_statements()
        .map_err(|error| syntax_error(&error))?;
    match (statements.pop(), statements.is_empty()) {
        (None, _) => Err(Error::at("the statement is empty", None)),
        (Some(_), false) => Err(Error::at("more than one statement", None)),
        (Some(Statement::Query(query)), true) => Ok(*query),
        (Some(other), true) => {
            let text = other.to_string();
            let word = text.split_whitespace().next().unwrap_or_default();
            Err(Error::at(
                format!("only SELECT is answered, not {}", word.to_uppercase()),
                Some(Place { line: 1, column: 1 }),
            ))
        }
    }
}

/// Brackets must close, and not hold each other too often: after an error inside of some, the
/// parser starts again from each that is open.
fn check_nesting(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let mut open: Vec<(&Token, Place)> = Vec::new();
    for token in tokens {
        let place = Place {
            line: token.span.start.line,
            column: token.span.start.column,
        };
        let wanted = match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push((&token.token, place));
                let brackets = open
                    .iter()
                    .filter(|(own, _)| **own != Token::LParen)
                    .count();
                if open.len() > MOST_NESTING || brackets > MOST_BRACKETS {
                    return Err(Error::at("the statement is nested too deeply", Some(place)));
                }
                continue;
            }
            Token::RParen => Token::LParen,
            Token::RBracket => Token::LBracket,
            Token::RBrace => Token::LBrace,
            _ => continue,
        };
        if open.pop().is_none_or(|(own, _)| *own != wanted) {
            return Err(Error::at(
                format!("syntax error: `{}` closes nothing", token.token),
                Some(place),
            ));
        }
    }
    match open.pop() {
        None => Ok(()),
        Some((token, place)) => Err(Error::at(
            format!("syntax error: `{token}` is not closed"),
            Some(place),
        )),
    }
}

/// `interval` is a type after `::` and `as`, and stands before a text everywhere else: anything
/// else after it the parser would read twice.
fn check_intervals(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let is_seen = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_));
    let mut before = &Token::EOF;
    let mut seen = tokens.iter().filter(is_seen).peekable();
    while let Some(token) = seen.next() {
        let is_interval = matches!(&token.token, Token::Word(word)
            if word.keyword == Keyword::INTERVAL && word.quote_style.is_none());
        let is_type = match before {
            Token::DoubleColon => true,
            Token::Word(word) => word.keyword == Keyword::AS,
            _ => false,
        };
        let is_before_text = seen.peek().is_some_and(|next| {
            matches!(
                next.token,
                Token::SingleQuotedString(_)
                    | Token::EscapedStringLiteral(_)
                    | Token::DollarQuotedString(_)
            )
        });
        if is_interval && !is_type && !is_before_text {
            return Err(Error::at(
                "INTERVAL wants a quoted text",
                Some(Place {
                    line: token.span.start.line,
                    column: token.span.start.column,
                }),
            ));
        }
        before = &token.token;
    }
    Ok(())
}

fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::SIMILAR
                | Keyword::BETWEEN
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT
                | Keyword::MINUS
                | Keyword::AT
                | Keyword::COLLATE
                | Keyword::NOTNULL
                | Keyword::JOIN
        ),
        Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Placeholder(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::Whitespace(_)
        | Token::EOF => false,
        _ => true,
    }
}

/// Takes the place out of the parser's message.
fn syntax_error(error: &ParserError) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => {
            Error::at("the statement is nested too deeply", None)
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            let (message, place) = match text.rsplit_once(" at Line: ") {
                Some((message, place)) => (message, parse_place(place)),
                None => (text.as_str(), None),
            };
            let message = message
                .strip_prefix("Expected: ")
                .map_or_else(|| message.to_owned(), |rest| format!("expected {rest}"));
            Error::at(format!("syntax error: {message}"), place)
        }
    }
}

/// Reads `1, Column: 8`.
fn parse_place(text: &str) -> Option<Place> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Place {
        line: line.trim().parse().ok()?,
        column: column.trim().parse().ok()?,
    })
}
