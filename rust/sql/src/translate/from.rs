//! The tables of a `select` and their joins.

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint, JoinOperator, ObjectName,
    ObjectNamePart, Query, Spanned, TableAlias, TableFactor, TableWithJoins,
};

use super::generator::Source;
use super::operand::Operand;
use super::{Clause, Column, Relation, Translator, folded};
use crate::catalog::TABLES;
use crate::error::Error;

impl Translator<'_> {
    /// Returns ` from ...`, or nothing if there is no table.
    pub(super) fn from(&mut self, list: &[TableWithJoins]) -> Result<String, Error> {
        let mut parts = Vec::with_capacity(list.len());
        for tables in list {
            let start = self.scope()?.relations.len();
            let first_visible = self.scope()?.visible.len();
            let mut sql = self.table(&tables.relation)?;
            for join in &tables.joins {
                sql.push_str(&self.join(join, start, first_visible)?);
            }
            parts.push(sql);
        }
        if parts.is_empty() {
            return Ok(String::new());
        }
        // In SQLite a comma has the same precedence as a join.
        let is_mixed = parts.len() > 1 && self.scope()?.has_outer_join;
        self.refuse_if(is_mixed, "RIGHT or FULL JOIN beside a comma in FROM")?;
        Ok(format!(" from {}", parts.join(" cross join ")))
    }

    fn table(&mut self, factor: &TableFactor) -> Result<String, Error> {
        self.enter(factor);
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                self.refuse_if(!with_hints.is_empty(), "a hint")?;
                self.refuse_if(version.is_some(), "a version of a table")?;
                self.refuse_if(!partitions.is_empty(), "PARTITION")?;
                self.refuse_if(json_path.is_some(), "a path in FROM")?;
                self.refuse_if(sample.is_some(), "TABLESAMPLE")?;
                self.refuse_if(!index_hints.is_empty(), "a hint")?;
                let called = self.single_name(name)?;
                match args {
                    None => {
                        self.refuse_if(*with_ordinality, "WITH ORDINALITY of a table")?;
                        self.named_table(&called, alias.as_ref())
                    }
                    Some(args) => {
                        self.refuse_if(args.settings.is_some(), "SETTINGS")?;
                        let args = self.positional(&args.args)?;
                        self.table_function(&called, &args, alias.as_ref(), *with_ordinality)
                    }
                }
            }
            TableFactor::Function {
                name,
                args,
                with_ordinality,
                alias,
                ..
            } => {
                let called = self.single_name(name)?;
                let args = self.positional(args)?;
                self.table_function(&called, &args, alias.as_ref(), *with_ordinality)
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality,
            } => {
                self.refuse_if(*with_offset || with_offset_alias.is_some(), "WITH OFFSET")?;
                let args: Vec<&Expr> = array_exprs.iter().collect();
                self.table_function("unnest", &args, alias.as_ref(), *with_ordinality)
            }
            TableFactor::Derived {
                lateral,
                subquery,
                alias,
                sample,
            } => {
                self.refuse_if(*lateral, "LATERAL before a subquery")?;
                self.refuse_if(sample.is_some(), "TABLESAMPLE")?;
                self.derived_table(subquery, alias.as_ref())
            }
            TableFactor::NestedJoin { .. } => self.unsupported("a join in parentheses"),
            _ => self.unsupported("this kind of table"),
        }
    }

    /// The expressions of unnamed arguments.
    pub(super) fn positional<'q>(&self, args: &'q [FunctionArg]) -> Result<Vec<&'q Expr>, Error> {
        args.iter()
            .map(|arg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                _ => self.unsupported("an argument with a name, or `*`,"),
            })
            .collect()
    }

    /// A name without a schema.
    pub(super) fn single_name(&self, name: &ObjectName) -> Result<String, Error> {
        match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => Ok(folded(ident)),
            [
                ObjectNamePart::Identifier(schema),
                ObjectNamePart::Identifier(ident),
            ] if folded(schema) == "public" => Ok(folded(ident)),
            _ => self.refuse_at(
                name.span(),
                format!("name `{name}` is not supported: only the schema `public` exists"),
            ),
        }
    }

    fn named_table(&mut self, name: &str, alias: Option<&TableAlias>) -> Result<String, Error> {
        let common = self.tables.iter().rev().find(|table| table.name == name);
        self.table_count += 1 + common.map_or(0, |table| table.tables);
        if self.table_count > super::MOST_TABLES {
            return self.refuse(format!(
                "the statement reads more than {} tables, those of WITH queries counted wherever \
                 these are named",
                super::MOST_TABLES
            ));
        }
        let (source, columns) = match common {
            Some(table) => {
                let columns = table.columns.iter().enumerate().map(|(index, column)| {
                    (column.name.clone(), column.kind, format!("c{}", index + 1))
                });
                (table.sql_name.clone(), columns.collect::<Vec<_>>())
            }
            None => match TABLES.iter().find(|table| table.name == name) {
                Some(table) => {
                    let columns = table
                        .columns
                        .iter()
                        .map(|(column, kind)| ((*column).to_owned(), *kind, (*column).to_owned()));
                    (table.view.to_owned(), columns.collect())
                }
                None => {
                    return self.refuse(format!(
                        "table `{name}` does not exist: there are streams, devices, units and \
                         collections"
                    ));
                }
            },
        };
        let sql_name = self.fresh("t");
        let columns = columns
            .into_iter()
            .map(|(name, kind, own)| Column {
                name,
                kind,
                sql: format!("{sql_name}.{own}"),
            })
            .collect();
        self.add_relation(name, columns, alias)?;
        Ok(format!("{source} as {sql_name}"))
    }

    fn derived_table(
        &mut self,
        subquery: &Query,
        alias: Option<&TableAlias>,
    ) -> Result<String, Error> {
        let Some(alias) = alias else {
            return self.refuse("a subquery in FROM must have an alias");
        };
        self.scope()?.is_hidden = true;
        let plan = self.query(subquery);
        self.scope()?.is_hidden = false;
        let plan = plan?;
        let sql_name = self.fresh("t");
        let columns = plan
            .columns
            .into_iter()
            .enumerate()
            .map(|(index, column)| Column {
                name: column.name,
                kind: column.kind,
                sql: format!("{sql_name}.c{}", index + 1),
            })
            .collect();
        self.add_relation("", columns, Some(alias))?;
        Ok(format!("({}) as {sql_name}", plan.sql))
    }

    fn table_function(
        &mut self,
        name: &str,
        args: &[&Expr],
        alias: Option<&TableAlias>,
        with_ordinality: bool,
    ) -> Result<String, Error> {
        let before = std::mem::replace(
            &mut self.scope()?.clause,
            Clause::Plain("arguments of functions in FROM"),
        );
        let mut operands = Vec::with_capacity(args.len());
        for arg in args {
            operands.push(self.expression(arg)?);
        }
        self.scope()?.clause = before;
        let Some(source) = Source::find(name) else {
            return self.refuse(format!("function `{name}` in FROM is not supported"));
        };
        let argument = self.generator_argument(source, operands)?;
        let sql_name = self.fresh("t");
        let mut columns = self.generator_columns(source, &argument, &sql_name)?;
        if columns.len() == 1
            && let (Some(column), Some(alias)) = (columns.first_mut(), alias)
        {
            // A function with one column names it like the table.
            column.name = folded(&alias.name);
        }
        if with_ordinality {
            columns.push(Column {
                name: "ordinality".to_owned(),
                kind: crate::types::Type::Int8,
                sql: format!("({sql_name}.key + 1)"),
            });
        }
        self.add_relation(name, columns, alias)?;
        Ok(format!("json_each({}) as {sql_name}", argument.sql))
    }

    /// Adds a table under its alias.
    fn add_relation(
        &mut self,
        name: &str,
        mut columns: Vec<Column>,
        alias: Option<&TableAlias>,
    ) -> Result<(), Error> {
        let mut name = name.to_owned();
        if let Some(alias) = alias {
            self.refuse_if(alias.at.is_some(), "clause AT of an alias")?;
            name = folded(&alias.name);
            if alias.columns.len() > columns.len() {
                return self.refuse(format!(
                    "the alias of table `{name}` names too many columns"
                ));
            }
            for (column, given) in columns.iter_mut().zip(&alias.columns) {
                self.refuse_if(given.data_type.is_some(), "a type in an alias")?;
                column.name = folded(&given.name);
            }
        }
        if self.scope()?.relations.iter().any(|own| own.name == name) {
            return self.refuse(format!("table name `{name}` specified more than once"));
        }
        let scope = self.scope()?;
        scope.visible.extend(columns.clone());
        scope.relations.push(Relation { name, columns });
        Ok(())
    }

    fn join(&mut self, join: &Join, start: usize, first_visible: usize) -> Result<String, Error> {
        self.refuse_if(join.global, "GLOBAL JOIN")?;
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => {
                ("join", constraint)
            }
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                ("left join", constraint)
            }
            JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                ("right join", constraint)
            }
            JoinOperator::FullOuter(constraint) => ("full join", constraint),
            JoinOperator::CrossJoin(constraint) => ("cross join", constraint),
            _ => return self.unsupported("this kind of join"),
        };
        let middle = self.scope()?.visible.len();
        let table = self.table(&join.relation)?;
        let is_reversed = matches!(word, "right join" | "full join");
        self.scope()?.has_outer_join |= is_reversed;
        if is_reversed && table.starts_with("json_each") {
            return self.unsupported("RIGHT or FULL JOIN with a function");
        }
        let condition = match constraint {
            JoinConstraint::On(_) | JoinConstraint::Using(_) | JoinConstraint::Natural
                if word == "cross join" =>
            {
                return self.refuse("CROSS JOIN takes no condition");
            }
            JoinConstraint::On(expr) => {
                self.scope()?.join_start = start;
                let condition = self.condition(expr, Clause::Plain("JOIN conditions"))?;
                self.scope()?.join_start = 0;
                condition.sql
            }
            JoinConstraint::Using(names) => {
                let names = names
                    .iter()
                    .map(|name| self.single_name(name))
                    .collect::<Result<Vec<_>, _>>()?;
                self.join_using(&names, word, first_visible, middle)?
            }
            JoinConstraint::Natural => return self.unsupported("NATURAL JOIN"),
            JoinConstraint::None if word == "cross join" => {
                return Ok(format!(" cross join {table}"));
            }
            JoinConstraint::None => return self.refuse("a join must have a condition"),
        };
        Ok(format!(" {word} {table} on {condition}"))
    }

    /// Joins by columns of equal names, each pair of which becomes one column.
    fn join_using(
        &mut self,
        names: &[String],
        word: &str,
        first: usize,
        middle: usize,
    ) -> Result<String, Error> {
        let right = self.scope()?.visible.split_off(middle);
        let left = self.scope()?.visible.split_off(first);
        let mut merged = Vec::with_capacity(names.len());
        let mut conditions = Vec::with_capacity(names.len());
        for name in names {
            let own = self.only(&left, name)?;
            let other = self.only(&right, name)?;
            let operands = vec![
                Operand::known(own.sql.clone(), own.kind, self.position),
                Operand::known(other.sql.clone(), other.kind, self.position),
            ];
            let (operands, kind) = self.unified(operands, "USING")?;
            let [left, right] = operands.as_slice() else {
                return self.refuse("USING wants two columns");
            };
            if !kind.has_equality() {
                return self.refuse(format!("values of type {} have no equality", kind.name()));
            }
            conditions.push(format!("{} = {}", left.collated(kind), right.sql));
            let sql = match word {
                "right join" => right.sql.clone(),
                "full join" => format!("coalesce({}, {})", left.sql, right.sql),
                _ => left.sql.clone(),
            };
            merged.push(Column {
                name: name.clone(),
                kind,
                sql,
            });
        }
        let rest = left
            .into_iter()
            .chain(right)
            .filter(|column| !names.contains(&column.name));
        merged.extend(rest);
        self.scope()?.visible.extend(merged);
        Ok(conditions.join(" and "))
    }

    fn only(&self, columns: &[Column], name: &str) -> Result<Column, Error> {
        let mut found = columns.iter().filter(|column| column.name == name);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column.clone()),
            (None, _) => self.refuse(format!("column `{name}` of USING does not exist")),
            _ => self.refuse(format!("column `{name}` of USING is ambiguous")),
        }
    }

    /// Resolves `name` or `table.name`, from the innermost query outwards.
    pub(super) fn column(&mut self, path: &[Ident]) -> Result<Operand, Error> {
        let (table, ident) = match path {
            [ident] => (None, ident),
            [table, ident] => (Some(folded(table)), ident),
            _ => return self.unsupported("a name of more than two parts"),
        };
        let name = folded(ident);
        let current = self.level();
        let mut found = None;
        for (level, scope) in self.scopes.iter().enumerate().rev() {
            if scope.is_hidden {
                continue;
            }
            let relations = scope.relations.get(scope.join_start..).unwrap_or_default();
            let candidates: Vec<&Column> = match &table {
                None if scope.join_start > 0 => {
                    relations.iter().flat_map(|own| &own.columns).collect()
                }
                None => scope.visible.iter().collect(),
                Some(table) => relations
                    .iter()
                    .filter(|relation| relation.name == *table)
                    .flat_map(|relation| &relation.columns)
                    .collect(),
            };
            let mut named = candidates.into_iter().filter(|column| column.name == name);
            match (named.next(), named.next()) {
                (None, _) => {}
                (Some(column), None) => {
                    found = Some((level, column.clone()));
                    break;
                }
                _ => {
                    return self.refuse_at(
                        ident.span,
                        format!("column reference `{name}` is ambiguous"),
                    );
                }
            }
        }
        let Some((level, column)) = found else {
            let path: Vec<String> = path.iter().map(folded).collect();
            return self.refuse_at(
                ident.span,
                format!("column `{}` does not exist", path.join(".")),
            );
        };
        let free = super::operand::FreeColumn {
            level,
            name,
            position: super::position_of(ident.span).or(self.position),
        };
        let mut operand = Operand::known(column.sql, column.kind, free.position);
        let is_key = self
            .scopes
            .get(level)
            .is_some_and(|scope| scope.keys.contains(&operand.sql));
        if is_key {
            return Ok(operand);
        }
        if level == current {
            operand.free.push(free);
        } else {
            self.escaped.push(free);
        }
        Ok(operand)
    }
}
