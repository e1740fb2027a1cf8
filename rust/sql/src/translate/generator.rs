//! Set-returning functions: their rows are computed as a JSON list, which `json_each` reads.

use std::fmt::Write as _;

use super::operand::{Form, FreeColumn, Operand};
use super::{Clause, Column, Translator};
use crate::error::Error;
use crate::function::cast_name;
use crate::types::Type;

/// A set-returning function in the select list.
#[derive(Clone, Debug)]
pub(super) struct Generator {
    /// The translated list.
    argument: String,
    sql_name: String,
}

/// The supported set-returning functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Keys,
    Values,
    Each,
    Unnest,
    Split,
    DocumentKeys,
    DocumentEach,
}

impl Source {
    pub(super) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "skeys" => Self::Keys,
            "svals" => Self::Values,
            "each" => Self::Each,
            "unnest" => Self::Unnest,
            "regexp_split_to_table" => Self::Split,
            "jsonb_object_keys" => Self::DocumentKeys,
            "jsonb_each_text" => Self::DocumentEach,
            _ => return None,
        })
    }

    /// The function that returns the list.
    const fn list_function(self) -> &'static str {
        match self {
            Self::Keys => "akeys",
            Self::Values => "avals",
            Self::Each => ".hstore_pairs",
            Self::Unnest => "unnest",
            Self::Split => "regexp_split_to_array",
            Self::DocumentKeys => ".jsonb_keys",
            Self::DocumentEach => ".jsonb_pairs",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Keys => "skeys",
            Self::Values => "svals",
            Self::Each => "each",
            Self::Unnest => "unnest",
            Self::Split => "regexp_split_to_table",
            Self::DocumentKeys => "jsonb_object_keys",
            Self::DocumentEach => "jsonb_each_text",
        }
    }
}

impl Translator<'_> {
    /// The list of rows.
    pub(super) fn generator_argument(
        &mut self,
        source: Source,
        mut operands: Vec<Operand>,
    ) -> Result<Operand, Error> {
        if source == Source::Unnest {
            return match (operands.pop(), operands.pop()) {
                (Some(operand), None) if matches!(operand.kind(), Some(Type::Array(_))) => {
                    Ok(operand)
                }
                _ => self.refuse("unnest takes one array: cast its argument"),
            };
        }
        self.call(source.list_function(), source.name(), operands)
    }

    /// The columns of a list, qualified with the name of its table.
    pub(super) fn generator_columns(
        &self,
        source: Source,
        argument: &Operand,
        sql_name: &str,
    ) -> Result<Vec<Column>, Error> {
        let column = |name: &str, kind: Type, sql: String| Column {
            name: name.to_owned(),
            kind,
            sql,
        };
        Ok(match source {
            Source::Each | Source::DocumentEach => vec![
                column("key", Type::Text, format!("({sql_name}.value ->> 0)")),
                column("value", Type::Text, format!("({sql_name}.value ->> 1)")),
            ],
            Source::Unnest => {
                let Form::Known(Type::Array(item)) = argument.form else {
                    return self.refuse("unnest takes an array");
                };
                let sql = format!("{sql_name}.value");
                let sql = if item.is_text() {
                    sql
                } else {
                    format!("{}({sql})", cast_name(Type::Text, *item))
                };
                vec![column("unnest", *item, sql)]
            }
            _ => vec![column(
                source.name(),
                Type::Text,
                format!("{sql_name}.value"),
            )],
        })
    }

    /// A set-returning function in the select list: the result has one row for each of its rows.
    pub(super) fn generated(
        &mut self,
        source: Source,
        operands: Vec<Operand>,
        field: Option<&str>,
    ) -> Result<Operand, Error> {
        let name = source.name();
        let position = self.position;
        let scope = self.scope()?;
        let is_allowed = match scope.clause {
            Clause::Output => true,
            Clause::Plain(clause) => clause == "GROUP BY",
            Clause::Having => false,
        };
        if !is_allowed || scope.in_aggregate {
            return self.refuse(format!(
                "set-returning function `{name}` is supported in the select list, \
                 in GROUP BY and in FROM only"
            ));
        }
        let argument = self.generator_argument(source, operands)?;
        let known = self
            .scope()?
            .generators
            .iter()
            .find(|own| own.argument == argument.sql)
            .map(|own| own.sql_name.clone());
        let sql_name = match known {
            Some(sql_name) => sql_name,
            None if !self.scope()?.generators.is_empty() => {
                return self.unsupported("more than one set-returning function");
            }
            None => {
                let sql_name = self.fresh("t");
                let generator = Generator {
                    argument: argument.sql.clone(),
                    sql_name: sql_name.clone(),
                };
                self.scope()?.generators.push(generator);
                sql_name
            }
        };
        let columns = self.generator_columns(source, &argument, &sql_name)?;
        let column = match (field, columns.as_slice()) {
            (Some(field), columns) => columns.iter().find(|column| column.name == field),
            (None, [column]) => Some(column),
            (None, _) => {
                return self.refuse(format!(
                    "function `{name}` returns two columns: write `({name}(...)).key` \
                     or call it in FROM"
                ));
            }
        };
        let Some(column) = column else {
            return self.refuse(format!("function `{name}` has no such column"));
        };
        let mut operand = Operand::known(column.sql.clone(), column.kind, position);
        operand.free = vec![FreeColumn {
            level: self.level(),
            name: format!("{name}(...)"),
            position,
        }];
        Ok(operand)
    }

    /// Joins the lists of the select list to the tables.
    pub(super) fn add_generators(&mut self, from: &mut String) -> Result<(), Error> {
        let scope = self.scope()?;
        let (has_windows, has_outer_join) = (scope.has_windows, scope.has_outer_join);
        for generator in scope.generators.clone() {
            self.refuse_if(
                has_windows,
                "a set-returning function together with a window function",
            )?;
            self.refuse_if(
                has_outer_join,
                "a set-returning function over a RIGHT or FULL JOIN",
            )?;
            let word = if from.is_empty() {
                " from"
            } else {
                " cross join"
            };
            let _infallible = write!(
                from,
                "{word} json_each({}) as {}",
                generator.argument, generator.sql_name
            );
        }
        Ok(())
    }
}
