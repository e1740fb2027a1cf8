//! Function calls: selecting a function by its name and the types of its arguments.

use sqlparser::ast::{
    DuplicateTreatment, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments,
    ObjectNamePart,
};

use super::generator::Source;
use super::operand::{Form, Operand};
use super::{Translator, aggregate};
use crate::catalog::ANNOTATIONS_VIEW;
use crate::error::Error;
use crate::function::{FUNCTIONS, Function};
use crate::types::{Category, Type};

impl Translator<'_> {
    pub(super) fn function(&mut self, call: &Call) -> Result<Operand, Error> {
        let Call {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            filter,
            null_treatment,
            over,
            within_group,
        } = call;
        let called = match name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => super::folded(ident),
            _ => return self.unsupported(&format!("function name `{name}`")),
        };
        let position = super::position_of(sqlparser::ast::Spanned::span(name)).or(self.position);
        self.position = position;
        self.refuse_if(*uses_odbc_syntax, "the syntax of ODBC")?;
        self.refuse_if(
            !matches!(parameters, FunctionArguments::None),
            "a function of two lists of arguments",
        )?;
        self.refuse_if(null_treatment.is_some(), "IGNORE NULLS or RESPECT NULLS")?;
        self.refuse_if(!within_group.is_empty(), "WITHIN GROUP")?;
        let list = match args {
            FunctionArguments::None => return self.constant_function(&called),
            FunctionArguments::Subquery(query) if called == "array" => {
                self.refuse_if(filter.is_some() || over.is_some(), "FILTER of an array")?;
                return self.array_subquery(query);
            }
            FunctionArguments::Subquery(_) => {
                return self.unsupported(&format!("a query as argument of `{called}`"));
            }
            FunctionArguments::List(list) => list,
        };
        if aggregate::is_aggregate(&called) || over.is_some() {
            return self.aggregate(&called, list, filter.as_deref(), over.as_ref());
        }
        self.refuse_if(
            filter.is_some(),
            "FILTER of a function that is no aggregate",
        )?;
        self.refuse_if(
            !list.clauses.is_empty()
                || matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct)),
            &format!(
                "DISTINCT or ORDER BY in the call of `{called}`, which is no known aggregate,"
            ),
        )?;
        let mut operands = Vec::with_capacity(list.args.len());
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    operands.push(self.expression(expr)?);
                }
                _ => return self.unsupported("an argument with a name, or `*`,"),
            }
        }
        self.position = position;
        self.plain_call(&called, operands)
    }

    fn constant_function(&mut self, name: &str) -> Result<Operand, Error> {
        match name {
            "current_timestamp" => Ok(self.now()),
            "current_date" => {
                let days = self.now_micros.div_euclid(86_400_000_000);
                Ok(Operand::known(days.to_string(), Type::Date, self.position))
            }
            _ => self.unsupported(&format!("function `{name}`")),
        }
    }

    fn now(&self) -> Operand {
        Operand::known(
            self.now_micros.to_string(),
            Type::Timestamptz,
            self.position,
        )
    }

    /// Functions for values of any type, then those in the table.
    fn plain_call(&mut self, name: &str, operands: Vec<Operand>) -> Result<Operand, Error> {
        if let Some(source) = Source::find(name) {
            return self.generated(source, operands, None);
        }
        match (name, operands.len()) {
            ("now" | "transaction_timestamp" | "statement_timestamp", 0) => Ok(self.now()),
            ("coalesce", 1..) => {
                let (operands, kind) = self.unified(operands, "COALESCE")?;
                // SQLite's own function requires two arguments.
                match operands.as_slice() {
                    [operand] => Ok(Operand::of(operand.sql.clone(), kind, &[operand])),
                    _ => Ok(joined("coalesce", &operands, kind)),
                }
            }
            ("greatest" | "least", 1..) => {
                let (operands, kind) = self.unified(operands, &name.to_uppercase())?;
                if !kind.has_order() {
                    return self.refuse(format!("values of type {} have no order", kind.name()));
                }
                let function = match kind.collation() {
                    None => format!("pg_{name}"),
                    Some(_) => format!("pg_{name}_{}", kind.short_name()),
                };
                Ok(joined(&function, &operands, kind))
            }
            ("nullif", 2) => {
                let own = operands.first().and_then(Operand::kind);
                let (operands, kind) = self.unified(operands, "NULLIF")?;
                self.check_equality(kind)?;
                if own.is_some_and(|own| own != kind && !(own.is_text() && kind.is_text())) {
                    return self.unsupported("NULLIF of different types");
                }
                let [left, right] = operands.as_slice() else {
                    return self.refuse("NULLIF wants two values");
                };
                let sql = format!("nullif({}, {})", left.collated(kind), right.sql);
                Ok(Operand::of(sql, kind, &[left, right]))
            }
            ("concat" | "concat_ws", 1..) => {
                let mut texts = Vec::with_capacity(operands.len());
                for (index, operand) in operands.into_iter().enumerate() {
                    texts.push(match name {
                        "concat_ws" if index == 0 => self.coerce(operand, Type::Text)?,
                        _ => self.output(operand)?,
                    });
                }
                Ok(joined(&format!("pg_{name}"), &texts, Type::Text))
            }
            ("to_json" | "to_jsonb", 1) => {
                let Some(kind) = operands.first().and_then(Operand::kind) else {
                    return self.refuse(format!("{name} requires a typed value: cast it"));
                };
                let json = joined(&crate::function::json_name(kind), &operands, Type::Json);
                if name == "to_json" {
                    // The JSON of a null is null.
                    let sql = operands.first().map_or("", |operand| operand.sql.as_str());
                    let sql = format!("(case when {sql} is not null then {} end)", json.sql);
                    return Ok(Operand { sql, ..json });
                }
                self.unsupported("function `to_jsonb`")
            }
            _ => {
                let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
                if !is_word || !FUNCTIONS.iter().any(|function| function.name == name) {
                    return self.unsupported(&format!("function `{name}`"));
                }
                self.call(name, name, operands)
            }
        }
    }

    /// Calls the function or operator `name`, which messages call `shown`.
    pub(super) fn call(
        &mut self,
        name: &str,
        shown: &str,
        operands: Vec<Operand>,
    ) -> Result<Operand, Error> {
        let function = self.resolve(name, shown, &operands)?;
        let mut coerced = Vec::with_capacity(operands.len());
        for (operand, wanted) in operands.into_iter().zip(function.arguments) {
            let is_any = function.any_array && matches!(wanted, Type::Array(_));
            let is_array = matches!(operand.kind(), Some(Type::Array(_)));
            if is_any && is_array {
                coerced.push(operand);
            } else {
                coerced.push(self.coerce(operand, *wanted)?);
            }
        }
        let mut operand = joined(&function.sql_name(), &coerced, function.result);
        if let Some(sql) = lookup(name, &coerced) {
            operand.sql = sql;
        }
        Ok(operand)
    }

    fn resolve(
        &self,
        name: &str,
        shown: &str,
        operands: &[Operand],
    ) -> Result<&'static Function, Error> {
        let kinds: Vec<Option<Type>> = operands.iter().map(Operand::kind).collect();
        let named = || {
            FUNCTIONS
                .iter()
                .copied()
                .filter(|function| function.name == name && function.arguments.len() == kinds.len())
        };
        // An operand of unknown type is assumed to have the type of the other one.
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '.');
        if is_operator && let [left, right] = kinds.as_slice() {
            let same = left.or(*right);
            let exact = named().find(|function| {
                function
                    .arguments
                    .iter()
                    .all(|argument| Some(*argument) == same)
            });
            if let Some(function) = exact
                && (left.is_none() || right.is_none())
            {
                return Ok(function);
            }
        }
        let fitting: Vec<&'static Function> = named()
            .filter(|function| {
                function
                    .arguments
                    .iter()
                    .zip(&kinds)
                    .all(|(argument, kind)| kind.is_none_or(|kind| fits(function, kind, *argument)))
            })
            .collect();
        let mut best = best_of(fitting, &kinds);
        if is_operator && kinds.iter().all(Option::is_none) {
            // PostgreSQL has more candidates here.
            best.retain(|function| function.arguments.iter().all(|own| own.is_text()));
        }
        match best.as_slice() {
            [function] => {
                self.check_arrays(function, &kinds)?;
                Ok(function)
            }
            [] => self.refuse(format!(
                "{} does not exist or is not supported",
                signature(shown, operands)
            )),
            _ => self.refuse(format!(
                "{} is ambiguous: cast its arguments",
                signature(shown, operands)
            )),
        }
    }

    /// Checks that all arrays in one call have the same item type.
    fn check_arrays(&self, function: &Function, kinds: &[Option<Type>]) -> Result<(), Error> {
        if !function.any_array {
            return Ok(());
        }
        let mut items = kinds.iter().filter_map(|kind| match kind {
            Some(Type::Array(item)) => Some(**item),
            _ => None,
        });
        if let (Some(own), Some(other)) = (items.next(), items.next())
            && own != other
            && !(own.is_text() && other.is_text())
        {
            return self.refuse("the arrays have items of different types");
        }
        let is_compared = matches!(function.name, "@>" | "<@" | "&&");
        if is_compared && kinds.contains(&Some(Type::Array(&Type::Numeric))) {
            return self.unsupported("comparing arrays of numeric");
        }
        Ok(())
    }
}

/// Reads a single annotation without building the complete hstore of the stream.
fn lookup(name: &str, operands: &[Operand]) -> Option<String> {
    let [annotations, key] = operands else {
        return None;
    };
    let stream = annotations.sql.strip_suffix(".annotations")?;
    let is_text = key.kind().is_some_and(Type::is_text);
    // Only constants and parameters are known not to be null.
    let is_constant = key.sql.starts_with(['\'', '?']);
    let found = format!(
        "from {ANNOTATIONS_VIEW} a where a.stream = {stream}.id and a.key = {}",
        key.sql
    );
    match name {
        _ if !is_text || !is_constant => None,
        "->" => Some(format!("(select a.value {found})")),
        "?" | "exist" => Some(format!(
            "(case when {stream}.id is not null then exists (select 1 {found}) end)"
        )),
        "defined" => Some(format!(
            "(case when {stream}.id is not null then \
             exists (select 1 {found} and a.value is not null) end)"
        )),
        _ => None,
    }
}

fn fits(function: &Function, kind: Type, argument: Type) -> bool {
    let is_any_array =
        function.any_array && matches!((kind, argument), (Type::Array(_), Type::Array(_)));
    is_any_array || kind.becomes(argument)
}

fn is_exact(kind: Type, argument: Type) -> bool {
    kind == argument || (kind.is_text() && argument.is_text())
}

/// Selects a function by the rules of `PostgreSQL`.
fn best_of(
    mut candidates: Vec<&'static Function>,
    kinds: &[Option<Type>],
) -> Vec<&'static Function> {
    keep_best(&mut candidates, |function| {
        pairs(function, kinds)
            .filter(|(argument, kind)| kind.is_some_and(|kind| is_exact(kind, *argument)))
            .count()
    });
    keep_best(&mut candidates, |function| {
        pairs(function, kinds)
            .filter(|(argument, kind)| match kind {
                Some(kind) => {
                    is_exact(*kind, *argument)
                        || (argument.is_preferred() && argument.category() == kind.category())
                }
                None => false,
            })
            .count()
    });
    for index in 0..kinds.len() {
        if candidates.len() < 2 || !matches!(kinds.get(index), Some(None)) {
            continue;
        }
        let at = |function: &Function| function.arguments.get(index).copied();
        let has_text = candidates
            .iter()
            .any(|function| at(function).is_some_and(Type::is_text));
        let wanted = if has_text {
            Some(Category::Text)
        } else {
            let first = candidates.first().and_then(|f| at(f)).map(Type::category);
            let all_same = candidates
                .iter()
                .all(|function| at(function).map(Type::category) == first);
            first.filter(|_| all_same)
        };
        let Some(wanted) = wanted else { continue };
        candidates.retain(|function| at(function).is_some_and(|kind| kind.category() == wanted));
        let has_preferred = candidates
            .iter()
            .any(|function| at(function).is_some_and(Type::is_preferred));
        if has_preferred {
            candidates.retain(|function| at(function).is_some_and(Type::is_preferred));
        }
    }
    // Finally, unknown types are assumed to be like the known ones, if those are all the same.
    if candidates.len() > 1 {
        let mut known = kinds.iter().flatten();
        if let Some(first) = known.next()
            && known.all(|kind| kind == first)
        {
            let alike: Vec<&'static Function> = candidates
                .iter()
                .copied()
                .filter(|function| function.arguments.iter().all(|own| first.becomes(*own)))
                .collect();
            if alike.len() == 1 {
                return alike;
            }
        }
    }
    candidates
}

fn pairs<'a>(
    function: &'static Function,
    kinds: &'a [Option<Type>],
) -> impl Iterator<Item = (Type, Option<Type>)> + 'a {
    function
        .arguments
        .iter()
        .copied()
        .zip(kinds.iter().copied())
}

fn keep_best(candidates: &mut Vec<&'static Function>, score: impl Fn(&'static Function) -> usize) {
    if let Some(best) = candidates.iter().map(|function| score(function)).max() {
        candidates.retain(|function| score(function) == best);
    }
}

fn signature(shown: &str, operands: &[Operand]) -> String {
    let kinds: Vec<&str> = operands.iter().map(Operand::kind_name).collect();
    let is_word = shown.starts_with(|c: char| c.is_ascii_alphabetic());
    match kinds.as_slice() {
        [kind] if !is_word => format!("operator `{shown} {kind}`"),
        [left, right] if !is_word => format!("operator `{left} {shown} {right}`"),
        _ => format!("function `{shown}({})`", kinds.join(", ")),
    }
}

/// A call of the `SQLite` function `function`.
pub(super) fn joined(function: &str, operands: &[Operand], kind: Type) -> Operand {
    let list: Vec<&str> = operands
        .iter()
        .map(|operand| operand.sql.as_str())
        .collect();
    let mut operand = Operand::of(
        format!("{function}({})", list.join(", ")),
        kind,
        &operands.iter().collect::<Vec<_>>(),
    );
    operand.form = Form::Known(kind);
    operand
}
