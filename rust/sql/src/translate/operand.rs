//! A part of an expression, its type, and how it becomes another type.

use std::fmt::Write as _;

use rusqlite::types::Value;

use super::Translator;
use crate::convert::{from_text, is_castable};
use crate::error::{Error, Place};
use crate::function::{cast_name, output_name};
use crate::types::{Modifier, Type};

/// A column that stands outside of aggregates.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Free {
    /// The `select` it belongs to, counted from the outermost.
    pub(super) level: usize,
    pub(super) name: String,
    pub(super) place: Option<Place>,
}

/// How much is known of the type of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Known(Type),
    /// A quoted constant, which takes the type that its place wants.
    Text(String),
    Null,
    /// A parameter whose type is not yet known, counted from 1.
    Parameter(usize),
}

/// A translated expression.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) sql: String,
    pub(super) form: Form,
    pub(super) free: Vec<Free>,
    pub(super) place: Option<Place>,
}

impl Operand {
    pub(super) fn known(sql: impl Into<String>, kind: Type, place: Option<Place>) -> Self {
        Self {
            sql: sql.into(),
            form: Form::Known(kind),
            free: Vec::new(),
            place,
        }
    }

    /// A result made of `parts`.
    pub(super) fn of(sql: impl Into<String>, kind: Type, parts: &[&Self]) -> Self {
        Self {
            sql: sql.into(),
            form: Form::Known(kind),
            free: parts.iter().flat_map(|part| part.free.clone()).collect(),
            place: parts.iter().find_map(|part| part.place),
        }
    }

    /// None where the type is open.
    pub(super) const fn kind(&self) -> Option<Type> {
        match self.form {
            Form::Known(kind) => Some(kind),
            _ => None,
        }
    }

    /// The type as a message names it.
    pub(super) const fn kind_name(&self) -> &'static str {
        match self.form {
            Form::Known(kind) => kind.name(),
            _ => "unknown",
        }
    }

    /// With the collation by which values of its type compare.
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

/// A text as a constant of `SQLite`.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Translator<'_> {
    /// A constant; what has no exact text is bound.
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

    /// Fixes the type of a parameter.
    fn fix(&mut self, number: usize, kind: Type) -> Result<Type, Error> {
        let kind = if kind.is_text() { Type::Text } else { kind };
        let place = self.place;
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
                place,
            )),
            _ => {
                *slot = Some(kind);
                Ok(kind)
            }
        }
    }

    /// `operand` as a value of type `to`, as far as that happens without a cast.
    pub(super) fn coerce(&mut self, operand: Operand, to: Type) -> Result<Operand, Error> {
        self.convert(operand, to, false)
    }

    /// `operand` as a value of type `to`, by a cast.
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
        let place = operand.place.or(self.place);
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
                    let problem = format!("no cast leads from {} to {}", from.name(), to.name());
                    return Err(Error::at(problem, place));
                }
                format!("{}({})", cast_name(*from, to), operand.sql)
            }
            Form::Text(text) => {
                let value = from_text(to, text).map_err(|problem| Error::at(problem, place))?;
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

    /// The text of a value, as it appears in arrays and when joined to text.
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

    /// The type that all of `operands` become; text where none has one.
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
                        operand.place.or(self.place),
                    ));
                }
            }
        }
        Ok(common.unwrap_or(Type::Text))
    }

    /// All of `operands` as one type.
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
