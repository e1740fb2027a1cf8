//! Subqueries in expressions.

use sqlparser::ast::{Expr, Query};

use super::operand::{Operand, quoted};
use super::query::Plan;
use super::{Output, Translator};
use crate::error::Error;
use crate::types::Type;

impl Translator<'_> {
    /// Translates a query and collects the columns of this `select` that it uses.
    fn inner(&mut self, query: &Query) -> Result<(Plan, Operand), Error> {
        let level = self.level();
        let plan = self.query(query)?;
        let mut shell = Operand::known("", Type::Bool, self.position);
        let (own, others) = self.escaped.drain(..).partition(|free| free.level == level);
        shell.free = own;
        self.escaped = others;
        Ok((plan, shell))
    }

    fn single_column<'p>(&self, plan: &'p Plan) -> Result<&'p Output, Error> {
        match plan.columns.as_slice() {
            [column] => Ok(column),
            _ => self.refuse("the subquery must give one column"),
        }
    }

    /// The value of the only row, or null.
    pub(super) fn scalar_subquery(&mut self, query: &Query) -> Result<Operand, Error> {
        let (plan, shell) = self.inner(query)?;
        let column = self.single_column(&plan)?;
        let sql = format!("(select pg_single(c1) from ({}))", plan.sql);
        Ok(Operand {
            form: super::operand::Form::Known(column.kind),
            sql,
            ..shell
        })
    }

    pub(super) fn exists(&mut self, query: &Query, negated: bool) -> Result<Operand, Error> {
        let (plan, shell) = self.inner(query)?;
        let not = if negated { "not " } else { "" };
        Ok(Operand {
            sql: format!("({not}exists ({}))", plan.sql),
            ..shell
        })
    }

    pub(super) fn array_subquery(&mut self, query: &Query) -> Result<Operand, Error> {
        let (plan, shell) = self.inner(query)?;
        let column = self.single_column(&plan)?;
        let Some(array) = column.kind.array() else {
            return self.unsupported("an array of this type");
        };
        let item = self.output(Operand::known("c1", column.kind, self.position))?;
        let sql = format!(
            "coalesce((select pg_array_agg({}) from ({})), '[]')",
            item.sql, plan.sql
        );
        Ok(Operand {
            sql,
            form: super::operand::Form::Known(array),
            ..shell
        })
    }

    /// Translates `left in (query)`.
    pub(super) fn in_subquery(
        &mut self,
        left: &Expr,
        query: &Query,
        negated: bool,
    ) -> Result<Operand, Error> {
        let left = self.expression(left)?;
        let (plan, shell) = self.inner(query)?;
        let column = self.single_column(&plan)?;
        let right = Operand::known("c1", column.kind, self.position);
        let free = left.free.clone();
        let (operands, kind) = self.unified(vec![left, right], "IN")?;
        let [left, right] = operands.as_slice() else {
            return self.refuse("IN wants two sides");
        };
        if !kind.has_equality() {
            return self.refuse(format!("values of type {} have no equality", kind.name()));
        }
        let not = if negated { "not " } else { "" };
        let mut operand = Operand {
            sql: format!(
                "({} {not}in (select {} from ({})))",
                left.collated(kind),
                right.sql,
                plan.sql
            ),
            ..shell
        };
        operand.free.extend(free);
        Ok(operand)
    }

    /// Translates `left operator any (array)`, and `all`.
    pub(super) fn over_array(
        &mut self,
        left: &Expr,
        operator: &sqlparser::ast::BinaryOperator,
        right: &Expr,
        is_all: bool,
    ) -> Result<Operand, Error> {
        use sqlparser::ast::BinaryOperator as Op;
        if let Expr::Subquery(query) = super::unwrapped(right) {
            return match (operator, is_all) {
                (Op::Eq, false) => self.in_subquery(left, query, false),
                (Op::NotEq, true) => self.in_subquery(left, query, true),
                _ => self.unsupported("ANY or ALL of a subquery, other than = ANY and <> ALL,"),
            };
        }
        let left = self.expression(left)?;
        let right = self.expression(right)?;
        let array = match (left.kind().and_then(Type::array), right.kind()) {
            (_, Some(kind @ Type::Array(_))) => kind,
            (Some(array), None) => array,
            (None, None) => Type::TEXT_ARRAY,
            _ => return self.refuse("ANY and ALL take an array"),
        };
        let may_be_null = !right.is_constant();
        let right = self.coerce(right, array)?;
        let Type::Array(item) = array else {
            return self.refuse("ANY and ALL take an array");
        };
        let value = if item.is_text() {
            "value".to_owned()
        } else {
            format!("{}(value)", crate::function::cast_name(Type::Text, *item))
        };
        let item = Operand::known(value, *item, self.position);
        let test = self.binary(left.clone(), operator, item.clone())?;
        let source = format!("from json_each({})", right.sql);
        let sql = match (operator, is_all) {
            (Op::Eq, false) | (Op::NotEq, true) => {
                let operands = vec![left, item];
                let (operands, kind) = self.unified(operands, "ANY")?;
                let [left, item] = operands.as_slice() else {
                    return self.refuse("ANY wants two sides");
                };
                let not = if is_all { "not " } else { "" };
                format!(
                    "({} {not}in (select {} {source}))",
                    left.collated(kind),
                    item.sql
                )
            }
            _ => {
                let decisive = if is_all { "not " } else { "" };
                format!(
                    "(case when exists (select 1 {source} where {decisive}{test}) then {} \
                     when exists (select 1 {source} where {test} is null) then null else {} end)",
                    u8::from(!is_all),
                    u8::from(is_all),
                    test = test.sql
                )
            }
        };
        let sql = if may_be_null {
            format!("(case when {} is not null then {sql} end)", right.sql)
        } else {
            sql
        };
        Ok(Operand::of(sql, Type::Bool, &[&test, &right]))
    }

    /// The name of an `extract` field, as a constant.
    pub(super) fn field_name(&self, name: &str) -> Operand {
        Operand::known(
            quoted(&name.to_ascii_lowercase()),
            Type::Text,
            self.position,
        )
    }
}
