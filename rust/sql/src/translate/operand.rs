//! Translated expressions, their types and conversions.

use std::fmt::Write as _;

use rusqlite::types::Value;

use super::Translator;
use crate::convert::{from_text, is_castable};
use crate::error::{Error, Position};
use crate::function::{cast_name, output_name};
use crate::types::{Modifier, Type};

/// A column outside of aggregates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FreeColumn {
    /// Nesting level of the `select` it belongs to; the outermost is 0.
    pub(super) level: usize,
    pub(super) name: String,
    pub(super) position: Option<Position>,
}

/// What is known about the type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Known(Type),
    /// A quoted constant, whose type depends on its context.
    Text(String),
    Null,
    /// A parameter of unknown type, counted from 1.
    Parameter(usize),
}

/// A translated expression.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) sql: String,
    pub(super) form: Form,
    pub(super) free: Vec<FreeColumn>,
    pub(super) position: Option<Position>,
}

impl Operand {
    pub(super) fn known(sql: impl Into<String>, kind: Type, position: Option<Position>) -> Self {
        Self {
            sql: sql.into(),
            form: Form::Known(kind),
            free: Vec::new(),
            position,
        }
    }

    /// The result of an operation on `parts`.
    pub(super) fn of(sql: impl Into<String>, kind: Type, parts: &[&Self]) -> Self {
        Self {
            sql: sql.into(),
            form: Form::Known(kind),
            free: parts.iter().flat_map(|part| part.free.clone()).collect(),
            position: parts.iter().find_map(|part| part.position),
        }
    }

    /// The type; `None` if it is unknown.
    pub(super) const fn kind(&self) -> Option<Type> {
        match self.form {
            Form::Known(kind) => Some(kind),
            _ => None,
        }
    }

    /// The name of the type in messages.
    pub(super) const fn kind_name(&self) -> &'static str {
        match self.form {
            Form::Known(kind) => kind.name(),
            _ => "unknown",
        }
    }

    /// The SQL with the collation that compares values of its type.
    pub(super) fn collated(&self, kind: Type) -> String {
        match kind.collation() {
            Some(collation) => format!("({} collate {collation})", self.sql),
            None => self.sql.clone(),
        }
    }

    /// Whether it can never be null.
    pub(super) const fn is_constant(&self) -> bool {
        matches!(self.form, Form::Text(_) | Form::Parameter(_))
    }
}

/// A text as a string literal of `SQLite`.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Translator<'_> {
    /// A literal; a value without an exact text becomes a bound parameter.
    pub(super) fn constant(&mut self, value: Value) -> String {
        match value {
            Value::Null => "null".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Text(text) => quoted(&text),
            Value::Blob(bytes) => {
                let mut literal = String::from("x'");
                for byte in bytes {
                    let _infallible = write!(literal, "{byte:02x}");
                }
                literal.push('\'');
                literal
            }
            Value::Real(_) => {
                let index = self.constants.iter().position(|own| *own == value);
                let index = index.unwrap_or_else(|| {
                    self.constants.push(value);
                    self.constants.len() - 1
                });
                format!("?{}", self.parameters.len() + index + 1)
            }
        }
    }

    /// Sets the type of a parameter.
    fn fix(&mut self, number: usize, kind: Type) -> Result<Type, Error> {
        let kind = if kind.is_text() { Type::Text } else { kind };
        let position = self.position;
        let Some(slot) = self.kinds.get_mut(number - 1) else {
            return self.refuse(format!("there is no parameter `${number}`"));
        };
        match slot {
            Some(own) if *own != kind => Err(Error::at(
                format!(
                    "parameter `${number}` is used as {} and as {}",
                    own.name(),
                    kind.name()
                ),
                position,
            )),
            _ => {
                *slot = Some(kind);
                Ok(kind)
            }
        }
    }

    /// Converts `operand` to type `to` implicitly.
    pub(super) fn coerce(&mut self, operand: Operand, to: Type) -> Result<Operand, Error> {
        self.convert(operand, to, false)
    }

    /// Converts `operand` to type `to` by a cast.
    pub(super) fn cast(
        &mut self,
        operand: Operand,
        to: Type,
        modifier: Modifier,
    ) -> Result<Operand, Error> {
        let operand = self.convert(operand, to, true)?;
        let sql = match modifier {
            Modifier::None => return Ok(operand),
            Modifier::Length(length) => format!("pg_fit_varchar({}, {length})", operand.sql),
            Modifier::Digits { precision, scale } => {
                format!("pg_fit_numeric({}, {precision}, {scale})", operand.sql)
            }
        };
        Ok(Operand { sql, ..operand })
    }

    fn convert(&mut self, operand: Operand, to: Type, is_explicit: bool) -> Result<Operand, Error> {
        let position = operand.position.or(self.position);
        let sql = match &operand.form {
            Form::Known(from) if *from == to || (from.is_text() && to.is_text()) => {
                operand.sql.clone()
            }
            Form::Known(from) => {
                let is_allowed = if is_explicit {
                    is_castable(*from, to)
                } else {
                    from.becomes(to)
                };
                if !is_allowed {
                    let problem = format!("there is no cast from {} to {}", from.name(), to.name());
                    return Err(Error::at(problem, position));
                }
                format!("{}({})", cast_name(*from, to), operand.sql)
            }
            Form::Text(text) => {
                let value = from_text(to, text).map_err(|problem| Error::at(problem, position))?;
                self.constant(value)
            }
            Form::Null => "null".to_owned(),
            Form::Parameter(number) => {
                self.fix(*number, to)?;
                operand.sql.clone()
            }
        };
        Ok(Operand {
            sql,
            form: Form::Known(to),
            ..operand
        })
    }

    /// The text of a value, as it appears in arrays and when concatenated with text.
    pub(super) fn output(&mut self, operand: Operand) -> Result<Operand, Error> {
        match operand.kind() {
            None => self.coerce(operand, Type::Text),
            Some(kind) if kind.is_text() => Ok(operand),
            Some(kind) => {
                let sql = format!("{}({})", output_name(kind), operand.sql);
                Ok(Operand {
                    sql,
                    form: Form::Known(Type::Text),
                    ..operand
                })
            }
        }
    }

    /// The common type of `operands`; text if none has a type.
    pub(super) fn common_type(&self, operands: &[&Operand], what: &str) -> Result<Type, Error> {
        let mut common: Option<Type> = None;
        for operand in operands {
            let Some(kind) = operand.kind() else { continue };
            match common {
                None => common = Some(kind),
                Some(own) if own == kind || kind.becomes(own) => {}
                Some(own) if own.becomes(kind) => common = Some(kind),
                Some(own) => {
                    return Err(Error::at(
                        format!(
                            "{what}: types {} and {} do not match",
                            own.name(),
                            kind.name()
                        ),
                        operand.position.or(self.position),
                    ));
                }
            }
        }
        Ok(common.unwrap_or(Type::Text))
    }

    /// Converts all of `operands` to one type.
    pub(super) fn unified(
        &mut self,
        operands: Vec<Operand>,
        what: &str,
    ) -> Result<(Vec<Operand>, Type), Error> {
        let kind = self.common_type(&operands.iter().collect::<Vec<_>>(), what)?;
        let coerced = operands
            .into_iter()
            .map(|operand| self.coerce(operand, kind))
            .collect::<Result<_, _>>()?;
        Ok((coerced, kind))
    }
}
