//! Devices and units: numbered rows with a name and whatever else their owner wants to keep.

use std::fmt;

/// What a record is of.
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
    /// Its number, given when it was created and never again.
    pub id: i64,
    /// Its name, which no other of its kind has.
    pub name: String,
    /// All its further keys as the text of a JSON object, in the order and form they were given.
    pub fields: String,
}
