//! Devices and units: numbered records with a name and arbitrary further fields.

use std::fmt;

/// What a record describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A measuring device.
    Device,
    /// A unit of measurement.
    Unit,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::Unit => "unit",
        })
    }
}

/// A device or a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, assigned on creation and never reused.
    pub id: i64,
    /// Its name, unique within the kind.
    pub name: String,
    /// All other keys as the text of a JSON object, in the order and form in which they were given.
    pub fields: String,
}
