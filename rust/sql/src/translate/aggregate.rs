//! Aggregates and window functions.

use std::fmt::Write as _;

use sqlparser::ast::{
    DuplicateTreatment, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, OrderByExpr, WindowType,
};

use super::operand::{Form, Operand};
use super::{Clause, Translator};
use crate::error::Error;
use crate::function::json_name;
use crate::types::Type;

const AGGREGATES: [&str; 11] = [
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "bool_and",
    "bool_or",
    "every",
    "array_agg",
    "string_agg",
    "json_agg",
];

/// Functions that are only allowed over a window, with the range of their argument counts.
const WINDOW_FUNCTIONS: [(&str, usize, usize); 11] = [
    ("row_number", 0, 0),
    ("rank", 0, 0),
    ("dense_rank", 0, 0),
    ("percent_rank", 0, 0),
    ("cume_dist", 0, 0),
    ("ntile", 1, 1),
    ("lag", 1, 3),
    ("lead", 1, 3),
    ("first_value", 1, 1),
    ("last_value", 1, 1),
    ("nth_value", 2, 2),
];

pub(super) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.contains(&name)
}

/// A call in two parts; the filter and the window are inserted between them.
struct SplitCall {
    head: String,
    tail: String,
    kind: Type,
}

impl SplitCall {
    fn new(head: String, kind: Type) -> Self {
        Self {
            head,
            tail: String::new(),
            kind,
        }
    }
}

/// The parts of an aggregate call.
struct Parts {
    operands: Vec<Operand>,
    is_star: bool,
    is_distinct: bool,
    order: String,
}

impl Translator<'_> {
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        list: &FunctionArgumentList,
        filter: Option<&Expr>,
        over: Option<&WindowType>,
    ) -> Result<Operand, Error> {
        let position = self.position;
        if !is_aggregate(name) && !WINDOW_FUNCTIONS.iter().any(|(own, _, _)| *own == name) {
            return self.unsupported(&format!("window function or aggregate `{name}`"));
        }
        self.check_clause(name, over.is_some())?;
        let outer = self.escaped.len();
        let parts = self.aggregate_parts(name, list, over.is_some())?;
        let filter = match filter {
            None => None,
            Some(_) if !is_aggregate(name) => {
                return self.unsupported(&format!("FILTER of `{name}`"));
            }
            Some(filter) => {
                let before = self.begin_arguments(over.is_some())?;
                let operand = self.expression(filter)?;
                self.end_arguments(before)?;
                Some(self.coerce(operand, Type::Bool)?)
            }
        };
        let mut free: Vec<_> = parts
            .operands
            .iter()
            .chain(&filter)
            .flat_map(|operand| operand.free.clone())
            .collect();
        self.position = position;
        if free.is_empty() && self.escaped.len() > outer {
            return self.refuse(format!(
                "aggregate `{name}` over columns of an outer query is not supported"
            ));
        }
        let called = if is_aggregate(name) {
            self.aggregate_call(name, parts)?
        } else {
            self.window_call(name, parts)?
        };
        let mut sql = called.head;
        if let Some(filter) = filter {
            let _infallible = write!(sql, " filter (where {})", filter.sql);
        }
        match over {
            None => {
                self.scope()?.has_aggregates = true;
                let level = self.level();
                free.retain(|free| free.level != level);
            }
            Some(window) => {
                self.scope()?.has_windows = true;
                let window = self.window(window)?;
                free.extend(window.free);
                sql.push_str(&window.sql);
            }
        }
        sql.push_str(&called.tail);
        let kind = called.kind;
        Ok(Operand {
            sql,
            form: Form::Known(kind),
            free,
            position,
        })
    }

    /// Checks that an aggregate or window function is allowed here.
    fn check_clause(&mut self, name: &str, is_window: bool) -> Result<(), Error> {
        let Some(scope) = self.scopes.last() else {
            return self.refuse(format!("aggregate `{name}` outside of a SELECT"));
        };
        if !is_window && !is_aggregate(name) {
            return self.refuse(format!("window function `{name}` requires an OVER clause"));
        }
        let what = if is_window {
            "window functions"
        } else {
            "aggregates"
        };
        let is_allowed = match scope.clause {
            Clause::Output => true,
            Clause::Having => !is_window,
            Clause::Plain(_) => false,
        };
        if !is_allowed {
            let clause = match scope.clause {
                Clause::Plain(clause) => clause,
                _ => "HAVING",
            };
            return self.refuse(format!("{what} are not allowed in {clause}: `{name}`"));
        }
        if scope.in_aggregate {
            return self.refuse(format!("{what} cannot be nested: `{name}`"));
        }
        Ok(())
    }

    /// Aggregates cannot contain aggregates; window functions can.
    fn begin_arguments(&mut self, is_window: bool) -> Result<(Clause, bool), Error> {
        let scope = self.scope()?;
        let before = (scope.clause, scope.in_aggregate);
        if is_window {
            scope.clause = Clause::Having;
        } else {
            scope.in_aggregate = true;
        }
        Ok(before)
    }

    fn end_arguments(&mut self, (clause, in_aggregate): (Clause, bool)) -> Result<(), Error> {
        let scope = self.scope()?;
        scope.clause = clause;
        scope.in_aggregate = in_aggregate;
        Ok(())
    }

    fn aggregate_parts(
        &mut self,
        name: &str,
        list: &FunctionArgumentList,
        is_window: bool,
    ) -> Result<Parts, Error> {
        let before = self.begin_arguments(is_window)?;
        let mut parts = Parts {
            operands: Vec::new(),
            is_star: false,
            is_distinct: matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct)),
            order: String::new(),
        };
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "count" => {
                    parts.is_star = true;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    parts.operands.push(self.expression(expr)?);
                }
                _ => return self.unsupported(&format!("this argument of `{name}`")),
            }
        }
        for clause in &list.clauses {
            let FunctionArgumentClause::OrderBy(order) = clause else {
                return self.unsupported(&format!("a clause in the call of `{name}`"));
            };
            self.refuse_if(!is_aggregate(name), &format!("ORDER BY in `{name}`"))?;
            self.refuse_if(is_window, "ORDER BY in an aggregate over a window")?;
            parts.order = self.aggregate_order(order, &mut parts)?;
        }
        self.refuse_if(
            parts.is_distinct && (is_window || !is_aggregate(name)),
            "DISTINCT in a window function",
        )?;
        self.end_arguments(before)?;
        Ok(parts)
    }

    fn aggregate_order(
        &mut self,
        order: &[OrderByExpr],
        parts: &mut Parts,
    ) -> Result<String, Error> {
        let mut terms = Vec::with_capacity(order.len());
        for term in order {
            self.refuse_if(term.with_fill.is_some(), "clause WITH FILL")?;
            let operand = self.expression(&term.expr)?;
            let Some(kind) = operand.kind() else {
                return self.refuse("a constant orders nothing");
            };
            if parts.is_distinct
                && parts
                    .operands
                    .first()
                    .is_none_or(|own| own.sql != operand.sql)
            {
                return self
                    .refuse("in an aggregate with DISTINCT, ORDER BY must name its argument");
            }
            terms.push(self.direction(&operand, kind, term.options)?);
            // Checked together with the arguments, although it is none.
            if let Some(first) = parts.operands.first_mut() {
                first.free.extend(operand.free);
            }
        }
        Ok(format!(" order by {}", terms.join(", ")))
    }

    /// The call and its result type.
    fn aggregate_call(&mut self, name: &str, parts: Parts) -> Result<SplitCall, Error> {
        let Parts {
            mut operands,
            is_star,
            is_distinct,
            order,
        } = parts;
        let wanted = if is_star {
            0
        } else {
            1 + usize::from(name == "string_agg")
        };
        if operands.len() != wanted {
            return self.refuse(format!(
                "aggregate `{name}` takes {} arguments, not {}",
                1 + usize::from(name == "string_agg"),
                operands.len()
            ));
        }
        if is_star {
            self.refuse_if(is_distinct, "count(distinct *)")?;
            return Ok(SplitCall::new("count(*)".to_owned(), Type::Int8));
        }
        let second = if operands.len() == 2 {
            operands.pop()
        } else {
            None
        };
        let Some(operand) = operands.pop() else {
            return self.refuse("an argument is missing");
        };
        let operand = match operand.kind() {
            Some(_) => operand,
            None if matches!(name, "bool_and" | "bool_or" | "every") => {
                self.coerce(operand, Type::Bool)?
            }
            None => self.coerce(operand, Type::Text)?,
        };
        let kind = operand.kind().unwrap_or(Type::Text);
        if is_distinct {
            self.check_equality(kind)?;
            self.refuse_if(
                kind.collation().is_some() && !matches!(name, "count" | "min" | "max"),
                &format!("DISTINCT values of type {} in `{name}`", kind.name()),
            )?;
        }
        let distinct = if is_distinct { "distinct " } else { "" };
        let argument = operand.collated(kind);
        let simple =
            |function: &str, argument: &str| format!("{function}({distinct}{argument}{order})");
        match name {
            "count" => Ok(SplitCall::new(simple("count", &argument), Type::Int8)),
            "min" | "max" => {
                let is_known = kind.has_order() && !matches!(kind, Type::Bool | Type::Uuid);
                if !is_known {
                    return self.refuse(format!("there is no {name} of type {}", kind.name()));
                }
                let kind = if kind.is_text() { Type::Text } else { kind };
                Ok(SplitCall::new(simple(name, &argument), kind))
            }
            "sum" | "avg" => {
                let (function, result) = match (name, kind) {
                    ("sum", Type::Int4) => ("pg_sum_int4", Type::Int8),
                    ("sum", Type::Int8) => ("pg_sum_int8", Type::Numeric),
                    ("sum", Type::Numeric) => ("pg_sum_numeric", Type::Numeric),
                    ("sum", Type::Float8) => ("pg_sum_float8", Type::Float8),
                    ("avg", Type::Int4 | Type::Int8) => ("pg_avg_int", Type::Numeric),
                    ("avg", Type::Numeric) => ("pg_avg_numeric", Type::Numeric),
                    ("avg", Type::Float8) => ("pg_avg_float8", Type::Float8),
                    _ => return self.unsupported(&format!("{name} of type {}", kind.name())),
                };
                Ok(SplitCall::new(simple(function, &operand.sql), result))
            }
            "bool_and" | "bool_or" | "every" => {
                let operand = self.coerce(operand, Type::Bool)?;
                let function = if name == "bool_or" {
                    "pg_bool_or"
                } else {
                    "pg_bool_and"
                };
                Ok(SplitCall::new(simple(function, &operand.sql), Type::Bool))
            }
            "array_agg" => {
                let Some(array) = kind.array() else {
                    return self.unsupported(&format!("array_agg of type {}", kind.name()));
                };
                self.gathered("pg_array_agg", &operand, is_distinct, &order)
                    .map(|sql| SplitCall::new(sql, array))
            }
            "string_agg" => self.string_agg(operand, second, is_distinct, &order),
            "json_agg" => {
                self.refuse_if(is_distinct, "json_agg(distinct ...)")?;
                self.refuse_if(matches!(kind, Type::Array(_)), "json_agg of arrays")?;
                let argument = format!("{}({})", json_name(kind), operand.sql);
                Ok(SplitCall::new(simple("pg_json_agg", &argument), Type::Json))
            }
            _ => self.unsupported(&format!("aggregate `{name}`")),
        }
    }

    /// An aggregate that keeps its rows. Distinct values come in their own order, unless an order
    /// is given.
    fn gathered(
        &mut self,
        function: &str,
        operand: &Operand,
        is_distinct: bool,
        order: &str,
    ) -> Result<String, Error> {
        let text = self.output(operand.clone())?;
        if !is_distinct {
            return Ok(format!("{function}({}{order})", text.sql));
        }
        let kind = operand.kind().unwrap_or(Type::Text);
        self.refuse_if(
            !kind.is_text(),
            &format!("DISTINCT values of type {} in an array", kind.name()),
        )?;
        let order = if order.is_empty() {
            format!(" order by {} asc nulls last", text.sql)
        } else {
            order.to_owned()
        };
        Ok(format!("{function}(distinct {}{order})", text.sql))
    }

    fn string_agg(
        &mut self,
        operand: Operand,
        delimiter: Option<Operand>,
        is_distinct: bool,
        order: &str,
    ) -> Result<SplitCall, Error> {
        let operand = self.coerce(operand, Type::Text)?;
        let Some(delimiter) = delimiter else {
            return self.refuse("string_agg wants a delimiter");
        };
        let is_fixed = delimiter.is_constant();
        let delimiter = self.coerce(delimiter, Type::Text)?;
        if !is_distinct {
            let sql = format!("pg_string_agg({}, {}{order})", operand.sql, delimiter.sql);
            return Ok(SplitCall::new(sql, Type::Text));
        }
        self.refuse_if(
            !is_fixed,
            "string_agg(distinct ...) with a delimiter of the row",
        )?;
        let list = self.gathered("pg_array_agg", &operand, true, order)?;
        Ok(SplitCall {
            head: format!("pg_array_to_string_texts_text({list}"),
            tail: format!(", {})", delimiter.sql),
            kind: Type::Text,
        })
    }

    fn window_call(&mut self, name: &str, parts: Parts) -> Result<SplitCall, Error> {
        let mut operands = parts.operands;
        let count = operands.len();
        let is_right = WINDOW_FUNCTIONS
            .iter()
            .any(|(own, least, most)| *own == name && (*least..=*most).contains(&count));
        if !is_right || parts.is_star {
            return self.refuse(format!(
                "window function `{name}` does not take {count} arguments"
            ));
        }
        let kind = match name {
            "row_number" | "rank" | "dense_rank" => Type::Int8,
            "percent_rank" | "cume_dist" => Type::Float8,
            "ntile" => Type::Int4,
            _ => {
                let first = operands.first_mut();
                match first.and_then(|operand| operand.kind()) {
                    Some(kind) => kind,
                    None => {
                        return self.refuse(format!("`{name}` requires a typed value: cast it"));
                    }
                }
            }
        };
        let mut list = Vec::with_capacity(count);
        for (index, operand) in operands.into_iter().enumerate() {
            let wanted = match (name, index) {
                ("ntile", _) | ("lag" | "lead" | "nth_value", 1) => {
                    // SQLite misinterprets numbers that are out of range.
                    if operand.sql.parse::<u32>().is_ok_and(|number| number > 0) {
                        Type::Int4
                    } else {
                        return self.unsupported(&format!(
                            "an argument of `{name}` other than a whole number above 0"
                        ));
                    }
                }
                _ => kind,
            };
            list.push(self.coerce(operand, wanted)?.sql);
        }
        Ok(SplitCall::new(format!("{name}({})", list.join(", ")), kind))
    }
}
