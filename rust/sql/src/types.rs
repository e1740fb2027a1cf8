//! The supported types, their names, and the implicit conversions between them.

use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

/// A type of `PostgreSQL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Type {
    Bool,
    Int4,
    Int8,
    Numeric,
    Float8,
    Text,
    Varchar,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Interval,
    Hstore,
    Json,
    Jsonb,
    Array(&'static Self),
}

/// The modifier in parentheses after a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modifier {
    None,
    Length(u64),
    Digits { precision: u32, scale: u32 },
}

/// Groups of types that convert to each other implicitly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    Bool,
    Number,
    Text,
    Time,
    Span,
    Array,
    Other,
}

impl Type {
    pub(crate) const TEXT_ARRAY: Self = Self::Array(&Self::Text);

    /// The name in error messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::Int4 => "integer",
            Self::Int8 => "bigint",
            Self::Numeric => "numeric",
            Self::Float8 => "double precision",
            Self::Text => "text",
            Self::Varchar => "character varying",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamp without time zone",
            Self::Timestamptz => "timestamp with time zone",
            Self::Interval => "interval",
            Self::Hstore => "hstore",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Array(item) => match item {
                Self::Bool => "boolean[]",
                Self::Int4 => "integer[]",
                Self::Int8 => "bigint[]",
                Self::Numeric => "numeric[]",
                Self::Float8 => "double precision[]",
                Self::Varchar => "character varying[]",
                Self::Uuid => "uuid[]",
                Self::Date => "date[]",
                Self::Timestamp => "timestamp without time zone[]",
                Self::Timestamptz => "timestamp with time zone[]",
                _ => "text[]",
            },
        }
    }

    /// The name that a column gets from a cast, which is also the suffix of function names.
    pub(crate) const fn short_name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Numeric => "numeric",
            Self::Float8 => "float8",
            Self::Text => "text",
            Self::Varchar => "varchar",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Interval => "interval",
            Self::Hstore => "hstore",
            Self::Json => "json",
            Self::Jsonb => "jsonb",
            Self::Array(item) => item.short_name(),
        }
    }

    /// Every type that is not an array.
    pub(crate) const SCALARS: [Self; 15] = [
        Self::Bool,
        Self::Int4,
        Self::Int8,
        Self::Numeric,
        Self::Float8,
        Self::Text,
        Self::Varchar,
        Self::Uuid,
        Self::Date,
        Self::Timestamp,
        Self::Timestamptz,
        Self::Interval,
        Self::Hstore,
        Self::Json,
        Self::Jsonb,
    ];

    /// The array type with items of this type, if it is supported.
    pub(crate) const fn array(self) -> Option<Self> {
        Some(Self::Array(match self {
            Self::Bool => &Self::Bool,
            Self::Int4 => &Self::Int4,
            Self::Int8 => &Self::Int8,
            Self::Numeric => &Self::Numeric,
            Self::Float8 => &Self::Float8,
            Self::Text => &Self::Text,
            Self::Varchar => &Self::Varchar,
            Self::Uuid => &Self::Uuid,
            Self::Date => &Self::Date,
            Self::Timestamp => &Self::Timestamp,
            Self::Timestamptz => &Self::Timestamptz,
            _ => return None,
        }))
    }

    pub(crate) const fn category(self) -> Category {
        match self {
            Self::Bool => Category::Bool,
            Self::Int4 | Self::Int8 | Self::Numeric | Self::Float8 => Category::Number,
            Self::Text | Self::Varchar => Category::Text,
            Self::Date | Self::Timestamp | Self::Timestamptz => Category::Time,
            Self::Interval => Category::Span,
            Self::Array(_) => Category::Array,
            Self::Uuid | Self::Hstore | Self::Json | Self::Jsonb => Category::Other,
        }
    }

    /// Whether it is the preferred type of its category.
    pub(crate) const fn is_preferred(self) -> bool {
        matches!(
            self,
            Self::Bool | Self::Float8 | Self::Text | Self::Timestamptz | Self::Interval
        )
    }

    pub(crate) const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Varchar)
    }

    /// Whether there is an implicit conversion to type `to`.
    pub(crate) fn becomes(self, to: Self) -> bool {
        if self == to || (self.is_text() && to.is_text()) {
            return true;
        }
        let rank = |kind: Self| match kind {
            Self::Int4 | Self::Date => 1,
            Self::Int8 | Self::Timestamp => 2,
            Self::Numeric | Self::Timestamptz => 3,
            Self::Float8 => 4,
            _ => 0,
        };
        match (self, to) {
            (Self::Array(own), Self::Array(wanted)) => own.is_text() && wanted.is_text(),
            _ => {
                self.category() == to.category()
                    && matches!(self.category(), Category::Number | Category::Time)
                    && rank(self) < rank(to)
            }
        }
    }

    /// The collation that compares values of this type; `None` if the order of `SQLite` is right.
    pub(crate) const fn collation(self) -> Option<&'static str> {
        match self {
            Self::Numeric => Some("pg_numeric"),
            Self::Interval => Some("pg_interval"),
            _ => None,
        }
    }

    /// Whether values of this type can be compared with `=`.
    pub(crate) fn has_equality(self) -> bool {
        match self {
            Self::Json | Self::Jsonb => false,
            Self::Array(item) => !matches!(item, Self::Numeric),
            _ => true,
        }
    }

    /// Whether they can be compared with `<`.
    pub(crate) const fn has_order(self) -> bool {
        !matches!(
            self,
            Self::Json | Self::Jsonb | Self::Hstore | Self::Array(_)
        )
    }

    /// The type that `data_type` names, or the reason for refusing it.
    pub(crate) fn from_sql(data_type: &DataType) -> Result<(Self, Modifier), String> {
        let plain = |kind| Ok((kind, Modifier::None));
        match data_type {
            DataType::Bool | DataType::Boolean => plain(Self::Bool),
            DataType::Int(None) | DataType::Int4(None) | DataType::Integer(None) => {
                plain(Self::Int4)
            }
            DataType::BigInt(None) | DataType::Int8(None) => plain(Self::Int8),
            DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
                Ok((Self::Numeric, digits(info)?))
            }
            DataType::Float(ExactNumberInfo::None)
            | DataType::Float8
            | DataType::DoublePrecision => plain(Self::Float8),
            DataType::Text => plain(Self::Text),
            DataType::Varchar(length)
            | DataType::CharacterVarying(length)
            | DataType::CharVarying(length) => match length {
                None => plain(Self::Varchar),
                Some(CharacterLength::IntegerLength { length, unit: None }) if *length > 0 => {
                    Ok((Self::Varchar, Modifier::Length(*length)))
                }
                Some(_) => Err(format!("type `{data_type}` is not supported")),
            },
            DataType::Uuid => plain(Self::Uuid),
            DataType::Date => plain(Self::Date),
            DataType::Timestamp(None, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
                plain(Self::Timestamp)
            }
            DataType::Timestamp(None, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
                plain(Self::Timestamptz)
            }
            DataType::Interval {
                fields: None,
                precision: None,
            } => plain(Self::Interval),
            DataType::JSON => plain(Self::Json),
            DataType::JSONB => plain(Self::Jsonb),
            DataType::Custom(name, arguments) if arguments.is_empty() => {
                match name.to_string().to_ascii_lowercase().as_str() {
                    "hstore" => plain(Self::Hstore),
                    "timestamptz" => plain(Self::Timestamptz),
                    _ => Err(format!("type `{data_type}` is not supported")),
                }
            }
            DataType::Array(ArrayElemTypeDef::SquareBracket(item, None)) => {
                let (item, modifier) = Self::from_sql(item)?;
                match (item.array(), modifier) {
                    (Some(array), Modifier::None) => plain(array),
                    _ => Err(format!("type `{data_type}` is not supported")),
                }
            }
            _ => Err(format!("type `{data_type}` is not supported")),
        }
    }
}

fn digits(info: &ExactNumberInfo) -> Result<Modifier, String> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(Modifier::None),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u32::try_from(precision), u32::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale <= precision => {
            Ok(Modifier::Digits { precision, scale })
        }
        _ => Err(format!(
            "type `numeric({precision}, {scale})` is not supported: \
             at most 38 digits, and a scale between 0 and the precision"
        )),
    }
}
