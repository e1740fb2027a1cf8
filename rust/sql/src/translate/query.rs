//! Queries: `with`, set operations, `values`, `order by`, `limit`.

use sqlparser::ast::{
    Expr, LimitClause, OffsetRows, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Query,
    SetExpr, SetOperator, SetQuantifier, TableAlias, Value as Constant, Values, With,
};

use super::operand::{Form, Operand};
use super::{CommonTable, Output, Translator, folded, unwrapped};
use crate::error::Error;
use crate::function::cast_name;
use crate::types::Type;
use crate::value::number::parse_int8;

/// A translated query, with columns `c1`, `c2` and so on.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) sql: String,
    pub(super) columns: Vec<Output>,
}

impl Translator<'_> {
    /// Translates a query of any kind.
    pub(super) fn query(&mut self, query: &Query) -> Result<Plan, Error> {
        self.enter(query);
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        self.refuse_if(!locks.is_empty(), "locking of rows")?;
        self.refuse_if(for_clause.is_some(), "clause FOR")?;
        self.refuse_if(settings.is_some(), "clause SETTINGS")?;
        self.refuse_if(format_clause.is_some(), "clause FORMAT")?;
        self.refuse_if(!pipe_operators.is_empty(), "operator `|>`")?;
        let order = match order_by {
            None => &[][..],
            Some(order_by) => self.order_list(order_by)?,
        };
        let kept = self.tables.len();
        let mut sql = match with {
            None => String::new(),
            Some(with) => self.with(with)?,
        };
        let limit = self.limit(limit_clause.as_ref(), fetch.as_ref())?;
        let plan = self.body(body, order)?;
        self.tables.truncate(kept);
        sql.push_str(&plan.sql);
        sql.push_str(&limit);
        Ok(Plan {
            sql,
            columns: plan.columns,
        })
    }

    fn order_list<'q>(&self, order_by: &'q OrderBy) -> Result<&'q [OrderByExpr], Error> {
        self.refuse_if(order_by.interpolate.is_some(), "clause INTERPOLATE")?;
        match &order_by.kind {
            OrderByKind::Expressions(list) => Ok(list),
            OrderByKind::All(_) => self.unsupported("ORDER BY ALL"),
        }
    }

    fn with(&mut self, with: &With) -> Result<String, Error> {
        self.refuse_if(with.recursive, "WITH RECURSIVE")?;
        let mut parts = Vec::with_capacity(with.cte_tables.len());
        let first = self.tables.len();
        for table in &with.cte_tables {
            self.refuse_if(table.from.is_some(), "clause FROM of a WITH query")?;
            let before = self.table_count;
            let plan = self.query(&table.query)?;
            let columns = self.renamed(plan.columns, &table.alias)?;
            let name = folded(&table.alias.name);
            if self.tables.iter().skip(first).any(|own| own.name == name) {
                return self.refuse(format!("WITH query name `{name}` specified more than once"));
            }
            let sql_name = self.fresh("q");
            let list = column_list(columns.len());
            parts.push(format!("{sql_name}({list}) as ({})", plan.sql));
            self.tables.push(CommonTable {
                name,
                sql_name,
                columns,
                tables: self.table_count - before,
            });
        }
        Ok(format!("with {} ", parts.join(", ")))
    }

    /// Renames columns to the names in a table alias.
    pub(super) fn renamed(
        &self,
        mut columns: Vec<Output>,
        alias: &TableAlias,
    ) -> Result<Vec<Output>, Error> {
        self.refuse_if(alias.at.is_some(), "clause AT of an alias")?;
        if alias.columns.len() > columns.len() {
            return self.refuse(format!(
                "table `{}` has {} columns, its alias names {}",
                alias.name.value,
                columns.len(),
                alias.columns.len()
            ));
        }
        for (column, given) in columns.iter_mut().zip(&alias.columns) {
            self.refuse_if(given.data_type.is_some(), "a type in an alias")?;
            column.name = folded(&given.name);
        }
        for column in &mut columns {
            column.is_untyped = false;
        }
        Ok(columns)
    }

    fn body(&mut self, body: &SetExpr, order: &[OrderByExpr]) -> Result<Plan, Error> {
        self.depth += 1;
        if self.depth > super::MOST_DEPTH {
            return self.refuse("the statement is nested too deeply");
        }
        let plan = match body {
            SetExpr::Select(select) => self.select(select, order),
            SetExpr::Query(query) => {
                let plan = self.query(query)?;
                self.ordered(plan, order)
            }
            SetExpr::SetOperation {
                left,
                op,
                set_quantifier,
                right,
            } => {
                let plan = self.set_operation(left, *op, *set_quantifier, right)?;
                self.ordered(plan, order)
            }
            SetExpr::Values(values) => {
                let plan = self.values(values)?;
                self.ordered(plan, order)
            }
            SetExpr::Table(_) => self.unsupported("TABLE"),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                self.refuse("only SELECT is answered")
            }
        };
        self.depth -= 1;
        plan
    }

    /// Sorts the rows of `plan` by its columns.
    fn ordered(&mut self, plan: Plan, order: &[OrderByExpr]) -> Result<Plan, Error> {
        if order.is_empty() {
            return Ok(plan);
        }
        let mut terms = Vec::with_capacity(order.len());
        for term in order {
            self.refuse_if(term.with_fill.is_some(), "clause WITH FILL")?;
            let Some(index) = self.output_index(&term.expr, &plan.columns)? else {
                return self.refuse_at(
                    sqlparser::ast::Spanned::span(&term.expr),
                    "only columns of the result can order a set operation",
                );
            };
            terms.push(self.output_order(index, &plan.columns, term.options)?);
        }
        Ok(Plan {
            sql: format!("select * from ({}) order by {}", plan.sql, terms.join(", ")),
            columns: plan.columns,
        })
    }

    /// The output column to which a term of `order by` refers by number or name.
    pub(super) fn output_index(
        &self,
        expr: &Expr,
        columns: &[Output],
    ) -> Result<Option<usize>, Error> {
        match expr {
            Expr::Identifier(ident) => {
                let name = folded(ident);
                let mut found = (0..columns.len()).filter(|index| {
                    columns
                        .get(*index)
                        .is_some_and(|column| column.name == name)
                });
                Ok(found.next())
            }
            Expr::Value(value) => match &value.value {
                Constant::Number(digits, false) => {
                    let number: usize = digits.parse().unwrap_or(0);
                    if number == 0 || number > columns.len() {
                        return self.refuse_at(
                            value.span,
                            format!("position {digits} is not in the select list"),
                        );
                    }
                    Ok(Some(number - 1))
                }
                Constant::Placeholder(_) => Ok(None),
                _ => self.refuse_at(
                    value.span,
                    "a constant in ORDER BY must be a position in the select list",
                ),
            },
            _ => Ok(None),
        }
    }

    pub(super) fn output_order(
        &self,
        index: usize,
        columns: &[Output],
        options: OrderByOptions,
    ) -> Result<String, Error> {
        let Some(column) = columns.get(index) else {
            return self.refuse("no such column");
        };
        let operand = Operand::known(format!("c{}", index + 1), column.kind, self.position);
        self.direction(&operand, column.kind, options)
    }

    /// A term of `order by` with its direction: nulls are last, or first in descending order.
    pub(super) fn direction(
        &self,
        operand: &Operand,
        kind: Type,
        options: OrderByOptions,
    ) -> Result<String, Error> {
        if !kind.has_order() {
            return self.refuse(format!("values of type {} have no order here", kind.name()));
        }
        let collation = match kind.collation() {
            Some(collation) => format!(" collate {collation}"),
            None => String::new(),
        };
        let is_descending = options.asc == Some(false);
        let nulls_first = options.nulls_first.unwrap_or(is_descending);
        Ok(format!(
            "{}{collation} {} nulls {}",
            operand.sql,
            if is_descending { "desc" } else { "asc" },
            if nulls_first { "first" } else { "last" }
        ))
    }

    fn set_operation(
        &mut self,
        left: &SetExpr,
        operator: SetOperator,
        quantifier: SetQuantifier,
        right: &SetExpr,
    ) -> Result<Plan, Error> {
        let is_all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::None | SetQuantifier::Distinct => false,
            _ => return self.unsupported("a set operation BY NAME"),
        };
        let word = match (operator, is_all) {
            (SetOperator::Union, true) => "union all",
            (SetOperator::Union, false) => "union",
            (SetOperator::Intersect, false) => "intersect",
            (SetOperator::Except, false) => "except",
            (SetOperator::Intersect, true) => return self.unsupported("INTERSECT ALL"),
            (SetOperator::Except, true) => return self.unsupported("EXCEPT ALL"),
            (SetOperator::Minus, _) => return self.unsupported("MINUS"),
        };
        let left = self.body(left, &[])?;
        let right = self.body(right, &[])?;
        if left.columns.len() != right.columns.len() {
            return self.refuse(format!(
                "each side of {} must have the same number of columns, not {} and {}",
                word.to_uppercase(),
                left.columns.len(),
                right.columns.len()
            ));
        }
        let mut columns = Vec::with_capacity(left.columns.len());
        for (own, other) in left.columns.iter().zip(&right.columns) {
            let column = self.merged_column(own, other, word)?;
            if !is_all && !column.kind.has_equality() {
                return self.refuse(format!(
                    "values of type {} have no equality, which {} requires",
                    column.kind.name(),
                    word.to_uppercase()
                ));
            }
            columns.push(column);
        }
        let sql = format!(
            "{} {word} {}",
            side(&left, &columns),
            side(&right, &columns)
        );
        Ok(Plan { sql, columns })
    }

    fn merged_column(&self, own: &Output, other: &Output, word: &str) -> Result<Output, Error> {
        let form = |column: &Output| {
            let mut operand = Operand::known("", column.kind, None);
            if column.is_untyped {
                operand.form = Form::Null;
            }
            operand
        };
        let kind = self.common_type(&[&form(own), &form(other)], &word.to_uppercase())?;
        Ok(Output {
            name: own.name.clone(),
            kind,
            is_untyped: own.is_untyped && other.is_untyped,
        })
    }

    fn values(&mut self, values: &Values) -> Result<Plan, Error> {
        self.refuse_if(values.explicit_row, "ROW in VALUES")?;
        let mut rows: Vec<Vec<Operand>> = Vec::with_capacity(values.rows.len());
        self.scopes.push(super::Scope::new());
        self.scope()?.clause = super::Clause::Plain("VALUES");
        for row in &values.rows {
            let mut operands = Vec::with_capacity(row.len());
            for expr in row.iter() {
                operands.push(self.expression(expr)?);
            }
            if rows
                .first()
                .is_some_and(|first| first.len() != operands.len())
            {
                return self.refuse("the rows of VALUES must all have the same length");
            }
            rows.push(operands);
        }
        self.scopes.pop();
        let width = rows.first().map_or(0, Vec::len);
        let mut columns = Vec::with_capacity(width);
        let mut coerced: Vec<Vec<String>> = vec![Vec::new(); rows.len()];
        for index in 0..width {
            let cells = rows
                .iter()
                .filter_map(|row| row.get(index).cloned())
                .collect();
            let (cells, kind) = self.unified(cells, "VALUES")?;
            for (row, cell) in coerced.iter_mut().zip(cells) {
                row.push(cell.sql);
            }
            columns.push(Output {
                name: format!("column{}", index + 1),
                kind,
                is_untyped: false,
            });
        }
        let rows: Vec<String> = coerced
            .iter()
            .map(|row| format!("({})", row.join(", ")))
            .collect();
        let list: Vec<String> = (1..=width)
            .map(|index| format!("column{index} as c{index}"))
            .collect();
        Ok(Plan {
            sql: format!(
                "select {} from (values {})",
                list.join(", "),
                rows.join(", ")
            ),
            columns,
        })
    }

    /// Returns ` limit n offset m`; both are constants or parameters.
    fn limit(
        &mut self,
        clause: Option<&LimitClause>,
        fetch: Option<&sqlparser::ast::Fetch>,
    ) -> Result<String, Error> {
        let mut limit = None;
        let mut skipped = None;
        match clause {
            None => {}
            Some(LimitClause::LimitOffset {
                limit: most,
                offset,
                limit_by,
            }) => {
                self.refuse_if(!limit_by.is_empty(), "LIMIT BY")?;
                if let Some(most) = most {
                    limit = self.row_count(most, "LIMIT")?;
                }
                if let Some(offset) = offset {
                    let (OffsetRows::None | OffsetRows::Row | OffsetRows::Rows) = offset.rows;
                    skipped = self.row_count(&offset.value, "OFFSET")?;
                }
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => {
                return self.refuse("LIMIT n, m is not supported: write LIMIT m OFFSET n");
            }
        }
        if let Some(fetch) = fetch {
            self.refuse_if(fetch.with_ties, "WITH TIES")?;
            self.refuse_if(fetch.percent, "FETCH of PERCENT")?;
            self.refuse_if(limit.is_some(), "FETCH beside LIMIT")?;
            limit = match &fetch.quantity {
                None => Some(1),
                Some(quantity) => self.row_count(quantity, "FETCH")?,
            };
        }
        Ok(match (limit, skipped) {
            (None, None) => String::new(),
            (Some(limit), None) => format!(" limit {limit}"),
            (limit, Some(skipped)) => format!(" limit {} offset {skipped}", limit.unwrap_or(-1)),
        })
    }

    fn row_count(&mut self, expr: &Expr, word: &str) -> Result<Option<i64>, Error> {
        self.enter(expr);
        let expr = match unwrapped(expr) {
            Expr::Cast {
                expr: inner, kind, ..
            } if *kind == sqlparser::ast::CastKind::DoubleColon => unwrapped(inner),
            other => other,
        };
        let Expr::Value(value) = expr else {
            return self.refuse(format!("{word} must be a number or a parameter"));
        };
        let count = match &value.value {
            Constant::Null => return Ok(None),
            Constant::Number(digits, false) => parse_int8(digits),
            Constant::SingleQuotedString(text) => parse_int8(text),
            Constant::Placeholder(_) => {
                let operand = self.expression(expr)?;
                let Form::Parameter(number) = operand.form else {
                    return self.limit_of_parameter(&operand, word).map(Some);
                };
                self.coerce(operand, Type::Int8)?;
                let text = self.parameters.get(number - 1).map_or("", String::as_str);
                parse_int8(text)
            }
            _ => return self.refuse(format!("{word} must be a number or a parameter")),
        };
        match self.with_position(count)? {
            negative if negative < 0 => self.refuse(format!("{word} must not be negative")),
            count => Ok(Some(count)),
        }
    }

    /// The value of a parameter that was already used as a bigint.
    fn limit_of_parameter(&self, operand: &Operand, word: &str) -> Result<i64, Error> {
        let number: usize = operand.sql.trim_start_matches('?').parse().unwrap_or(0);
        let text = self.parameters.get(number.wrapping_sub(1));
        match (operand.kind(), text) {
            (Some(Type::Int8), Some(text)) => match self.with_position(parse_int8(text))? {
                negative if negative < 0 => self.refuse(format!("{word} must not be negative")),
                count => Ok(count),
            },
            _ => self.refuse(format!("{word} must be a bigint")),
        }
    }
}

/// `c1, c2, ...`
pub(super) fn column_list(count: usize) -> String {
    let names: Vec<String> = (1..=count).map(|index| format!("c{index}")).collect();
    names.join(", ")
}

/// One side of a set operation, with its columns converted to the common types.
fn side(plan: &Plan, columns: &[Output]) -> String {
    let list: Vec<String> = plan
        .columns
        .iter()
        .zip(columns)
        .enumerate()
        .map(|(index, (own, wanted))| {
            let name = format!("c{}", index + 1);
            let is_same = own.kind == wanted.kind || (own.kind.is_text() && wanted.kind.is_text());
            let sql = if is_same {
                name.clone()
            } else {
                format!("{}({name})", cast_name(own.kind, wanted.kind))
            };
            match wanted.kind.collation() {
                Some(collation) => format!("{sql} collate {collation} as {name}"),
                None => format!("{sql} as {name}"),
            }
        })
        .collect();
    format!("select {} from ({})", list.join(", "), plan.sql)
}
