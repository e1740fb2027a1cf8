//! Raw points, one and many.

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawPoint {
    /// Nanoseconds since the Unix epoch, UTC.
    pub time: i64,
    /// The measured value.
    pub value: f64,
}

/// Many measurements as two columns of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// Nanoseconds since the Unix epoch, UTC.
    pub times: Vec<i64>,
    /// The measured values.
    pub values: Vec<f64>,
}

impl Points {
    /// No points, with space reserved for `capacity` points.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            times: Vec::with_capacity(capacity),
            values: Vec::with_capacity(capacity),
        }
    }

    /// Number of points.
    pub const fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no point.
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Appends a point.
    pub fn push(&mut self, point: RawPoint) {
        self.times.push(point.time);
        self.values.push(point.value);
    }

    /// The points one by one.
    pub fn iter(&self) -> impl Iterator<Item = RawPoint> + '_ {
        self.times
            .iter()
            .zip(&self.values)
            .map(|(&time, &value)| RawPoint { time, value })
    }
}

impl FromIterator<RawPoint> for Points {
    fn from_iter<I: IntoIterator<Item = RawPoint>>(points: I) -> Self {
        let mut columns = Self::default();
        for point in points {
            columns.push(point);
        }
        columns
    }
}
