//! The syntax of `PostgreSQL`, without the constructs that take the parser exponential time.

use std::any::TypeId;

use sqlparser::ast::Expr;
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

const POSTGRESQL: PostgreSqlDialect = PostgreSqlDialect {};

/// The `PostgreSQL` dialect of the parser, with three changes.
///
/// `is distinct from` and `~` have the precedence of `PostgreSQL`. The names of function arguments
/// cannot be expressions, as in `json_object('a': 1)`. A keyword that starts an expression, such as
/// `case`, is never the name of a column. Without the last two, the parser would read the rest
/// twice, at every level of nesting.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Dialect for Postgres {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRESQL.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        POSTGRESQL.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        POSTGRESQL.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        POSTGRESQL.is_identifier_part(character)
    }

    fn supports_unicode_string_literal(&self) -> bool {
        true
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        // Types that only precede a constant.
        !matches!(
            keyword,
            Keyword::BOX
                | Keyword::CIRCLE
                | Keyword::LINE
                | Keyword::LSEG
                | Keyword::PATH
                | Keyword::POINT
                | Keyword::POLYGON
        )
    }

    fn is_custom_operator_part(&self, character: char) -> bool {
        POSTGRESQL.is_custom_operator_part(character)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        // The parser treats these as kinds of LIKE, which have a lower precedence.
        if matches!(
            parser.peek_token_ref().token,
            Token::Tilde
                | Token::TildeAsterisk
                | Token::ExclamationMarkTilde
                | Token::ExclamationMarkTildeAsterisk
                | Token::DoubleTilde
                | Token::DoubleTildeAsterisk
                | Token::ExclamationMarkDoubleTilde
                | Token::ExclamationMarkDoubleTildeAsterisk
        ) {
            return Some(Ok(self.prec_value(Precedence::PgOther)));
        }
        POSTGRESQL.get_next_precedence(parser)
    }

    /// The right side of `is distinct from` ends before `and`; the parser would include it.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        left: &Expr,
        _: u8,
    ) -> Option<Result<Expr, ParserError>> {
        let is_negated = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM])
        {
            false
        } else if parser.parse_keywords(&[
            Keyword::IS,
            Keyword::NOT,
            Keyword::DISTINCT,
            Keyword::FROM,
        ]) {
            true
        } else {
            return None;
        };
        let left = Box::new(left.clone());
        let right = parser.parse_subexpr(self.prec_value(Precedence::Is));
        Some(right.map(Box::new).map(|right| {
            if is_negated {
                Expr::IsNotDistinctFrom(left, right)
            } else {
                Expr::IsDistinctFrom(left, right)
            }
        }))
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        POSTGRESQL.prec_value(precedence)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_factorial_operator(&self) -> bool {
        true
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        true
    }

    fn supports_empty_projections(&self) -> bool {
        true
    }

    fn supports_nested_comments(&self) -> bool {
        true
    }

    fn supports_string_escape_constant(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    // This includes the operators that start with a question mark.
    fn supports_geometric_types(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn supports_interval_options(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}
