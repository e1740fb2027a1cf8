//! Operators.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::operand::Operand;
use super::{Translator, unwrapped};
use crate::error::Error;
use crate::types::{Modifier, Type};

impl Translator<'_> {
    pub(super) fn binary_expression(
        &mut self,
        left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
    ) -> Result<Operand, Error> {
        match operator {
            BinaryOperator::And => return self.chain(left, operator, right, "and"),
            BinaryOperator::Or => return self.chain(left, operator, right, "or"),
            _ => {}
        }
        if is_comparison(operator) {
            for side in [left, right] {
                if let Expr::BinaryOp { op, .. } = side
                    && is_comparison(op)
                {
                    return self.refuse("a chain of comparisons needs parentheses");
                }
            }
            if let (Expr::Tuple(own), Expr::Tuple(other)) = (unwrapped(left), unwrapped(right)) {
                return self.rows(own, operator, other);
            }
        }
        let left = self.expression(left)?;
        let right = self.expression(right)?;
        self.binary(left, operator, right)
    }

    /// A chain such as `a and b and c`, of any length.
    fn chain(
        &mut self,
        mut left: &Expr,
        operator: &BinaryOperator,
        right: &Expr,
        word: &str,
    ) -> Result<Operand, Error> {
        let mut terms = vec![right];
        while let Expr::BinaryOp {
            left: inner,
            op,
            right,
        } = left
        {
            if op != operator {
                break;
            }
            terms.push(right);
            left = inner;
        }
        terms.push(left);
        let mut operands = Vec::with_capacity(terms.len());
        for term in terms.into_iter().rev() {
            let operand = self.expression(term)?;
            operands.push(self.coerce(operand, Type::Bool)?);
        }
        let texts: Vec<&str> = operands
            .iter()
            .map(|operand| operand.sql.as_str())
            .collect();
        Ok(Operand::of(
            balanced(&texts, word),
            Type::Bool,
            &operands.iter().collect::<Vec<_>>(),
        ))
    }

    /// A comparison of rows, `(a, b) = (c, d)`.
    fn rows(
        &mut self,
        left: &[Expr],
        operator: &BinaryOperator,
        right: &[Expr],
    ) -> Result<Operand, Error> {
        if *operator != BinaryOperator::Eq || left.len() != right.len() || left.is_empty() {
            return self.unsupported("a comparison of rows other than `=` of equal lengths");
        }
        let mut operands = Vec::with_capacity(left.len());
        for (own, other) in left.iter().zip(right) {
            let own = self.expression(own)?;
            let other = self.expression(other)?;
            operands.push(self.binary(own, operator, other)?);
        }
        let texts: Vec<&str> = operands
            .iter()
            .map(|operand| operand.sql.as_str())
            .collect();
        Ok(Operand::of(
            balanced(&texts, "and"),
            Type::Bool,
            &operands.iter().collect::<Vec<_>>(),
        ))
    }

    /// A binary operator.
    pub(super) fn binary(
        &mut self,
        left: Operand,
        operator: &BinaryOperator,
        right: Operand,
    ) -> Result<Operand, Error> {
        use BinaryOperator as Op;
        let sign = match operator {
            Op::Eq => return self.comparison(left, "=", right),
            Op::NotEq => return self.comparison(left, "<>", right),
            Op::Lt => return self.comparison(left, "<", right),
            Op::LtEq => return self.comparison(left, "<=", right),
            Op::Gt => return self.comparison(left, ">", right),
            Op::GtEq => return self.comparison(left, ">=", right),
            Op::StringConcat => return self.concatenation(left, right),
            Op::PGRegexNotMatch => return self.negated("~", left, right),
            Op::PGRegexNotIMatch => return self.negated("~*", left, right),
            Op::PGNotLikeMatch => return self.negated("~~", left, right),
            Op::PGNotILikeMatch => return self.negated("~~*", left, right),
            Op::Plus => "+",
            Op::Minus => "-",
            Op::Multiply => "*",
            Op::Divide => "/",
            Op::Modulo => "%",
            Op::PGExp => "^",
            Op::PGRegexMatch => "~",
            Op::PGRegexIMatch => "~*",
            Op::PGLikeMatch => "~~",
            Op::PGILikeMatch => "~~*",
            Op::PGStartsWith => "^@",
            Op::Arrow => "->",
            Op::LongArrow => "->>",
            Op::HashArrow => "#>",
            Op::HashLongArrow => "#>>",
            Op::AtArrow => "@>",
            Op::ArrowAt => "<@",
            Op::Question => "?",
            Op::QuestionPipe => "?|",
            Op::QuestionAnd => "?&",
            Op::PGOverlap => "&&",
            other => return self.unsupported(&format!("operator `{other}`")),
        };
        self.call(sign, sign, vec![left, right])
    }

    fn negated(&mut self, sign: &str, left: Operand, right: Operand) -> Result<Operand, Error> {
        let operand = self.call(sign, sign, vec![left, right])?;
        let sql = format!("(not {})", operand.sql);
        Ok(Operand { sql, ..operand })
    }

    fn comparison(&mut self, left: Operand, sign: &str, right: Operand) -> Result<Operand, Error> {
        let (operands, kind) = self.unified(vec![left, right], &format!("operator `{sign}`"))?;
        let [left, right] = operands.as_slice() else {
            return self.refuse("a comparison wants two sides");
        };
        if matches!(sign, "=" | "<>") {
            self.check_equality(kind)?;
        } else if !kind.has_order() {
            return self.refuse(format!("values of type {} have no order here", kind.name()));
        }
        let sql = format!("({} {sign} {})", left.collated(kind), right.sql);
        Ok(Operand::of(sql, Type::Bool, &[left, right]))
    }

    /// `||` concatenates texts, a text and another value, arrays, or hstores.
    fn concatenation(&mut self, left: Operand, right: Operand) -> Result<Operand, Error> {
        let is_text = |operand: &Operand| operand.kind().is_some_and(Type::is_text);
        let is_array = |operand: &Operand| matches!(operand.kind(), Some(Type::Array(_)));
        if is_array(&left) || is_array(&right) {
            return self.joined_arrays(&left, &right);
        }
        let is_plain = |operand: &Operand| {
            operand
                .kind()
                .is_some_and(|kind| !matches!(kind, Type::Hstore | Type::Jsonb))
        };
        let has_open = left.kind().is_none() || right.kind().is_none();
        if is_text(&left) || is_text(&right) || (has_open && (is_plain(&left) || is_plain(&right)))
        {
            let left = self.cast(left, Type::Text, Modifier::None)?;
            let right = self.cast(right, Type::Text, Modifier::None)?;
            return self.call("||", "||", vec![left, right]);
        }
        self.call("||", "||", vec![left, right])
    }

    fn joined_arrays(&self, left: &Operand, right: &Operand) -> Result<Operand, Error> {
        let (Some(Type::Array(own)), Some(Type::Array(other))) = (left.kind(), right.kind()) else {
            return self.unsupported("`||` of an array and a value that is not an array");
        };
        if own != other && !(own.is_text() && other.is_text()) {
            return self.refuse("`||` of arrays of different types");
        }
        let sql = format!(
            "(case when {} is not null or {} is not null then pg_array_join({}, {}) end)",
            left.sql, right.sql, left.sql, right.sql
        );
        Ok(Operand::of(sql, Type::Array(own), &[left, right]))
    }

    pub(super) fn unary(&mut self, operator: UnaryOperator, expr: &Expr) -> Result<Operand, Error> {
        let sign = match operator {
            UnaryOperator::Not => {
                let operand = self.expression(expr)?;
                let operand = self.coerce(operand, Type::Bool)?;
                let sql = format!("(not {})", operand.sql);
                return Ok(Operand { sql, ..operand });
            }
            UnaryOperator::Minus => "-",
            UnaryOperator::Plus => "+",
            other => return self.unsupported(&format!("operator `{other}`")),
        };
        if let Expr::BinaryOp {
            op: BinaryOperator::PGExp,
            ..
        } = expr
        {
            return self.refuse("a sign before `^` needs parentheses");
        }
        if operator == UnaryOperator::Minus
            && let Expr::Value(value) = expr
            && value.value == sqlparser::ast::Value::Number("9223372036854775808".to_owned(), false)
        {
            return Ok(Operand::known(
                "-9223372036854775808",
                Type::Int8,
                self.position,
            ));
        }
        let operand = self.expression(expr)?;
        if operand.kind().is_none() {
            return self.refuse(format!("operator `{sign}` requires a typed value: cast it"));
        }
        self.call(sign, sign, vec![operand])
    }
}

const fn is_comparison(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// Joins terms as a balanced tree, which has little depth.
fn balanced(terms: &[&str], word: &str) -> String {
    match terms {
        [] => String::new(),
        [term] => (*term).to_owned(),
        _ => {
            let (left, right) = terms.split_at(terms.len() / 2);
            format!(
                "({} {word} {})",
                balanced(left, word),
                balanced(right, word)
            )
        }
    }
}
