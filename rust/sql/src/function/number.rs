//! Arithmetic: a result that does not fit its type is an error, never another number.

use rusqlite::types::Value;

use super::{Arguments, Function, decimal};
use crate::types::Type::{Float8, Int4, Int8, Numeric};

pub(super) static FUNCTIONS: &[Function] = &[
    Function::strict("+", &[Int4, Int4], Int4, |a| {
        int4(a.int(0)?.checked_add(a.int(1)?))
    }),
    Function::strict("-", &[Int4, Int4], Int4, |a| {
        int4(a.int(0)?.checked_sub(a.int(1)?))
    }),
    Function::strict("*", &[Int4, Int4], Int4, |a| {
        int4(a.int(0)?.checked_mul(a.int(1)?))
    }),
    Function::strict("/", &[Int4, Int4], Int4, |a| int4(quotient(a)?)),
    Function::strict("%", &[Int4, Int4], Int4, |a| int4(remainder(a)?)),
    Function::strict("mod", &[Int4, Int4], Int4, |a| int4(remainder(a)?)),
    Function::strict("-", &[Int4], Int4, |a| int4(a.int(0)?.checked_neg())),
    Function::strict("+", &[Int4], Int4, |a| int4(Some(a.int(0)?))),
    Function::strict("abs", &[Int4], Int4, |a| int4(a.int(0)?.checked_abs())),
    Function::strict("+", &[Int8, Int8], Int8, |a| {
        int8(a.int(0)?.checked_add(a.int(1)?))
    }),
    Function::strict("-", &[Int8, Int8], Int8, |a| {
        int8(a.int(0)?.checked_sub(a.int(1)?))
    }),
    Function::strict("*", &[Int8, Int8], Int8, |a| {
        int8(a.int(0)?.checked_mul(a.int(1)?))
    }),
    Function::strict("/", &[Int8, Int8], Int8, |a| int8(quotient(a)?)),
    Function::strict("%", &[Int8, Int8], Int8, |a| int8(remainder(a)?)),
    Function::strict("mod", &[Int8, Int8], Int8, |a| int8(remainder(a)?)),
    Function::strict("-", &[Int8], Int8, |a| int8(a.int(0)?.checked_neg())),
    Function::strict("+", &[Int8], Int8, |a| int8(Some(a.int(0)?))),
    Function::strict("abs", &[Int8], Int8, |a| int8(a.int(0)?.checked_abs())),
    Function::strict("+", &[Numeric, Numeric], Numeric, |a| {
        a.decimal(0)?.add(a.decimal(1)?).map(decimal)
    }),
    Function::strict("-", &[Numeric, Numeric], Numeric, |a| {
        a.decimal(0)?.subtract(a.decimal(1)?).map(decimal)
    }),
    Function::strict("*", &[Numeric, Numeric], Numeric, |a| {
        a.decimal(0)?.multiply(a.decimal(1)?).map(decimal)
    }),
    Function::strict("/", &[Numeric, Numeric], Numeric, |a| {
        a.decimal(0)?.divide(a.decimal(1)?).map(decimal)
    }),
    Function::strict("%", &[Numeric, Numeric], Numeric, |a| {
        a.decimal(0)?.remainder(a.decimal(1)?).map(decimal)
    }),
    Function::strict("mod", &[Numeric, Numeric], Numeric, |a| {
        a.decimal(0)?.remainder(a.decimal(1)?).map(decimal)
    }),
    Function::strict("-", &[Numeric], Numeric, |a| {
        Ok(decimal(a.decimal(0)?.negate()))
    }),
    Function::strict("+", &[Numeric], Numeric, |a| Ok(decimal(a.decimal(0)?))),
    Function::strict("abs", &[Numeric], Numeric, |a| {
        Ok(decimal(a.decimal(0)?.abs()))
    }),
    Function::strict("sign", &[Numeric], Numeric, |a| {
        Ok(decimal(a.decimal(0)?.sign()))
    }),
    Function::strict("ceil", &[Numeric], Numeric, |a| {
        a.decimal(0)?.ceil().map(decimal)
    }),
    Function::strict("ceiling", &[Numeric], Numeric, |a| {
        a.decimal(0)?.ceil().map(decimal)
    }),
    Function::strict("floor", &[Numeric], Numeric, |a| {
        a.decimal(0)?.floor().map(decimal)
    }),
    Function::strict("round", &[Numeric], Numeric, |a| {
        a.decimal(0)?.round(0).map(decimal)
    }),
    Function::strict("round", &[Numeric, Int4], Numeric, |a| {
        a.decimal(0)?.round(scale(a.int(1)?)).map(decimal)
    }),
    Function::strict("trunc", &[Numeric], Numeric, |a| {
        a.decimal(0)?.truncate(0).map(decimal)
    }),
    Function::strict("trunc", &[Numeric, Int4], Numeric, |a| {
        a.decimal(0)?.truncate(scale(a.int(1)?)).map(decimal)
    }),
    Function::strict("sqrt", &[Numeric], Numeric, |_| exact("sqrt")),
    Function::strict("power", &[Numeric, Numeric], Numeric, |_| exact("power")),
    Function::strict("pow", &[Numeric, Numeric], Numeric, |_| exact("pow")),
    Function::strict("^", &[Numeric, Numeric], Numeric, |_| exact("^")),
    Function::strict("+", &[Float8, Float8], Float8, |a| {
        float(a.float(0)? + a.float(1)?)
    }),
    Function::strict("-", &[Float8, Float8], Float8, |a| {
        float(a.float(0)? - a.float(1)?)
    }),
    Function::strict("*", &[Float8, Float8], Float8, |a| {
        let product = a.float(0)? * a.float(1)?;
        if product == 0.0 && a.float(0)? != 0.0 && a.float(1)? != 0.0 {
            return Err("value out of range: underflow".into());
        }
        float(product)
    }),
    Function::strict("/", &[Float8, Float8], Float8, |a| {
        if a.float(1)? == 0.0 {
            return Err("division by zero".into());
        }
        let quotient = a.float(0)? / a.float(1)?;
        if quotient == 0.0 && a.float(0)? != 0.0 {
            return Err("value out of range: underflow".into());
        }
        float(quotient)
    }),
    Function::strict("^", &[Float8, Float8], Float8, power),
    Function::strict("power", &[Float8, Float8], Float8, power),
    Function::strict("pow", &[Float8, Float8], Float8, power),
    Function::strict("-", &[Float8], Float8, |a| float(-a.float(0)?)),
    Function::strict("+", &[Float8], Float8, |a| float(a.float(0)?)),
    Function::strict("abs", &[Float8], Float8, |a| float(a.float(0)?.abs())),
    Function::strict("sign", &[Float8], Float8, |a| {
        let value = a.float(0)?;
        float(if value == 0.0 { 0.0 } else { value.signum() })
    }),
    Function::strict("ceil", &[Float8], Float8, |a| float(a.float(0)?.ceil())),
    Function::strict("ceiling", &[Float8], Float8, |a| float(a.float(0)?.ceil())),
    Function::strict("floor", &[Float8], Float8, |a| float(a.float(0)?.floor())),
    Function::strict("round", &[Float8], Float8, |a| {
        float(a.float(0)?.round_ties_even())
    }),
    Function::strict("trunc", &[Float8], Float8, |a| float(a.float(0)?.trunc())),
    Function::strict("sqrt", &[Float8], Float8, |a| {
        if a.float(0)? < 0.0 {
            return Err("cannot take square root of a negative number".into());
        }
        float(a.float(0)?.sqrt())
    }),
];

/// Refuses functions that `PostgreSQL` computes to many digits.
fn exact(name: &str) -> Result<Value, String> {
    Err(format!(
        "`{name}` of numeric is not supported: cast to double precision"
    ))
}

fn int4(value: Option<i64>) -> Result<Value, String> {
    value
        .filter(|value| i32::try_from(*value).is_ok())
        .map(Value::Integer)
        .ok_or_else(|| "integer out of range".into())
}

fn int8(value: Option<i64>) -> Result<Value, String> {
    value
        .map(Value::Integer)
        .ok_or_else(|| "bigint out of range".into())
}

fn quotient(a: &Arguments<'_>) -> Result<Option<i64>, String> {
    if a.int(1)? == 0 {
        return Err("division by zero".into());
    }
    Ok(a.int(0)?.checked_div(a.int(1)?))
}

fn remainder(a: &Arguments<'_>) -> Result<Option<i64>, String> {
    if a.int(1)? == 0 {
        return Err("division by zero".into());
    }
    Ok(Some(a.int(0)?.checked_rem(a.int(1)?).unwrap_or(0)))
}

fn scale(digits: i64) -> i32 {
    i32::try_from(digits.clamp(-2000, 2000)).unwrap_or(0)
}

/// Refuses NaN and infinity, which `SQLite` cannot represent.
fn float(value: f64) -> Result<Value, String> {
    if value.is_finite() {
        Ok(Value::Real(value))
    } else {
        Err("value out of range: overflow".into())
    }
}

fn power(a: &Arguments<'_>) -> Result<Value, String> {
    let (base, exponent) = (a.float(0)?, a.float(1)?);
    if base == 0.0 && exponent < 0.0 {
        return Err("zero raised to a negative power is undefined".into());
    }
    if base < 0.0 && exponent.fract() != 0.0 {
        return Err(
            "a negative number raised to a non-integer power yields a complex result".into(),
        );
    }
    let result = base.powf(exponent);
    if result == 0.0 && base != 0.0 {
        return Err("value out of range: underflow".into());
    }
    float(result)
}
