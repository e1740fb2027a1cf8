//! The supported functions and operators. The translator selects from this table by name and types,
//! and `SQLite` runs the entries. A function that is not in the table is refused.

pub(crate) mod aggregate;
mod array;
mod hstore;
mod json;
mod number;
mod pattern;
mod text;
mod time;

pub(crate) use pattern::clear_compiled;

use std::cmp::Ordering;
use std::sync::LazyLock;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value, ValueRef};

use crate::budget::{Call, use_memory};
use crate::convert;
use crate::types::{Modifier, Type};
use crate::value::array::{Items, decode};
use crate::value::decimal::Decimal;
use crate::value::hstore::Hstore;
use crate::value::interval::Interval;

/// Maximum length of a text that a function returns.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// The memory a function may take per byte of its arguments, besides its result and parsed values:
/// one copy, and its growth.
const BYTES_FOR_EACH: usize = 4;

pub(crate) type Run = fn(&Arguments<'_>) -> Result<Value, String>;

/// A function or operator for certain argument types.
#[derive(Debug)]
pub(crate) struct Function {
    /// The name in `PostgreSQL`; for an operator, its symbol. Only the translator may call a
    /// function whose name starts with a dot.
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [Type],
    pub(crate) result: Type,
    /// Whether array arguments may have items of any type.
    pub(crate) any_array: bool,
    is_strict: bool,
    run: Run,
}

impl Function {
    /// A function that returns null if an argument is null.
    const fn strict(
        name: &'static str,
        arguments: &'static [Type],
        result: Type,
        run: Run,
    ) -> Self {
        Self {
            name,
            arguments,
            result,
            any_array: false,
            is_strict: true,
            run,
        }
    }

    const fn with_nulls(mut self) -> Self {
        self.is_strict = false;
        self
    }

    const fn of_any_array(mut self) -> Self {
        self.any_array = true;
        self
    }

    /// The name in `SQLite`.
    pub(crate) fn sql_name(&self) -> String {
        let word = match self.name {
            "+" => "add",
            "-" => "subtract",
            "*" => "multiply",
            "/" => "divide",
            "%" => "remainder",
            "^" => "raise",
            "||" => "concatenate",
            "->" => "get",
            "->>" => "get_text",
            "#>" => "get_path",
            "#>>" => "get_path_text",
            "?" => "has",
            "?|" => "has_any",
            "?&" => "has_all",
            "@>" => "contains",
            "<@" => "is_contained",
            "&&" => "overlaps",
            "~" => "matches",
            "~*" => "matches_ignoring_case",
            "~~" => "is_like",
            "~~*" => "is_like_ignoring_case",
            "^@" => "begins_with",
            word => word.trim_start_matches('.'),
        };
        let mut name = format!("pg_{word}");
        for argument in self.arguments {
            name.push('_');
            name.push_str(argument.short_name());
            if matches!(argument, Type::Array(_)) {
                name.push('s');
            }
        }
        name
    }
}

/// Every function.
pub(crate) static FUNCTIONS: LazyLock<Vec<&'static Function>> = LazyLock::new(|| {
    [
        text::FUNCTIONS,
        number::FUNCTIONS,
        time::FUNCTIONS,
        hstore::FUNCTIONS,
        array::FUNCTIONS,
        json::FUNCTIONS,
        pattern::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// The arguments of one call.
#[derive(Debug)]
pub(crate) struct Arguments<'a>(Vec<ValueRef<'a>>);

impl Arguments<'_> {
    fn value(&self, index: usize) -> ValueRef<'_> {
        self.0.get(index).copied().unwrap_or(ValueRef::Null)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_null(&self, index: usize) -> bool {
        matches!(self.value(index), ValueRef::Null)
    }

    fn text(&self, index: usize) -> Result<&str, String> {
        self.value(index)
            .as_str()
            .map_err(|_| format!("argument {} is not text", index + 1))
    }

    fn optional_text(&self, index: usize) -> Result<Option<&str>, String> {
        if self.is_null(index) {
            return Ok(None);
        }
        self.text(index).map(Some)
    }

    fn int(&self, index: usize) -> Result<i64, String> {
        self.value(index)
            .as_i64()
            .map_err(|_| format!("argument {} is not a whole number", index + 1))
    }

    fn float(&self, index: usize) -> Result<f64, String> {
        self.value(index)
            .as_f64()
            .map_err(|_| format!("argument {} is not a floating-point number", index + 1))
    }

    fn decimal(&self, index: usize) -> Result<Decimal, String> {
        self.text(index)?.parse()
    }

    fn interval(&self, index: usize) -> Result<Interval, String> {
        self.text(index)?.parse()
    }

    fn hstore(&self, index: usize) -> Result<Hstore, String> {
        Hstore::decode(self.text(index)?)
    }

    fn items(&self, index: usize) -> Result<Items, String> {
        decode(self.text(index)?)
    }
}

fn boolean(value: bool) -> Value {
    Value::Integer(i64::from(value))
}

fn decimal(value: Decimal) -> Value {
    Value::Text(value.to_string())
}

fn optional(value: Option<String>) -> Value {
    value.map_or(Value::Null, Value::Text)
}

/// Returns `value` as a text, unless it is too long.
fn bounded(value: String) -> Result<Value, String> {
    check_length(value.len())?;
    Ok(Value::Text(value))
}

/// Takes the memory for a text of `bytes`, and fails if it is too long.
fn check_length(bytes: usize) -> Result<(), String> {
    if bytes > MOST_BYTES {
        return Err(format!("a value would be longer than {MOST_BYTES} bytes"));
    }
    use_memory(bytes)
}

fn failed(problem: String) -> rusqlite::Error {
    rusqlite::Error::UserFunctionError(problem.into())
}

/// Takes the memory that a function may use for its arguments.
fn begin(arguments: &Arguments<'_>) -> Result<Call, String> {
    let call = Call::begin();
    let bytes = arguments.0.iter().map(|value| match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        _ => 0,
    });
    use_memory(bytes.sum::<usize>() * BYTES_FOR_EACH)?;
    Ok(call)
}

fn arguments<'a>(context: &'a Context<'_>) -> Arguments<'a> {
    Arguments(
        (0..context.len())
            .map(|index| context.get_raw(index))
            .collect(),
    )
}

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8
    .union(FunctionFlags::SQLITE_DETERMINISTIC)
    .union(FunctionFlags::SQLITE_INNOCUOUS);

fn register_one(
    connection: &Connection,
    name: &str,
    count: i32,
    is_strict: bool,
    run: impl Fn(&Arguments<'_>) -> Result<Value, String> + Send + 'static,
) -> rusqlite::Result<()> {
    connection.create_scalar_function(name, count, FLAGS, move |context| {
        let arguments = arguments(context);
        let _call = begin(&arguments).map_err(failed)?;
        if is_strict && (0..arguments.len()).any(|index| arguments.is_null(index)) {
            return Ok(Value::Null);
        }
        run(&arguments).map_err(failed)
    })
}

/// Registers every function with `connection`.
pub(crate) fn register(connection: &Connection) -> rusqlite::Result<()> {
    for function in FUNCTIONS.iter() {
        let count = i32::try_from(function.arguments.len()).unwrap_or(-1);
        let name = function.sql_name();
        register_one(connection, &name, count, function.is_strict, function.run)?;
    }
    register_conversions(connection)?;
    register_one(connection, "pg_concat", -1, false, |arguments| {
        join(arguments, 0, "")
    })?;
    register_one(
        connection,
        "pg_concat_ws",
        -1,
        false,
        |arguments| match arguments.optional_text(0)? {
            None => Ok(Value::Null),
            Some(separator) => join(arguments, 1, separator),
        },
    )?;
    register_one(connection, "pg_array_join", -1, false, array::append)?;
    register_one(connection, "pg_array", -1, false, |arguments| {
        let items = (0..arguments.len())
            .map(|index| Ok(arguments.optional_text(index)?.map(str::to_owned)))
            .collect::<Result<Items, String>>()?;
        bounded(crate::value::array::encode(&items))
    })?;
    for kind in [None, Some(Type::Numeric), Some(Type::Interval)] {
        let suffix = kind.map_or(String::new(), |kind| format!("_{}", kind.short_name()));
        for (name, wanted) in [("greatest", Ordering::Greater), ("least", Ordering::Less)] {
            let name = format!("pg_{name}{suffix}");
            register_one(connection, &name, -1, false, move |arguments| {
                extreme(arguments, kind, wanted)
            })?;
        }
    }
    aggregate::register(connection)?;
    for kind in [Type::Numeric, Type::Interval] {
        if let Some(collation) = kind.collation() {
            connection.create_collation(collation, move |left, right| {
                convert::compare(kind, left, right)
            })?;
        }
    }
    Ok(())
}

fn join(arguments: &Arguments<'_>, first: usize, separator: &str) -> Result<Value, String> {
    let mut parts = Vec::new();
    for index in first..arguments.len() {
        parts.extend(arguments.optional_text(index)?);
    }
    bounded(parts.join(separator))
}

/// The greatest or least of the arguments that are not null.
fn extreme(
    arguments: &Arguments<'_>,
    kind: Option<Type>,
    wanted: Ordering,
) -> Result<Value, String> {
    let mut best = ValueRef::Null;
    for index in 0..arguments.len() {
        let value = arguments.value(index);
        let order = match (value, best) {
            (ValueRef::Null, _) => continue,
            (_, ValueRef::Null) => wanted,
            (ValueRef::Integer(own), ValueRef::Integer(other)) => own.cmp(&other),
            (ValueRef::Real(own), ValueRef::Real(other)) => own.total_cmp(&other),
            (ValueRef::Blob(own), ValueRef::Blob(other)) => own.cmp(other),
            (own, other) => match (own.as_str(), other.as_str(), kind) {
                (Ok(own), Ok(other), Some(kind)) => convert::compare(kind, own, other),
                (Ok(own), Ok(other), None) => own.cmp(other),
                _ => continue,
            },
        };
        if order == wanted {
            best = value;
        }
    }
    convert::owned(best)
}

/// The name of the function that casts between two types.
pub(crate) fn cast_name(from: Type, to: Type) -> String {
    let name = |kind: Type| match kind {
        Type::Array(item) => format!("{}s", item.short_name()),
        _ => kind.short_name().to_owned(),
    };
    format!("pg_cast_{}_{}", name(from), name(to))
}

fn register_conversions(connection: &Connection) -> rusqlite::Result<()> {
    let kinds: Vec<Type> = Type::SCALARS
        .into_iter()
        .chain(Type::SCALARS.into_iter().filter_map(Type::array))
        .collect();
    for from in kinds.iter().copied() {
        for to in kinds.iter().copied() {
            if convert::is_castable(from, to) {
                let name = cast_name(from, to);
                register_one(connection, &name, 1, true, move |arguments| {
                    convert::cast(from, to, arguments.value(0))
                })?;
            }
        }
        let (text_name, json_name) = (output_name(from), json_name(from));
        register_one(connection, &text_name, 1, true, move |arguments| {
            bounded(convert::to_text(from, arguments.value(0))?)
        })?;
        register_one(connection, &json_name, 1, false, move |arguments| {
            let mut out = String::new();
            convert::write_json(from, arguments.value(0), &mut out)?;
            bounded(out)
        })?;
    }
    register_one(connection, "pg_fit_varchar", 2, true, |arguments| {
        let length = u64::try_from(arguments.int(1)?).unwrap_or(0);
        convert::fit(Modifier::Length(length), arguments.text(0)?).map(Value::Text)
    })?;
    register_one(connection, "pg_fit_numeric", 3, true, |arguments| {
        let modifier = Modifier::Digits {
            precision: u32::try_from(arguments.int(1)?).unwrap_or(0),
            scale: u32::try_from(arguments.int(2)?).unwrap_or(0),
        };
        convert::fit(modifier, arguments.text(0)?).map(Value::Text)
    })
}

/// The name of the function that returns the text of a value.
pub(crate) fn output_name(kind: Type) -> String {
    match kind {
        Type::Array(item) => format!("pg_out_{}s", item.short_name()),
        _ => format!("pg_out_{}", kind.short_name()),
    }
}

/// The name of the function that returns the JSON of a value.
pub(crate) fn json_name(kind: Type) -> String {
    match kind {
        Type::Array(item) => format!("pg_json_{}s", item.short_name()),
        _ => format!("pg_json_{}", kind.short_name()),
    }
}

/// Whether a statement may call the `SQLite` function `name`.
pub(crate) fn is_known(name: &str) -> bool {
    const BUILT_IN: [&str; 20] = [
        "->>",
        "coalesce",
        "count",
        "cume_dist",
        "dense_rank",
        "first_value",
        "json_each",
        "json_group_object",
        "lag",
        "last_value",
        "lead",
        "max",
        "min",
        "nth_value",
        "ntile",
        "nullif",
        "octet_length",
        "percent_rank",
        "rank",
        "row_number",
    ];
    name.starts_with("pg_") || BUILT_IN.contains(&name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_function_has_a_unique_name() {
        let mut names = HashSet::new();
        for function in FUNCTIONS.iter() {
            assert!(names.insert(function.sql_name()), "{}", function.sql_name());
        }
    }

    #[test]
    fn every_castable_pair_has_a_function() {
        for from in Type::SCALARS {
            for to in Type::SCALARS {
                if !convert::is_castable(from, to) || from == to || from.is_text() {
                    continue;
                }
                let text = match from {
                    Type::Bool => "t",
                    Type::Uuid => "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                    Type::Date | Type::Timestamp | Type::Timestamptz => "2024-01-02",
                    Type::Interval => "1 day",
                    Type::Hstore => "a=>1",
                    Type::Json | Type::Jsonb => "{}",
                    _ => "1",
                };
                let value = convert::from_text(from, text).unwrap();
                convert::cast(from, to, (&value).into()).unwrap();
            }
        }
    }
}
