//! Writes a statement of `PostgreSQL` anew for `SQLite`.
//!
//! Every node of the parsed statement is either understood, with the type that `PostgreSQL` would
//! give it, or refused by name. Relations and columns get names of our own (`t1`, `c1`), so that
//! nothing in the text that runs comes from the statement but its constants.

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
use crate::error::{Error, Place};
use crate::types::Type;

use operand::Free;

/// No statement that runs is longer.
const MOST_BYTES: usize = 1 << 20;
/// The texts of all expressions together, each counted in those around it too.
const MOST_WRITTEN: usize = 16 << 20;
/// Tables of a statement once each query of `with` stands wherever it is named: so often does
/// `SQLite` read them, and queries that name each other twice would double with each.
const MOST_TABLES: usize = 10_000;
/// Nested deeper, an expression is refused.
const MOST_DEPTH: usize = 150;

/// A statement for `SQLite` and what its columns are.
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
    /// A constant without a type, which is text until something wants otherwise.
    is_untyped: bool,
}

/// A column that a name can mean.
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

/// What a part of a statement may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clause {
    /// Name of the part, for messages; no aggregates, no windows, no rows.
    Plain(&'static str),
    Having,
    Output,
}

/// One `select`, while it is translated.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says what was met so far, and they combine freely"
)]
struct Scope {
    relations: Vec<Relation>,
    /// The columns that a name without a relation can mean, and those of `*`.
    visible: Vec<Column>,
    /// Nothing inside may use its columns yet.
    is_hidden: bool,
    /// Where the relations of the join begin whose condition is read.
    join_start: usize,
    clause: Clause,
    /// The texts of what is grouped by.
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
    /// The tables that it names, and those of the queries that it names.
    tables: usize,
}

#[derive(Debug)]
struct Translator<'a> {
    parameters: &'a [String],
    kinds: Vec<Option<Type>>,
    /// Constants that have no exact text, bound after the parameters.
    constants: Vec<Value>,
    scopes: Vec<Scope>,
    tables: Vec<CommonTable>,
    /// Columns of outer queries that were used and not yet accounted for.
    escaped: Vec<Free>,
    names: usize,
    depth: usize,
    /// Bytes of expressions so far.
    written: usize,
    /// Tables so far, each query of `with` counted wherever it is named.
    table_count: usize,
    place: Option<Place>,
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
        place: None,
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
    /// An error at the place that is being read.
    fn refuse<T>(&self, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(problem, self.place))
    }

    fn refuse_at<T>(&self, span: Span, problem: impl Into<String>) -> Result<T, Error> {
        Err(Error::at(problem, place_of(span).or(self.place)))
    }

    /// Says which part of the statement is not supported.
    fn unsupported<T>(&self, what: &str) -> Result<T, Error> {
        self.refuse(format!("{what} is not supported"))
    }

    fn refuse_if(&self, is_there: bool, what: &str) -> Result<(), Error> {
        if is_there {
            return self.unsupported(what);
        }
        Ok(())
    }

    /// A problem of a value, at the place that is being read.
    fn placed<T>(&self, result: Result<T, String>) -> Result<T, Error> {
        result.map_err(|problem| Error::at(problem, self.place))
    }

    fn enter(&mut self, node: &impl Spanned) {
        self.place = place_of(node.span()).or(self.place);
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn scope(&mut self) -> Result<&mut Scope, Error> {
        let place = self.place;
        self.scopes
            .last_mut()
            .ok_or_else(|| Error::at("a constant is wanted here", place))
    }

    fn level(&self) -> usize {
        self.scopes.len().saturating_sub(1)
    }

    /// The values of the parameters, each as the type that its place wants, then the constants.
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

/// The name that an identifier means: without quotes, in lower case.
fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

fn place_of(span: Span) -> Option<Place> {
    (span.start.line > 0).then_some(Place {
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
