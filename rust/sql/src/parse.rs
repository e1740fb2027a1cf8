//! From text to the tree of one query, within bounds.

use sqlparser::ast::{Query, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Error, Place};

/// No statement is longer.
const MOST_BYTES: usize = 256 << 10;
/// Each operator may make the tree deeper by one.
const MOST_OPERATORS: usize = 2000;
/// Parentheses within each other, as the parser counts them.
const MOST_NESTING: usize = 40;

/// The query that `text` holds.
pub(crate) fn parse(text: &str) -> Result<Query, Error> {
    if text.len() > MOST_BYTES {
        return Err(Error::at(
            format!("the statement is longer than {MOST_BYTES} bytes"),
            None,
        ));
    }
    if text.contains('\0') {
        return Err(Error::at(
            "the statement holds the character of code zero",
            None,
        ));
    }
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text)
        .tokenize_with_location()
        .map_err(|error| {
            let place = Place {
                line: error.location.line,
                column: error.location.column,
            };
            Error::at(format!("syntax error: {}", error.message), Some(place))
        })?;
    let operators = tokens.iter().filter(|token| deepens(&token.token)).count();
    if operators > MOST_OPERATORS {
        return Err(Error::at(
            format!("the statement has more than {MOST_OPERATORS} operators"),
            None,
        ));
    }
    let mut statements = Parser::new(&dialect)
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
