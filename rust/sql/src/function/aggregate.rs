//! Aggregate functions, over groups and over windows.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use pingthings_sqlite::give_back;
use rusqlite::Connection;
use rusqlite::functions::{Aggregate, Context, WindowAggregate};
use rusqlite::types::Value;

use super::{Arguments, FLAGS, arguments, begin, failed};
use crate::budget::{Call, keep_memory, use_memory};
use crate::value::array::encode_all;
use crate::value::decimal::Decimal;

/// The state of an aggregate.
trait Fold: Default + UnwindSafe + RefUnwindSafe + 'static {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String>;

    /// Removes the oldest row.
    fn remove(&mut self, row: &Arguments<'_>) -> Result<(), String>;

    /// The result; `state` is `None` if there was no row.
    fn result(state: Option<&Self>) -> Result<Value, String>;
}

struct FoldAdapter<F>(PhantomData<F>);

impl<F: Fold> Aggregate<F, Value> for FoldAdapter<F> {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<F> {
        Ok(F::default())
    }

    fn step(&self, context: &mut Context<'_>, state: &mut F) -> rusqlite::Result<()> {
        let row = arguments(context);
        let _call = begin(&row).map_err(failed)?;
        state.add(&row).map_err(failed)
    }

    fn finalize(&self, _: &mut Context<'_>, state: Option<F>) -> rusqlite::Result<Value> {
        let _call = Call::begin();
        F::result(state.as_ref()).map_err(failed)
    }
}

impl<F: Fold> WindowAggregate<F, Value> for FoldAdapter<F> {
    fn value(&self, state: Option<&mut F>) -> rusqlite::Result<Value> {
        let _call = Call::begin();
        F::result(state.as_deref()).map_err(failed)
    }

    fn inverse(&self, context: &mut Context<'_>, state: &mut F) -> rusqlite::Result<()> {
        state.remove(&arguments(context)).map_err(failed)
    }
}

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    fn window<F: Fold>(connection: &Connection, name: &str, count: i32) -> rusqlite::Result<()> {
        connection.create_window_function(name, count, FLAGS, FoldAdapter::<F>(PhantomData))
    }
    window::<Sum<false>>(connection, "pg_sum_int4", 1)?;
    window::<Sum<true>>(connection, "pg_sum_int8", 1)?;
    window::<Mean>(connection, "pg_avg_int", 1)?;
    window::<DecimalSum<false>>(connection, "pg_sum_numeric", 1)?;
    window::<DecimalSum<true>>(connection, "pg_avg_numeric", 1)?;
    window::<FloatSum<false>>(connection, "pg_sum_float8", 1)?;
    window::<FloatSum<true>>(connection, "pg_avg_float8", 1)?;
    window::<Truths<true>>(connection, "pg_bool_and", 1)?;
    window::<Truths<false>>(connection, "pg_bool_or", 1)?;
    window::<Items>(connection, "pg_array_agg", 1)?;
    window::<StringAgg>(connection, "pg_string_agg", 2)?;
    window::<Documents>(connection, "pg_json_agg", 1)?;
    window::<Single>(connection, "pg_single", 1)
}

/// Sum of whole numbers; that of bigints is a numeric.
#[derive(Default)]
struct Sum<const IS_WIDE: bool> {
    sum: i128,
    count: u64,
}

impl<const IS_WIDE: bool> Fold for Sum<IS_WIDE> {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            self.sum += i128::from(row.int(0)?);
            self.count += 1;
        }
        Ok(())
    }

    fn remove(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            self.sum -= i128::from(row.int(0)?);
            self.count -= 1;
        }
        Ok(())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        match state {
            Some(state) if state.count > 0 && IS_WIDE => Ok(Value::Text(state.sum.to_string())),
            Some(state) if state.count > 0 => i64::try_from(state.sum)
                .map(Value::Integer)
                .map_err(|_| "bigint out of range".into()),
            _ => Ok(Value::Null),
        }
    }
}

/// Mean of whole numbers, a numeric.
#[derive(Default)]
struct Mean(Sum<true>);

impl Fold for Mean {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        self.0.add(row)
    }

    fn remove(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        self.0.remove(row)
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        match state {
            Some(Self(sum)) if sum.count > 0 => {
                let count = Decimal::from_wide(i128::from(sum.count));
                let mean = Decimal::from_wide(sum.sum).divide(count)?;
                Ok(Value::Text(mean.to_string()))
            }
            _ => Ok(Value::Null),
        }
    }
}

/// Sum of numerics, or their mean if `IS_MEAN`.
#[derive(Default)]
struct DecimalSum<const IS_MEAN: bool> {
    sum: Option<Decimal>,
    count: u64,
}

impl<const IS_MEAN: bool> Fold for DecimalSum<IS_MEAN> {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            let value = row.decimal(0)?;
            self.sum = Some(match self.sum {
                None => value,
                Some(sum) => sum.add(value)?,
            });
            self.count += 1;
        }
        Ok(())
    }

    fn remove(&mut self, _: &Arguments<'_>) -> Result<(), String> {
        Err("sum and avg of numerics over a window that moves are not supported".into())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        match state {
            Some(Self {
                sum: Some(sum),
                count,
            }) => {
                let result = if IS_MEAN {
                    sum.divide(Decimal::from_wide(i128::from(*count)))?
                } else {
                    *sum
                };
                Ok(Value::Text(result.to_string()))
            }
            _ => Ok(Value::Null),
        }
    }
}

/// Sum of floating-point numbers, or their mean if `IS_MEAN`.
#[derive(Default)]
struct FloatSum<const IS_MEAN: bool> {
    sum: f64,
    count: u32,
}

impl<const IS_MEAN: bool> Fold for FloatSum<IS_MEAN> {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            self.sum += row.float(0)?;
            self.count += 1;
        }
        if self.sum.is_finite() {
            Ok(())
        } else {
            Err("value out of range: overflow".into())
        }
    }

    fn remove(&mut self, _: &Arguments<'_>) -> Result<(), String> {
        Err("sum and avg of double precision over a window that moves are not supported".into())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        Ok(match state {
            Some(state) if state.count > 0 && IS_MEAN => {
                Value::Real(state.sum / f64::from(state.count))
            }
            Some(state) if state.count > 0 => Value::Real(state.sum),
            _ => Value::Null,
        })
    }
}

/// Whether all values are true if `IS_ALL`, otherwise whether any is.
#[derive(Default)]
struct Truths<const IS_ALL: bool> {
    truths: u64,
    lies: u64,
}

impl<const IS_ALL: bool> Fold for Truths<IS_ALL> {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            let is_true = row.int(0)? != 0;
            self.truths += u64::from(is_true);
            self.lies += u64::from(!is_true);
        }
        Ok(())
    }

    fn remove(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            let is_true = row.int(0)? != 0;
            self.truths -= u64::from(is_true);
            self.lies -= u64::from(!is_true);
        }
        Ok(())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        Ok(match state {
            Some(state) if state.truths + state.lies > 0 => {
                let holds = if IS_ALL {
                    state.lies == 0
                } else {
                    state.truths > 0
                };
                Value::Integer(i64::from(holds))
            }
            _ => Value::Null,
        })
    }
}

/// The rows of a group, for aggregates that need all of them.
#[derive(Default)]
struct GroupRows {
    list: VecDeque<Option<String>>,
    /// Total length of all texts.
    bytes: usize,
    /// The memory that was charged for them.
    kept: usize,
}

/// Overhead of an item, which includes the growth of the list.
const ITEM_BYTES: usize = 96;

impl GroupRows {
    fn push(&mut self, row: Option<&str>) -> Result<(), String> {
        let bytes = row.map_or(0, str::len);
        if self.bytes + bytes > super::MOST_BYTES {
            super::check_length(self.bytes + bytes)?;
        }
        keep_memory(bytes + ITEM_BYTES)?;
        self.kept += bytes + ITEM_BYTES;
        self.bytes += bytes;
        self.list.push_back(row.map(str::to_owned));
        Ok(())
    }

    fn pop(&mut self) {
        if let Some(row) = self.list.pop_front() {
            let bytes = row.map_or(0, |row| row.len());
            self.bytes -= bytes;
            self.kept -= bytes + ITEM_BYTES;
            give_back(bytes + ITEM_BYTES);
        }
    }

    /// Takes the memory for a text of all rows, with `beside` additional bytes for each.
    fn use_for_result(&self, beside: usize) -> Result<(), String> {
        use_memory((self.bytes + self.list.len() * beside) * 2)
    }
}

impl Drop for GroupRows {
    fn drop(&mut self) {
        give_back(self.kept);
    }
}

/// `array_agg` of the items' texts.
#[derive(Default)]
struct Items(GroupRows);

impl Fold for Items {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        self.0.push(row.optional_text(0)?)
    }

    fn remove(&mut self, _: &Arguments<'_>) -> Result<(), String> {
        self.0.pop();
        Ok(())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        match state {
            Some(Self(rows)) if !rows.list.is_empty() => {
                rows.use_for_result(8)?;
                super::bounded(encode_all(rows.list.iter().map(Option::as_deref)))
            }
            _ => Ok(Value::Null),
        }
    }
}

/// `json_agg` of the items' JSON.
#[derive(Default)]
struct Documents(GroupRows);

impl Fold for Documents {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        self.0.push(row.optional_text(0)?)
    }

    fn remove(&mut self, _: &Arguments<'_>) -> Result<(), String> {
        self.0.pop();
        Ok(())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        match state {
            Some(Self(rows)) if !rows.list.is_empty() => {
                rows.use_for_result(16)?;
                let items: Vec<&str> = rows
                    .list
                    .iter()
                    .map(|row| row.as_deref().unwrap_or("null"))
                    .collect();
                super::bounded(format!("[{}]", items.join(", ")))
            }
            _ => Ok(Value::Null),
        }
    }
}

/// `string_agg`: each text follows its own delimiter, except the first.
#[derive(Default)]
struct StringAgg {
    texts: GroupRows,
    delimiters: GroupRows,
}

impl Fold for StringAgg {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if let Some(text) = row.optional_text(0)? {
            let delimiter = row.optional_text(1)?.unwrap_or_default();
            self.texts.push(Some(text))?;
            self.delimiters.push(Some(delimiter))?;
        }
        Ok(())
    }

    fn remove(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if !row.is_null(0) {
            self.texts.pop();
            self.delimiters.pop();
        }
        Ok(())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        match state {
            Some(state) if !state.texts.list.is_empty() => {
                state.texts.use_for_result(0)?;
                state.delimiters.use_for_result(0)?;
                let mut out = String::new();
                let texts = state.texts.list.iter().flatten();
                let delimiters = state.delimiters.list.iter().flatten();
                for (index, (text, delimiter)) in texts.zip(delimiters).enumerate() {
                    if index > 0 {
                        out.push_str(delimiter);
                    }
                    out.push_str(text);
                }
                super::bounded(out)
            }
            _ => Ok(Value::Null),
        }
    }
}

/// The value of a subquery that may return at most one row.
#[derive(Default)]
struct Single {
    value: Option<Value>,
    kept: usize,
}

impl Drop for Single {
    fn drop(&mut self) {
        give_back(self.kept);
    }
}

impl Fold for Single {
    fn add(&mut self, row: &Arguments<'_>) -> Result<(), String> {
        if self.value.is_some() {
            return Err("more than one row returned by a subquery used as an expression".into());
        }
        let value = crate::convert::owned(row.value(0))?;
        let bytes = match &value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => 0,
        };
        keep_memory(bytes)?;
        self.kept = bytes;
        self.value = Some(value);
        Ok(())
    }

    fn remove(&mut self, _: &Arguments<'_>) -> Result<(), String> {
        Err("a subquery is no window".into())
    }

    fn result(state: Option<&Self>) -> Result<Value, String> {
        Ok(state
            .and_then(|state| state.value.clone())
            .unwrap_or(Value::Null))
    }
}
