//! Translation of one `select`.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, NamedWindowDefinition, OrderByExpr, Select, SelectFlavor,
    SelectItem, SelectItemQualifiedWildcardKind, Value as Constant, WildcardAdditionalOptions,
};

use super::name::output_name;
use super::operand::{Form, Operand};
use super::query::Plan;
use super::{Clause, Output, Scope, Translator, folded};
use crate::error::Error;
use crate::types::Type;

/// A column of the result and its expression.
#[derive(Debug)]
struct Item {
    output: Output,
    operand: Operand,
}

impl Translator<'_> {
    pub(super) fn select(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<Plan, Error> {
        self.enter(select);
        self.check_clauses(select)?;
        self.scopes.push(Scope::new());
        let plan = self.select_in_scope(select, order)?;
        self.scopes.pop();
        let level = self.scopes.len();
        self.escaped.retain(|free| free.level < level);
        Ok(plan)
    }

    fn check_clauses(&self, select: &Select) -> Result<(), Error> {
        self.refuse_if(!select.optimizer_hints.is_empty(), "a hint")?;
        self.refuse_if(select.select_modifiers.is_some(), "a modifier of SELECT")?;
        self.refuse_if(select.top.is_some(), "TOP")?;
        self.refuse_if(select.exclude.is_some(), "EXCLUDE")?;
        self.refuse_if(select.into.is_some(), "SELECT INTO")?;
        self.refuse_if(!select.lateral_views.is_empty(), "LATERAL VIEW")?;
        self.refuse_if(select.prewhere.is_some(), "PREWHERE")?;
        self.refuse_if(!select.connect_by.is_empty(), "CONNECT BY")?;
        self.refuse_if(!select.cluster_by.is_empty(), "CLUSTER BY")?;
        self.refuse_if(!select.distribute_by.is_empty(), "DISTRIBUTE BY")?;
        self.refuse_if(!select.sort_by.is_empty(), "SORT BY")?;
        self.refuse_if(select.qualify.is_some(), "QUALIFY")?;
        self.refuse_if(select.value_table_mode.is_some(), "SELECT AS VALUE")?;
        self.refuse_if(
            !matches!(select.flavor, SelectFlavor::Standard),
            "FROM before SELECT",
        )?;
        self.refuse_if(select.projection.is_empty(), "SELECT without columns")
    }

    fn select_in_scope(&mut self, select: &Select, order: &[OrderByExpr]) -> Result<Plan, Error> {
        let mut from = self.from(&select.from)?;
        for NamedWindowDefinition(name, window) in &select.named_window {
            let window = (folded(name), window.clone());
            self.scope()?.windows.push(window);
        }
        let (keys, is_grouped) = self.group_by(select)?;
        self.scope()?.clause = Clause::Output;
        let items = self.projection(&select.projection)?;
        let is_aggregate = self.scope()?.has_aggregates;
        let distinct_keys = self.distinct_keys(select.distinct.as_ref(), &items)?;
        let mut checked: Vec<Operand> = items.iter().map(|item| item.operand.clone()).collect();
        let order = self.order_terms(order, &items, select.distinct.as_ref(), &mut checked)?;
        let condition = match &select.selection {
            None => String::new(),
            Some(expr) => format!(
                " where {}",
                self.condition(expr, Clause::Plain("WHERE"))?.sql
            ),
        };
        let having = match &select.having {
            None => None,
            Some(expr) => Some(self.condition(expr, Clause::Having)?),
        };
        checked.extend(distinct_keys.clone());
        checked.extend(having.clone());
        let is_grouped = is_grouped || having.is_some() || self.scope()?.has_aggregates;
        self.check_grouping(is_grouped, &checked)?;
        self.refuse_if(
            is_grouped && keys.is_empty() && !is_aggregate,
            "an aggregate or HAVING without one in the select list or GROUP BY",
        )?;
        self.add_generators(&mut from)?;
        let mut tail = condition;
        if !keys.is_empty() {
            tail = format!("{tail} group by {}", keys.join(", "));
        }
        if let Some(having) = having {
            tail = format!("{tail} having {}", having.sql);
        }
        let columns: Vec<Output> = items.iter().map(|item| item.output.clone()).collect();
        let source = format!("{from}{tail}");
        let sql = match &select.distinct {
            Some(Distinct::On(_)) => self.distinct_on(&items, &distinct_keys, &order, &source)?,
            Some(Distinct::Distinct) => plain_select("select distinct", &items, &order, &source),
            None | Some(Distinct::All) => plain_select("select", &items, &order, &source),
        };
        Ok(Plan { sql, columns })
    }

    /// The terms of `group by`, and whether the clause exists.
    fn group_by(&mut self, select: &Select) -> Result<(Vec<String>, bool), Error> {
        let list = match &select.group_by {
            GroupByExpr::All(_) => return self.unsupported("GROUP BY ALL"),
            GroupByExpr::Expressions(list, modifiers) => {
                self.refuse_if(!modifiers.is_empty(), "a modifier of GROUP BY")?;
                list
            }
        };
        self.scope()?.clause = Clause::Plain("GROUP BY");
        let mut keys = Vec::with_capacity(list.len());
        let mut terms = Vec::with_capacity(list.len());
        for expr in list {
            self.enter(expr);
            let target = self.grouped_expression(expr, &select.projection)?;
            let operand = self.expression(target)?;
            let operand = match operand.kind() {
                Some(_) => operand,
                None => self.coerce(operand, Type::Text)?,
            };
            let kind = operand.kind().unwrap_or(Type::Text);
            if !kind.has_equality() {
                return self.refuse(format!("values of type {} cannot be grouped", kind.name()));
            }
            if operand.sql.parse::<i64>().is_err() {
                terms.push(prevent_position(&operand).collated(kind));
            }
            keys.push(operand.sql);
        }
        self.scope()?.keys = keys;
        if terms.is_empty() && !list.is_empty() {
            terms.push("'all'".to_owned());
        }
        Ok((terms, !list.is_empty()))
    }

    /// The expression of a `group by` term: input columns take precedence over output columns.
    fn grouped_expression<'q>(
        &mut self,
        expr: &'q Expr,
        projection: &'q [SelectItem],
    ) -> Result<&'q Expr, Error> {
        let nth = |index: usize| match projection.get(index) {
            Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => {
                Some(expr)
            }
            _ => None,
        };
        match expr {
            Expr::Value(value) => match &value.value {
                Constant::Number(digits, false) => {
                    let number: usize = digits.parse().unwrap_or(0);
                    match nth(number.wrapping_sub(1)) {
                        Some(target) if !projection.iter().any(is_wildcard) => Ok(target),
                        _ => self.refuse(format!("position {digits} is not in the select list")),
                    }
                }
                _ => self.refuse("a constant groups nothing"),
            },
            Expr::Identifier(ident) => {
                let name = folded(ident);
                let level = self.level();
                let is_column = self
                    .scopes
                    .get(level)
                    .is_some_and(|scope| scope.visible.iter().any(|column| column.name == name));
                if is_column {
                    return Ok(expr);
                }
                let mut named = (0..projection.len()).filter_map(nth).filter(|target| {
                    projection.iter().any(|item| match item {
                        SelectItem::ExprWithAlias { expr, alias } => {
                            std::ptr::eq(expr, *target) && folded(alias) == name
                        }
                        SelectItem::UnnamedExpr(expr) => {
                            std::ptr::eq(expr, *target) && output_name(expr) == name
                        }
                        _ => false,
                    })
                });
                Ok(named.next().unwrap_or(expr))
            }
            Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => {
                self.unsupported("GROUPING SETS, CUBE or ROLLUP")
            }
            Expr::Tuple(_) => self.unsupported("a row in GROUP BY"),
            _ => Ok(expr),
        }
    }

    fn projection(&mut self, projection: &[SelectItem]) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(projection.len());
        for item in projection {
            self.enter(item);
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    items.push(self.item(expr, output_name(expr))?);
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(self.item(expr, folded(alias))?);
                }
                SelectItem::ExprWithAliases { .. } => {
                    return self.unsupported("more than one alias");
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    self.check_wildcard(options)?;
                    let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                        return self.unsupported("`.*` of an expression");
                    };
                    let name = self.single_name(name)?;
                    let level = self.level();
                    let relation = self.scopes.get(level).and_then(|scope| {
                        scope
                            .relations
                            .iter()
                            .find(|relation| relation.name == name)
                    });
                    let Some(relation) = relation.cloned() else {
                        return self.refuse(format!("there is no table `{name}` here"));
                    };
                    items.extend(relation.columns.into_iter().map(|column| self.star(column)));
                }
                SelectItem::Wildcard(options) => {
                    self.check_wildcard(options)?;
                    let visible = self.scope()?.visible.clone();
                    if visible.is_empty() {
                        return self.refuse("`*` without tables");
                    }
                    items.extend(visible.into_iter().map(|column| self.star(column)));
                }
            }
        }
        Ok(items)
    }

    fn check_wildcard(&self, options: &WildcardAdditionalOptions) -> Result<(), Error> {
        let is_plain = options.opt_ilike.is_none()
            && options.opt_exclude.is_none()
            && options.opt_except.is_none()
            && options.opt_replace.is_none()
            && options.opt_rename.is_none()
            && options.opt_alias.is_none();
        self.refuse_if(!is_plain, "an option of `*`")
    }

    fn star(&self, column: super::Column) -> Item {
        let mut operand = Operand::known(column.sql.clone(), column.kind, self.position);
        let level = self.level();
        let is_key = self
            .scopes
            .get(level)
            .is_some_and(|scope| scope.keys.contains(&column.sql));
        if !is_key {
            operand.free.push(super::operand::FreeColumn {
                level,
                name: column.name.clone(),
                position: self.position,
            });
        }
        Item {
            output: Output {
                name: column.name,
                kind: column.kind,
                is_untyped: false,
            },
            operand,
        }
    }

    fn item(&mut self, expr: &Expr, name: String) -> Result<Item, Error> {
        let operand = self.expression(expr)?;
        let is_untyped = matches!(operand.form, Form::Text(_) | Form::Null);
        let operand = match operand.kind() {
            Some(_) => operand,
            None => self.coerce(operand, Type::Text)?,
        };
        let kind = operand.kind().unwrap_or(Type::Text);
        Ok(Item {
            output: Output {
                name,
                kind,
                is_untyped,
            },
            operand,
        })
    }

    /// A condition in `where`, `having` or `on`.
    pub(super) fn condition(&mut self, expr: &Expr, clause: Clause) -> Result<Operand, Error> {
        let before = std::mem::replace(&mut self.scope()?.clause, clause);
        let operand = self.expression(expr)?;
        let operand = self.coerce(operand, Type::Bool)?;
        self.scope()?.clause = before;
        Ok(operand)
    }

    /// Checks that the columns of a grouped query are grouped by or inside aggregates.
    fn check_grouping(&self, is_grouped: bool, operands: &[Operand]) -> Result<(), Error> {
        if !is_grouped {
            return Ok(());
        }
        let level = self.level();
        let mut free = operands.iter().flat_map(|operand| &operand.free);
        match free.find(|free| free.level == level) {
            None => Ok(()),
            Some(free) => Err(Error::at(
                format!(
                    "column `{}` must appear in the GROUP BY clause or be used in an aggregate",
                    free.name
                ),
                free.position.or(self.position),
            )),
        }
    }

    /// The terms of `order by`.
    fn order_terms(
        &mut self,
        order: &[OrderByExpr],
        items: &[Item],
        distinct: Option<&Distinct>,
        checked: &mut Vec<Operand>,
    ) -> Result<Vec<Term>, Error> {
        let outputs: Vec<Output> = items.iter().map(|item| item.output.clone()).collect();
        if matches!(distinct, Some(Distinct::Distinct)) {
            let mut kinds = outputs.iter();
            if let Some(output) = kinds.find(|output| !output.kind.has_equality()) {
                return self.refuse(format!(
                    "values of type {} have no equality, which DISTINCT requires",
                    output.kind.name()
                ));
            }
        }
        let mut terms = Vec::with_capacity(order.len());
        for term in order {
            self.enter(&term.expr);
            self.refuse_if(term.with_fill.is_some(), "clause WITH FILL")?;
            if let Some(index) = self.output_index(&term.expr, &outputs)? {
                self.check_unambiguous(&term.expr, index, items)?;
                let text = self.output_order(index, &outputs, term.options)?;
                let sql = items.get(index).map(|item| item.operand.sql.clone());
                terms.push(Term {
                    text,
                    index: Some(index),
                    sql: sql.unwrap_or_default(),
                });
                continue;
            }
            let operand = self.expression(&term.expr)?;
            let operand = match operand.kind() {
                Some(_) => operand,
                None => self.coerce(operand, Type::Text)?,
            };
            let kind = operand.kind().unwrap_or(Type::Text);
            let index = items
                .iter()
                .position(|item| item.operand.sql == operand.sql);
            if matches!(distinct, Some(Distinct::Distinct)) && index.is_none() {
                return self.refuse(
                    "with SELECT DISTINCT, what orders the rows must be in the select list",
                );
            }
            if operand.sql.parse::<i64>().is_ok() {
                continue;
            }
            let text = match index {
                Some(index) => self.output_order(index, &outputs, term.options)?,
                None => self.direction(&prevent_position(&operand), kind, term.options)?,
            };
            terms.push(Term {
                text,
                index,
                sql: prevent_position(&operand).sql,
            });
            checked.push(operand);
        }
        Ok(terms)
    }

    fn check_unambiguous(&self, expr: &Expr, index: usize, items: &[Item]) -> Result<(), Error> {
        let (Expr::Identifier(ident), Some(chosen)) = (expr, items.get(index)) else {
            return Ok(());
        };
        let is_ambiguous = items.iter().any(|item| {
            item.output.name == chosen.output.name && item.operand.sql != chosen.operand.sql
        });
        if is_ambiguous {
            return self.refuse_at(
                ident.span,
                format!("ORDER BY `{}` is ambiguous", chosen.output.name),
            );
        }
        Ok(())
    }

    fn distinct_keys(
        &mut self,
        distinct: Option<&Distinct>,
        items: &[Item],
    ) -> Result<Vec<Operand>, Error> {
        let Some(Distinct::On(list)) = distinct else {
            return Ok(Vec::new());
        };
        let outputs: Vec<Output> = items.iter().map(|item| item.output.clone()).collect();
        let mut keys = Vec::with_capacity(list.len());
        for expr in list {
            self.enter(expr);
            let key = match self.output_index(expr, &outputs)? {
                Some(index) => match items.get(index) {
                    Some(item) => item.operand.clone(),
                    None => return self.refuse("no such column"),
                },
                None => self.expression(expr)?,
            };
            let Some(kind) = key.kind().filter(|kind| kind.has_equality()) else {
                return self.refuse("values of this type cannot be told apart");
            };
            if !kind.has_order() {
                return self.refuse(format!("DISTINCT ON values of type {}", kind.name()));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// Keeps the first row of each group of equal keys, by its row number within the group.
    fn distinct_on(
        &mut self,
        items: &[Item],
        keys: &[Operand],
        order: &[Term],
        source: &str,
    ) -> Result<String, Error> {
        if self.scope()?.has_windows {
            return self.unsupported("DISTINCT ON with window functions");
        }
        for term in order.iter().take(keys.len()) {
            if !keys.iter().any(|key| key.sql == term.sql) {
                return self.refuse("DISTINCT ON must name what ORDER BY names first");
            }
        }
        let inner_order: Vec<String> = order
            .iter()
            .map(|term| match term.index.and_then(|index| items.get(index)) {
                // Inside the window, output columns have no names yet.
                Some(item) => {
                    let options = term.text.split_once(' ').map_or("", |(_, rest)| rest);
                    format!("{} {options}", item.operand.sql)
                }
                None => term.text.clone(),
            })
            .collect();
        let mut columns = select_list(items);
        for (index, term) in order.iter().enumerate() {
            if term.index.is_none() {
                columns.push(format!("{} as o{}", term.sql, index + 1));
            }
        }
        let partition: Vec<String> = keys
            .iter()
            .map(|key| key.collated(key.kind().unwrap_or(Type::Text)))
            .collect();
        let window = if inner_order.is_empty() {
            String::new()
        } else {
            format!(" order by {}", inner_order.join(", "))
        };
        let outer_order: Vec<String> = order
            .iter()
            .enumerate()
            .map(|(index, term)| match term.index {
                Some(_) => term.text.clone(),
                None => term.text.replacen(&term.sql, &format!("o{}", index + 1), 1),
            })
            .collect();
        let sql = format!(
            "select {} from (select {}, row_number() over (partition by {}{window}) as r{source}) \
             where r = 1",
            super::query::column_list(items.len()),
            columns.join(", "),
            partition.join(", "),
        );
        Ok(if outer_order.is_empty() {
            sql
        } else {
            format!("{sql} order by {}", outer_order.join(", "))
        })
    }
}

/// A term of `order by`.
#[derive(Debug)]
struct Term {
    /// The SQL with its direction; it refers to an output column by name, if it is one.
    text: String,
    /// Index of the output column, if it is one.
    index: Option<usize>,
    sql: String,
}

/// `SQLite` reads a whole number as the position of a column, also if it is the result of a
/// constant condition. The cast prevents that.
fn prevent_position(operand: &Operand) -> Operand {
    let mut operand = operand.clone();
    if operand.kind() == Some(Type::Bool) {
        operand.sql = format!("pg_cast_bool_int4({})", operand.sql);
    }
    operand
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(
        item,
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(_, _)
    )
}

fn select_list(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            format!(
                "{} as c{}",
                item.operand.collated(item.output.kind),
                index + 1
            )
        })
        .collect()
}

fn plain_select(word: &str, items: &[Item], order: &[Term], source: &str) -> String {
    let list = select_list(items).join(", ");
    let order: Vec<&str> = order.iter().map(|term| term.text.as_str()).collect();
    if order.is_empty() {
        return format!("{word} {list}{source}");
    }
    format!("{word} {list}{source} order by {}", order.join(", "))
}
