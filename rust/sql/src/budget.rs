//! What the statement that runs on this thread may still take: time and memory.
//!
//! `SQLite` looks at the clock only between its steps, and one step may call a function on a long
//! value. So the functions look too, before they take memory and in loops that may be long.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pingthings_sqlite::{Allowance, give_back, take};

/// The problem of a function that got no memory.
pub(crate) const NO_MEMORY: &str = "the statement wants too much memory";
/// The problem of a function whose statement must end.
pub(crate) const STOPPED: &str = "the statement was stopped";

/// Work that is short enough not to look at the clock.
const SMALL: usize = 4 << 10;

/// Ends a statement from another thread.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The statement ends within some thousand steps, and gives no further row.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// When a statement must end.
#[derive(Clone, Debug)]
pub(crate) struct End {
    started: Instant,
    time: Duration,
    cancel: Cancel,
}

impl End {
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
    static END: RefCell<Option<End>> = const { RefCell::new(None) };
    /// Taken by the call that runs, and given back when it returns.
    static IN_CALL: Cell<usize> = const { Cell::new(0) };
}

/// Holds this thread to the budget of one statement until it is dropped.
#[derive(Debug)]
pub(crate) struct Budget {
    memory: Allowance,
}

impl Budget {
    pub(crate) fn new(end: End, memory: usize) -> Self {
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

/// One call of a function: what it took for itself comes back when it is dropped.
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

/// Takes memory until the call at hand returns.
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

/// An error once the statement must end.
pub(crate) fn check_time() -> Result<(), String> {
    let is_reached = END.with_borrow(|end| end.as_ref().is_some_and(End::is_reached));
    if is_reached {
        return Err(STOPPED.to_owned());
    }
    Ok(())
}

/// Counts the rounds of a loop that may be long, and looks at the clock now and then.
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
    fn a_call_gives_back_what_it_used_and_not_what_it_keeps() {
        let end = End::new(Duration::from_mins(1), Cancel::default());
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
    fn a_loop_learns_that_its_statement_was_cancelled() {
        let cancel = Cancel::default();
        let _budget = Budget::new(End::new(Duration::from_mins(1), cancel.clone()), 0);
        let mut rounds = Rounds::default();
        for _ in 0..=SMALL {
            rounds.next().unwrap();
        }
        cancel.cancel();
        let stopped = (0..=SMALL).find_map(|_| rounds.next().err());
        assert_eq!(stopped.as_deref(), Some(STOPPED));
    }
}
