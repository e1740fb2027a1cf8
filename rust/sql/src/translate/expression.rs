//! Translation of expressions, node by node.

use std::fmt::Write as _;

use rusqlite::types::Value;
use sqlparser::ast::{
    AccessExpr, Array, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, DataType, DateTimeField,
    Expr, FunctionArguments, Interval, Subscript, TrimWhereField, Value as Constant, ValueWithSpan,
};

use super::generator::Source;
use super::operand::{Form, Operand};
use super::{Translator, folded, unwrapped};
use crate::error::Error;
use crate::types::{Modifier, Type};
use crate::value::decimal::Decimal;
use crate::value::number::parse_float;

impl Translator<'_> {
    /// Translates an expression.
    pub(super) fn expression(&mut self, expr: &Expr) -> Result<Operand, Error> {
        self.enter(expr);
        self.depth += 1;
        if self.depth > super::MOST_DEPTH {
            return self.refuse("the statement is nested too deeply");
        }
        let operand = self.node(expr);
        self.depth -= 1;
        let mut operand = operand?;
        self.written += operand.sql.len();
        if operand.sql.len() > super::MOST_BYTES || self.written > super::MOST_WRITTEN {
            return self.refuse("the statement is too complex");
        }
        let level = self.level();
        if let Some(scope) = self.scopes.last()
            && scope.keys.contains(&operand.sql)
        {
            operand.free.retain(|free| free.level != level);
        }
        Ok(operand)
    }

    fn expressions<'q>(
        &mut self,
        list: impl IntoIterator<Item = &'q Expr>,
    ) -> Result<Vec<Operand>, Error> {
        list.into_iter().map(|expr| self.expression(expr)).collect()
    }

    fn node(&mut self, expr: &Expr) -> Result<Operand, Error> {
        match expr {
            Expr::Nested(inner) => self.expression(inner),
            Expr::Identifier(ident) => self.column(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(path) => self.column(path),
            Expr::Value(value) => self.value(value),
            Expr::TypedString(typed) => {
                self.refuse_if(typed.uses_odbc_syntax, "the syntax of ODBC")?;
                let operand = self.value(&typed.value)?;
                self.cast_to(operand, &typed.data_type)
            }
            Expr::Interval(interval) => self.interval(interval),
            Expr::BinaryOp { left, op, right } => self.binary_expression(left, op, right),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::Cast {
                kind,
                expr,
                data_type,
                array,
                format,
            } => {
                self.refuse_if(
                    !matches!(kind, CastKind::Cast | CastKind::DoubleColon),
                    "TRY_CAST",
                )?;
                self.refuse_if(*array || format.is_some(), "a format of CAST")?;
                self.cast_expression(expr, data_type)
            }
            Expr::IsNull(inner) => self.is_test(inner, "is null", None),
            Expr::IsNotNull(inner) => self.is_test(inner, "is not null", None),
            Expr::IsTrue(inner) => self.is_test(inner, "is 1", Some(Type::Bool)),
            Expr::IsNotTrue(inner) => self.is_test(inner, "is not 1", Some(Type::Bool)),
            Expr::IsFalse(inner) => self.is_test(inner, "is 0", Some(Type::Bool)),
            Expr::IsNotFalse(inner) => self.is_test(inner, "is not 0", Some(Type::Bool)),
            Expr::IsUnknown(inner) => self.is_test(inner, "is null", Some(Type::Bool)),
            Expr::IsNotUnknown(inner) => self.is_test(inner, "is not null", Some(Type::Bool)),
            Expr::IsDistinctFrom(left, right) => self.distinct_from(left, right, "is not"),
            Expr::IsNotDistinctFrom(left, right) => self.distinct_from(left, right, "is"),
            Expr::InList {
                expr,
                list,
                negated,
            } => self.in_list(expr, list, *negated),
            Expr::InSubquery {
                expr,
                subquery,
                negated,
            } => self.in_subquery(expr, subquery, *negated),
            Expr::Between {
                expr,
                negated,
                low,
                high,
            } => self.between(expr, low, high, *negated),
            Expr::Like {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => {
                if *any {
                    self.refuse_if(*negated || escape_char.is_some(), "NOT LIKE ANY")?;
                    return self.over_array(expr, &BinaryOperator::PGLikeMatch, pattern, false);
                }
                self.like(
                    "~~",
                    ".like_escape",
                    [expr, pattern],
                    escape_char.as_ref(),
                    *negated,
                )
            }
            Expr::ILike {
                negated,
                any,
                expr,
                pattern,
                escape_char,
            } => {
                if *any {
                    self.refuse_if(*negated || escape_char.is_some(), "NOT ILIKE ANY")?;
                    return self.over_array(expr, &BinaryOperator::PGILikeMatch, pattern, false);
                }
                self.like(
                    "~~*",
                    ".ilike_escape",
                    [expr, pattern],
                    escape_char.as_ref(),
                    *negated,
                )
            }
            Expr::SimilarTo {
                negated,
                expr,
                pattern,
                escape_char,
            } => {
                let sides = [expr.as_ref(), pattern.as_ref()];
                self.like(
                    ".similar_to",
                    ".similar_to",
                    sides,
                    escape_char.as_ref(),
                    *negated,
                )
            }
            Expr::AnyOp {
                left,
                compare_op,
                right,
                ..
            } => self.over_array(left, compare_op, right, false),
            Expr::AllOp {
                left,
                compare_op,
                right,
            } => self.over_array(left, compare_op, right, true),
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => self.case(operand.as_deref(), conditions, else_result.as_deref()),
            Expr::Exists { subquery, negated } => self.exists(subquery, *negated),
            Expr::Subquery(query) => self.scalar_subquery(query),
            Expr::Function(function) => self.function(function),
            Expr::Array(array) => self.array(array),
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Expr::Collate { expr, collation } => {
                let name = collation.to_string();
                if !matches!(
                    name.as_str(),
                    "\"C\"" | "\"POSIX\"" | "\"default\"" | "\"ucs_basic\""
                ) {
                    return self.refuse(format!(
                        "collation `{name}` is not supported: texts compare as in \"C\""
                    ));
                }
                let operand = self.expression(expr)?;
                self.coerce(operand, Type::Text)
            }
            _ => self.syntax(expr),
        }
    }

    /// Functions with a special syntax.
    fn syntax(&mut self, expr: &Expr) -> Result<Operand, Error> {
        let rounding = if matches!(expr, Expr::Ceil { .. }) {
            "ceil"
        } else {
            "floor"
        };
        let (name, operands) = match expr {
            Expr::Extract { field, expr, .. } => {
                let field = match field {
                    DateTimeField::Custom(ident) => ident.value.clone(),
                    DateTimeField::Week(Some(_)) => return self.unsupported("WEEK of a weekday"),
                    other => other.to_string(),
                };
                let field = self.field_name(&field);
                (".extract", vec![field, self.expression(expr)?])
            }
            Expr::AtTimeZone {
                timestamp,
                time_zone,
            } => {
                let timestamp = self.expression(timestamp)?;
                ("timezone", vec![self.expression(time_zone)?, timestamp])
            }
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                let CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) = field else {
                    return self.unsupported("a field of CEIL or FLOOR");
                };
                (rounding, vec![self.expression(expr)?])
            }
            Expr::Position { expr, r#in } => {
                let wanted = self.expression(expr)?;
                ("position", vec![self.expression(r#in)?, wanted])
            }
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                shorthand,
                ..
            } => {
                let text = self.expression(expr)?;
                let mut operands = vec![text];
                match (substring_from, substring_for) {
                    (Some(from), None) => operands.push(self.expression(from)?),
                    (Some(from), Some(length)) => {
                        operands.push(self.expression(from)?);
                        operands.push(self.expression(length)?);
                    }
                    (None, Some(length)) => {
                        operands.push(Operand::known("1", Type::Int4, self.position));
                        operands.push(self.expression(length)?);
                    }
                    (None, None) => return self.unsupported("SUBSTRING without a position"),
                }
                // Only the longer name accepts a pattern.
                let name = if *shorthand { "substr" } else { "substring" };
                (name, operands)
            }
            Expr::Overlay {
                expr,
                overlay_what,
                overlay_from,
                overlay_for,
            } => {
                let list = [expr, overlay_what, overlay_from];
                let parts = list.into_iter().chain(overlay_for).map(AsRef::as_ref);
                ("overlay", self.expressions(parts)?)
            }
            Expr::Trim {
                trim_where,
                trim_what,
                expr,
                trim_characters,
            } => {
                self.refuse_if(trim_characters.is_some(), "TRIM with a comma")?;
                let name = match trim_where {
                    None | Some(TrimWhereField::Both) => "btrim",
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                };
                let parts = std::iter::once(expr).chain(trim_what).map(AsRef::as_ref);
                (name, self.expressions(parts)?)
            }
            _ => return self.unsupported(&format!("`{}`", shortened(expr))),
        };
        self.call(name, name, operands)
    }

    fn value(&mut self, value: &ValueWithSpan) -> Result<Operand, Error> {
        self.position = super::position_of(value.span).or(self.position);
        let position = self.position;
        let untyped = |text: &str| Operand {
            sql: super::operand::quoted(text),
            form: Form::Text(text.to_owned()),
            free: Vec::new(),
            position,
        };
        match &value.value {
            Constant::Null => Ok(Operand {
                sql: "null".to_owned(),
                form: Form::Null,
                free: Vec::new(),
                position,
            }),
            Constant::Boolean(value) => Ok(Operand::known(
                u8::from(*value).to_string(),
                Type::Bool,
                position,
            )),
            Constant::SingleQuotedString(text)
            | Constant::EscapedStringLiteral(text)
            | Constant::UnicodeStringLiteral(text) => Ok(untyped(text)),
            Constant::DollarQuotedString(text) => Ok(untyped(&text.value)),
            Constant::Number(digits, false) => self.number(digits),
            Constant::Placeholder(name) => self.parameter(name),
            other => self.unsupported(&format!("constant `{other}`")),
        }
    }

    fn number(&mut self, digits: &str) -> Result<Operand, Error> {
        let is_whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_whole && let Ok(number) = digits.parse::<i64>() {
            let kind = if i32::try_from(number).is_ok() {
                Type::Int4
            } else {
                Type::Int8
            };
            return Ok(Operand::known(number.to_string(), kind, self.position));
        }
        let plain = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
        self.refuse_if(!plain, &format!("number `{digits}`"))?;
        let decimal: Decimal = self.with_position(digits.parse())?;
        Ok(Operand::known(
            super::operand::quoted(&decimal.to_string()),
            Type::Numeric,
            self.position,
        ))
    }

    fn parameter(&mut self, name: &str) -> Result<Operand, Error> {
        let number = name
            .strip_prefix('$')
            .and_then(|digits| digits.parse::<usize>().ok())
            .filter(|number| *number > 0);
        let Some(number) = number else {
            return self.refuse(format!("parameter `{name}` is not of the form `$1`"));
        };
        let Some(kind) = self.kinds.get(number - 1) else {
            return self.refuse(format!(
                "there is no parameter `${number}`: {} were given",
                self.parameters.len()
            ));
        };
        Ok(Operand {
            sql: format!("?{number}"),
            form: kind.map_or(Form::Parameter(number), Form::Known),
            free: Vec::new(),
            position: self.position,
        })
    }

    fn interval(&mut self, interval: &Interval) -> Result<Operand, Error> {
        let has_precision = interval.leading_precision.is_some()
            || interval.last_field.is_some()
            || interval.fractional_seconds_precision.is_some();
        self.refuse_if(has_precision, "a precision of INTERVAL")?;
        let operand = self.expression(&interval.value)?;
        let Form::Text(text) = &operand.form else {
            return self.refuse("INTERVAL wants a quoted text");
        };
        let text = match &interval.leading_field {
            None => text.clone(),
            Some(field) if text.trim().parse::<i32>().is_ok() => format!("{text} {field}"),
            Some(_) => return self.unsupported("a field after INTERVAL, but for a whole number,"),
        };
        let operand = Operand {
            form: Form::Text(text),
            ..operand
        };
        self.coerce(operand, Type::Interval)
    }

    fn cast_expression(&mut self, expr: &Expr, data_type: &DataType) -> Result<Operand, Error> {
        if let Expr::Array(Array { elem, .. }) = unwrapped(expr)
            && elem.is_empty()
        {
            let (kind, _) = self.with_position(Type::from_sql(data_type))?;
            if matches!(kind, Type::Array(_)) {
                return Ok(Operand::known("'[]'", kind, self.position));
            }
        }
        if let Expr::Value(value) = unwrapped(expr)
            && let Constant::Number(digits, false) = &value.value
            && let Ok((Type::Float8, _)) = Type::from_sql(data_type)
        {
            let number = self.with_position(parse_float(digits))?;
            let sql = self.constant(Value::Real(number));
            return Ok(Operand::known(sql, Type::Float8, self.position));
        }
        let operand = self.expression(expr)?;
        self.cast_to(operand, data_type)
    }

    fn cast_to(&mut self, operand: Operand, data_type: &DataType) -> Result<Operand, Error> {
        let (kind, modifier) = self.with_position(Type::from_sql(data_type))?;
        if modifier != Modifier::None && matches!(kind, Type::Numeric) && operand.kind().is_none() {
            let operand = self.cast(operand, kind, Modifier::None)?;
            return self.cast(operand, kind, modifier);
        }
        self.cast(operand, kind, modifier)
    }

    fn is_test(&mut self, inner: &Expr, test: &str, kind: Option<Type>) -> Result<Operand, Error> {
        let operand = self.expression(inner)?;
        let operand = match (kind, operand.kind()) {
            (Some(kind), _) => self.coerce(operand, kind)?,
            (None, None) => self.coerce(operand, Type::Text)?,
            (None, Some(_)) => operand,
        };
        let sql = format!("({} {test})", operand.sql);
        Ok(Operand::of(sql, Type::Bool, &[&operand]))
    }

    fn distinct_from(&mut self, left: &Expr, right: &Expr, word: &str) -> Result<Operand, Error> {
        let operands = self.expressions([left, right])?;
        let (operands, kind) = self.unified(operands, "IS DISTINCT FROM")?;
        let [left, right] = operands.as_slice() else {
            return self.refuse("IS DISTINCT FROM wants two sides");
        };
        self.check_equality(kind)?;
        let sql = format!("({} {word} {})", left.collated(kind), right.sql);
        Ok(Operand::of(sql, Type::Bool, &[left, right]))
    }

    pub(super) fn check_equality(&self, kind: Type) -> Result<(), Error> {
        if kind.has_equality() {
            return Ok(());
        }
        self.refuse(format!("values of type {} have no equality", kind.name()))
    }

    fn in_list(&mut self, expr: &Expr, list: &[Expr], negated: bool) -> Result<Operand, Error> {
        if matches!(unwrapped(expr), Expr::Tuple(_)) {
            return self.unsupported("a row before IN");
        }
        if list.is_empty() {
            return self.refuse("IN wants at least one value");
        }
        let operands = self.expressions(std::iter::once(expr).chain(list))?;
        let (operands, kind) = self.unified(operands, "IN")?;
        self.check_equality(kind)?;
        let Some((left, right)) = operands.split_first() else {
            return self.refuse("IN wants at least one value");
        };
        let values: Vec<&str> = right.iter().map(|operand| operand.sql.as_str()).collect();
        let not = if negated { "not " } else { "" };
        let sql = format!("({} {not}in ({}))", left.collated(kind), values.join(", "));
        Ok(Operand::of(
            sql,
            Type::Bool,
            &operands.iter().collect::<Vec<_>>(),
        ))
    }

    fn between(
        &mut self,
        expr: &Expr,
        low: &Expr,
        high: &Expr,
        negated: bool,
    ) -> Result<Operand, Error> {
        let operands = self.expressions([expr, low, high])?;
        let (operands, kind) = self.unified(operands, "BETWEEN")?;
        let [value, low, high] = operands.as_slice() else {
            return self.refuse("BETWEEN wants two bounds");
        };
        if !kind.has_order() {
            return self.refuse(format!("values of type {} have no order here", kind.name()));
        }
        let not = if negated { "not " } else { "" };
        let sql = format!(
            "({} {not}between {} and {})",
            value.collated(kind),
            low.sql,
            high.sql
        );
        Ok(Operand::of(sql, Type::Bool, &[value, low, high]))
    }

    fn like(
        &mut self,
        name: &str,
        name_with_escape: &str,
        sides: [&Expr; 2],
        escape: Option<&ValueWithSpan>,
        negated: bool,
    ) -> Result<Operand, Error> {
        for side in sides {
            if is_match(side) {
                return self.refuse("a chain of LIKE or IN needs parentheses");
            }
        }
        let mut operands = self.expressions(sides)?;
        let name = match escape {
            None => name,
            Some(escape) => {
                operands.push(self.value(escape)?);
                name_with_escape
            }
        };
        let called = name.trim_start_matches('.');
        let operand = self.call(name, called, operands)?;
        Ok(if negated {
            let sql = format!("(not {})", operand.sql);
            Operand { sql, ..operand }
        } else {
            operand
        })
    }

    fn case(
        &mut self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        else_result: Option<&Expr>,
    ) -> Result<Operand, Error> {
        let mut tests = Vec::with_capacity(conditions.len());
        let mut start = String::from("(case");
        let mut parts = Vec::new();
        match operand {
            None => {
                for CaseWhen { condition, .. } in conditions {
                    let test = self.expression(condition)?;
                    tests.push(self.coerce(test, Type::Bool)?);
                }
            }
            Some(operand) => {
                let list =
                    std::iter::once(operand).chain(conditions.iter().map(|case| &case.condition));
                let operands = self.expressions(list)?;
                let (mut operands, kind) = self.unified(operands, "CASE")?;
                self.check_equality(kind)?;
                let subject = operands.remove(0);
                start = format!("(case {}", subject.collated(kind));
                parts.push(subject);
                tests = operands;
            }
        }
        let results = conditions
            .iter()
            .map(|case| &case.result)
            .chain(else_result);
        let results = self.expressions(results)?;
        let (results, kind) = self.unified(results, "CASE")?;
        let mut sql = start;
        for (test, result) in tests.iter().zip(&results) {
            let _infallible = write!(sql, " when {} then {}", test.sql, result.sql);
        }
        if let (Some(_), Some(result)) = (else_result, results.last()) {
            let _infallible = write!(sql, " else {}", result.sql);
        }
        sql.push_str(" end)");
        parts.extend(tests);
        parts.extend(results);
        Ok(Operand::of(sql, kind, &parts.iter().collect::<Vec<_>>()))
    }

    fn array(&mut self, array: &Array) -> Result<Operand, Error> {
        self.refuse_if(!array.named, "a list in brackets without ARRAY")?;
        if array.elem.is_empty() {
            return self.refuse("an empty array must be cast to its type");
        }
        let operands = self.expressions(&array.elem)?;
        let (operands, kind) = self.unified(operands, "ARRAY")?;
        let Some(array) = kind.array() else {
            return self.unsupported(&format!("an array of {}", kind.name()));
        };
        let mut items = Vec::with_capacity(operands.len());
        for operand in operands {
            items.push(self.output(operand)?);
        }
        let list: Vec<&str> = items.iter().map(|item| item.sql.as_str()).collect();
        Ok(Operand::of(
            format!("pg_array({})", list.join(", ")),
            array,
            &items.iter().collect::<Vec<_>>(),
        ))
    }

    fn access(&mut self, root: &Expr, chain: &[AccessExpr]) -> Result<Operand, Error> {
        match (unwrapped(root), chain) {
            (Expr::Function(function), [AccessExpr::Dot(Expr::Identifier(field))]) => {
                let FunctionArguments::List(list) = &function.args else {
                    return self.unsupported("a field of this expression");
                };
                let name = self.single_name(&function.name)?;
                match Source::find(&name) {
                    Some(source) => {
                        let args = self.positional(&list.args)?;
                        let operands = self.expressions(args)?;
                        self.generated(source, operands, Some(&folded(field)))
                    }
                    None => self.unsupported("a field of this function"),
                }
            }
            (root, [AccessExpr::Subscript(Subscript::Index { index })]) => {
                let array = self.expression(root)?;
                let Some(Type::Array(item)) = array.kind() else {
                    return self.refuse("only arrays have subscripts");
                };
                let index = self.expression(index)?;
                let operand = self.call(".item", "subscript", vec![array, index])?;
                self.cast(operand, *item, Modifier::None)
            }
            _ => self.unsupported("this access to a part of a value"),
        }
    }
}

/// Whether an expression is a comparison that cannot be chained with another one.
fn is_match(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
    )
}

/// The text of an expression, shortened if it is long.
fn shortened(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
