//! Types shared by the client, the server and the storage engine.
//!
//! Arithmetic on times, ranges, widths and statistics, and the numbers of the protocol: versions,
//! merge policies and status codes. No I/O, no serialisation, no async runtime. Client, server and
//! storage compute the same results because they all use this code.

mod code;
mod merge;
mod point;
mod point_width;
mod range;
mod stat;
mod time;
mod version;
mod window;
mod write_order;

pub use code::Code;
pub use merge::{MergePolicy, UnknownPolicy};
pub use point::{Points, RawPoint};
pub use point_width::PointWidth;
pub use range::{RangeError, TimeRange};
pub use stat::Stat;
pub use time::{MAX_INSERT_TIME, MAX_TIME, MIN_TIME, check_insert_time};
pub use version::{FIRST_MAJOR, LATEST, Version};
pub use window::{AlignedWindows, PreciseWindows, StatPoint, WidthError, Windows};
pub use write_order::WriteOrder;
