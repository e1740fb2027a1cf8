//! The time and memory limits of the statement that runs on this thread.
//!
//! `SQLite` checks the time limit only between its steps, and one step may call a function with a
//! long value. So functions also check, before they take memory and in long loops.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pingthings_sqlite::{Allowance, give_back, take};

/// The error text of a function that was refused memory.
pub(crate) const NO_MEMORY: &str = "the statement needs too much memory";
/// The error text of a function whose statement must end.
pub(crate) const STOPPED: &str = "the statement was stopped";

/// Work up to this many bytes is too short to check the time.
const SMALL: usize = 4 << 10;

/// Cancels a statement from another thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the statement within some thousand steps; it returns no further row.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The deadline of a statement.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    started: Instant,
    time: Duration,
    cancel: Cancel,
}

impl Deadline {
    pub(crate) fn new(time: Duration, cancel: Cancel) -> Self {
        Self {
            started: Instant::now(),
            time,
            cancel,
        }
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.cancel.is_cancelled() || self.started.elapsed() > self.time
    }
}

thread_local! {
    static END: RefCell<Option<Deadline>> = const { RefCell::new(None) };
    /// Bytes that the running function call took, returned when it ends.
    static IN_CALL: Cell<usize> = const { Cell::new(0) };
}

/// Applies the limits of one statement to this thread until it is dropped.
#[derive(Debug)]
pub(crate) struct Budget {
    memory: Allowance,
}

impl Budget {
    pub(crate) fn new(end: Deadline, memory: usize) -> Self {
        END.set(Some(end));
        IN_CALL.set(0);
        Self {
            memory: Allowance::new(memory),
        }
    }
}

impl Budget {
    /// Whether memory was refused.
    pub(crate) fn is_spent(&self) -> bool {
        self.memory.was_refused()
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        END.set(None);
    }
}

/// One call of a function; dropping it returns the memory that the call took for itself.
pub(crate) struct Call;

impl Call {
    pub(crate) fn begin() -> Self {
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        give_back(IN_CALL.replace(0));
    }
}

/// Takes memory until the current call ends.
pub(crate) fn use_memory(bytes: usize) -> Result<(), String> {
    if bytes > SMALL {
        check_time()?;
    }
    keep_memory(bytes)?;
    IN_CALL.set(IN_CALL.get() + bytes);
    Ok(())
}

/// Takes memory until [`give_back`].
pub(crate) fn keep_memory(bytes: usize) -> Result<(), String> {
    if take(bytes) {
        Ok(())
    } else {
        Err(NO_MEMORY.to_owned())
    }
}

/// Fails once the statement must end.
pub(crate) fn check_time() -> Result<(), String> {
    let is_reached = END.with_borrow(|end| end.as_ref().is_some_and(Deadline::is_reached));
    if is_reached {
        return Err(STOPPED.to_owned());
    }
    Ok(())
}

/// Counts the rounds of a loop that may be long, and checks the time limit now and then.
#[derive(Debug, Default)]
pub(crate) struct Rounds(usize);

impl Rounds {
    pub(crate) fn next(&mut self) -> Result<(), String> {
        self.0 += 1;
        if self.0.is_multiple_of(SMALL) {
            check_time()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_returns_what_it_used_and_not_what_it_keeps() {
        let end = Deadline::new(Duration::from_mins(1), Cancel::default());
        let budget = Budget::new(end, 1000);
        {
            let _call = Call::begin();
            use_memory(400).unwrap();
            keep_memory(300).unwrap();
            assert_eq!(use_memory(400).unwrap_err(), NO_MEMORY);
            assert_eq!(budget.memory.left(), 300);
        }
        assert_eq!(budget.memory.left(), 700);
        give_back(300);
        assert_eq!(budget.memory.left(), 1000);
    }

    #[test]
    fn a_loop_stops_when_its_statement_is_cancelled() {
        let cancel = Cancel::default();
        let _budget = Budget::new(Deadline::new(Duration::from_mins(1), cancel.clone()), 0);
        let mut rounds = Rounds::default();
        for _ in 0..=SMALL {
            rounds.next().unwrap();
        }
        cancel.cancel();
        let stopped = (0..=SMALL).find_map(|_| rounds.next().err());
        assert_eq!(stopped.as_deref(), Some(STOPPED));
    }
}
