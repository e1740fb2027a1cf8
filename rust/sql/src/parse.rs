//! Parsing the text of one query, within limits.

use sqlparser::ast::{Query, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::dialect::Postgres;
use crate::error::{Error, Position};

/// Maximum length of a statement.
const MOST_BYTES: usize = 256 << 10;
/// Maximum number of tokens, whitespace included; the tree takes about 1 KiB for each.
const MOST_TOKENS: usize = 64 << 10;
/// Maximum number of operators; each may make the tree one level deeper.
const MOST_OPERATORS: usize = 2000;
/// Maximum nesting of parentheses, as the parser counts them.
const MOST_NESTING: usize = 40;
/// Maximum nesting of square brackets and braces.
const MOST_BRACKETS: usize = 6;

/// Refuses a text that is too long for a statement.
pub(crate) fn check_length(text: &str) -> Result<(), Error> {
    if text.len() > MOST_BYTES {
        return Err(Error::at(
            format!("the statement is longer than {MOST_BYTES} bytes"),
            None,
        ));
    }
    Ok(())
}

/// Parses `text` as one query.
pub(crate) fn parse(text: &str) -> Result<Query, Error> {
    check_length(text)?;
    if text.contains('\0') {
        return Err(Error::at(
            "the statement contains the character with code zero",
            None,
        ));
    }
    let tokens = Tokenizer::new(&Postgres, text)
        .tokenize_with_location()
        .map_err(|error| {
            let position = Position {
                line: error.location.line,
                column: error.location.column,
            };
            Error::at(format!("syntax error: {}", error.message), Some(position))
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
                Some(Position { line: 1, column: 1 }),
            ))
        }
    }
}

/// Checks that brackets are balanced and not nested too deeply. After an error inside brackets, the
/// parser starts again from each open one.
fn check_nesting(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    let mut open: Vec<(&Token, Position)> = Vec::new();
    for token in tokens {
        let position = Position {
            line: token.span.start.line,
            column: token.span.start.column,
        };
        let wanted = match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push((&token.token, position));
                let brackets = open
                    .iter()
                    .filter(|(own, _)| **own != Token::LParen)
                    .count();
                if open.len() > MOST_NESTING || brackets > MOST_BRACKETS {
                    return Err(Error::at(
                        "the statement is nested too deeply",
                        Some(position),
                    ));
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
                format!("syntax error: `{}` has no opening bracket", token.token),
                Some(position),
            ));
        }
    }
    match open.pop() {
        None => Ok(()),
        Some((token, position)) => Err(Error::at(
            format!("syntax error: `{token}` is not closed"),
            Some(position),
        )),
    }
}

/// `interval` is a type after `::` and `as`, and precedes a quoted text everywhere else. Any other
/// token after it would make the parser read the rest twice.
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
                "INTERVAL requires a quoted text",
                Some(Position {
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

/// Extracts the position from the message of the parser.
fn syntax_error(error: &ParserError) -> Error {
    match error {
        ParserError::RecursionLimitExceeded => {
            Error::at("the statement is nested too deeply", None)
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => {
            let (message, position) = match text.rsplit_once(" at Line: ") {
                Some((message, position)) => (message, parse_position(position)),
                None => (text.as_str(), None),
            };
            let message = message
                .strip_prefix("Expected: ")
                .map_or_else(|| message.to_owned(), |rest| format!("expected {rest}"));
            Error::at(format!("syntax error: {message}"), position)
        }
    }
}

/// Parses `1, Column: 8`.
fn parse_position(text: &str) -> Option<Position> {
    let (line, column) = text.split_once(", Column: ")?;
    Some(Position {
        line: line.trim().parse().ok()?,
        column: column.trim().parse().ok()?,
    })
}
