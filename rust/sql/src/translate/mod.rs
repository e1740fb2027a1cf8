//! Translates a statement of `PostgreSQL` to `SQLite`.
//!
//! Every node of the parsed statement is either translated, with the type that `PostgreSQL` would
//! give it, or refused by name. Relations and columns get generated names (`t1`, `c1`), so the
//! resulting text contains nothing of the statement but its constants.

mod aggregate;
mod call;
mod expression;
mod from;
mod generator;
mod name;
mod operand;
mod operator;
mod query;
mod select;
mod subquery;
mod window;

#[cfg(test)]
mod tests;

use rusqlite::types::Value;
use sqlparser::ast::{Expr, Ident, NamedWindowExpr, Query, Spanned};
use sqlparser::tokenizer::Span;

use crate::convert;
use crate::error::{Error, Position};
use crate::types::Type;

use operand::FreeColumn;

/// Maximum length of a translated statement.
const MOST_BYTES: usize = 1 << 20;
/// Maximum total length of all translated expressions; nested ones count at every level.
const MOST_WRITTEN: usize = 16 << 20;
/// Maximum number of tables, with each `with` query expanded wherever it is named. `SQLite` reads
/// them as often, and queries that name each other twice would double the number each time.
const MOST_TABLES: usize = 10_000;
/// Maximum nesting of expressions.
const MOST_DEPTH: usize = 150;

/// A statement for `SQLite` and its columns.
#[derive(Debug)]
pub(crate) struct Translation {
    pub(crate) sql: String,
    pub(crate) columns: Vec<Output>,
    /// The values of `?1` and so on.
    pub(crate) values: Vec<Value>,
}

/// A column of a query.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) kind: Type,
    /// Whether it is an untyped constant, which is text unless its context requires another type.
    is_untyped: bool,
}

/// A column that a name can refer to.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: Type,
    sql: String,
}

#[derive(Clone, Debug)]
struct Relation {
    name: String,
    columns: Vec<Column>,
}

/// The clause under translation, which determines what it may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    /// The name of a clause, for messages, that allows no aggregates, no window functions and no
    /// set-returning functions.
    Plain(&'static str),
    Having,
    Output,
}

/// The state of the translation of one `select`.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent flags for what was found so far"
)]
struct Scope {
    relations: Vec<Relation>,
    /// The columns that an unqualified name can refer to, and those of `*`.
    visible: Vec<Column>,
    /// Whether nested queries may not use its columns yet.
    is_hidden: bool,
    /// Index of the first relation of the join whose condition is translated.
    join_start: usize,
    clause: Clause,
    /// The texts of the grouping expressions.
    keys: Vec<String>,
    has_aggregates: bool,
    has_windows: bool,
    in_aggregate: bool,
    windows: Vec<(String, NamedWindowExpr)>,
    generators: Vec<generator::Generator>,
    has_outer_join: bool,
}

impl Scope {
    fn new() -> Self {
        Self {
            relations: Vec::new(),
            visible: Vec::new(),
            is_hidden: false,
            join_start: 0,
            clause: Clause::Plain("FROM"),
            keys: Vec::new(),
            has_aggregates: false,
            has_windows: false,
            in_aggregate: false,
            windows: Vec::new(),
            generators: Vec::new(),
            has_outer_join: false,
        }
    }
}

/// A query of a `with` clause.
#[derive(Clone, Debug)]
struct CommonTable {
    name: String,
    sql_name: String,
    columns: Vec<Output>,
    /// Number of tables that it reads, including those of other `with` queries.
    tables: usize,
}

#[derive(Debug)]
struct Translator<'a> {
    parameters: &'a [String],
    kinds: Vec<Option<Type>>,
    /// Constants without an exact text, which are bound after the parameters.
    constants: Vec<Value>,
    scopes: Vec<Scope>,
    tables: Vec<CommonTable>,
    /// Columns of outer queries that were used and not checked yet.
    escaped: Vec<FreeColumn>,
    names: usize,
    depth: usize,
    /// Total length of translated expressions so far.
    written: usize,
    /// Number of tables so far, counting a `with` query each time it is named.
    table_count: usize,
    position: Option<Position>,
    now_micros: i64,
}

/// Translates `query`; `now_ns` is the instant of `now()`.
pub(crate) fn translate(
    query: &Query,
    parameters: &[String],
    now_ns: i64,
) -> Result<Translation, Error> {
    let mut translator = Translator {
        parameters,
        kinds: vec![None; parameters.len()],
        constants: Vec::new(),
        scopes: Vec::new(),
        tables: Vec::new(),
        escaped: Vec::new(),
        names: 0,
        depth: 0,
        written: 0,
        table_count: 0,
        position: None,
        now_micros: now_ns.div_euclid(1000),
    };
    let plan = translator.query(query)?;
    let values = translator.bound_values()?;
    Ok(Translation {
        sql: plan.sql,
        columns: plan.columns,
        values,
    })
}

impl Translator<'_> {
    /// An error at the current position.
    fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(problem, self.position))
    }

    fn refuse_at<T>(&self, span: Span, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(problem, position_of(span).or(self.position)))
    }

    /// An error which says that `what` is not supported.
    fn unsupported<T>(&self, what: &str) -> Result<T, Error> {
        self.refuse(format!("{what} is not supported"))
    }

    fn refuse_if(&self, is_there: bool, what: &str) -> Result<(), Error> {
        if is_there {
            return self.unsupported(what);
        }
        Ok(())
    }

    /// Adds the current position to an error.
    fn with_position<T>(&self, result: Result<T, String>) -> Result<T, Error> {
        result.map_err(|problem| Error::at(problem, self.position))
    }

    fn enter(&mut self, node: &impl Spanned) {
        self.position = position_of(node.span()).or(self.position);
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn scope(&mut self) -> Result<&mut Scope, Error> {
        let position = self.position;
        self.scopes
            .last_mut()
            .ok_or_else(|| Error::at("a constant is required here", position))
    }

    fn level(&self) -> usize {
        self.scopes.len().saturating_sub(1)
    }

    /// The values of the parameters, each in the type that its use requires, then the constants.
    fn bound_values(self) -> Result<Vec<Value>, Error> {
        let mut values = Vec::with_capacity(self.parameters.len() + self.constants.len());
        for (index, (text, kind)) in self.parameters.iter().zip(&self.kinds).enumerate() {
            let number = index + 1;
            let parameter = |problem| Error::Parameter { number, problem };
            let Some(kind) = kind else {
                return Err(parameter("the statement does not use it".to_owned()));
            };
            values.push(convert::from_text(*kind, text).map_err(parameter)?);
        }
        values.extend(self.constants);
        Ok(values)
    }
}

/// The name of an identifier: without quotes; in lower case if it was not quoted.
fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

fn position_of(span: Span) -> Option<Position> {
    (span.start.line > 0).then_some(Position {
        line: span.start.line,
        column: span.start.column,
    })
}

/// The expression inside parentheses.
fn unwrapped(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}
