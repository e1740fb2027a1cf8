//! The exit of the interpreter. It waits until no other Python thread runs code of this module.
//!
//! `CPython` before 3.14 terminates a thread that requests the GIL of a finalizing interpreter,
//! wherever the thread is. If that is inside Rust, the process aborts. Rust often runs Python code,
//! which may release and request the GIL: to read a UUID, set the result of a future, or create an
//! exception.
//!
//! Every Python thread is therefore counted from before its arguments are converted until it
//! returns to Python, except while it waits without the GIL. The exit waits for the counted
//! threads. A thread that enters later, or returns from a wait, stays blocked for ever.

use std::{
    cell::Cell,
    ops::Deref,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use pyo3::{PyClass, prelude::*, pyclass::boolean_struct::True};

/// Whether the exit of the interpreter has begun.
static EXITING: AtomicBool = AtomicBool::new(false);
/// The thread on which the interpreter exits.
static EXIT_THREAD: OnceLock<ThreadId> = OnceLock::new();
/// The number of Python threads that are inside this module and hold or want the GIL.
static THREADS_INSIDE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How many calls of this module are on the stack of this thread. Python code that a call runs
    /// may call this module again.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether the exit of the interpreter has begun.
pub(crate) fn is_exiting() -> bool {
    EXITING.load(Ordering::SeqCst)
}

/// Whether the interpreter exits on another thread, so that this one must not request the GIL.
fn is_locked_out() -> bool {
    is_exiting() && EXIT_THREAD.get() != Some(&thread::current().id())
}

/// Begins the exit. From now on every other thread blocks when it enters or returns from a wait.
pub(crate) fn begin() {
    let _ = EXIT_THREAD.set(thread::current().id());
    EXITING.store(true, Ordering::SeqCst);
}

/// Waits until all other counted threads have left. Call it without the GIL, which they need.
pub(crate) fn wait_for_others(limit: Duration) {
    let own = usize::from(DEPTH.get() > 0);
    let begun = Instant::now();
    while THREADS_INSIDE.load(Ordering::SeqCst) > own && begun.elapsed() < limit {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Resets the count in the child of a fork, which has no thread but the one that forked.
pub(crate) fn forked() {
    THREADS_INSIDE.store(usize::from(DEPTH.get() > 0), Ordering::SeqCst);
}

fn count_in() {
    THREADS_INSIDE.fetch_add(1, Ordering::SeqCst);
}

fn count_out() {
    THREADS_INSIDE.fetch_sub(1, Ordering::SeqCst);
}

/// Blocks a thread that must not return to a finalizing interpreter.
fn park_forever() -> ! {
    loop {
        thread::park();
    }
}

/// Counts a Python thread as inside until it is dropped.
pub(crate) struct EntryGuard(());

impl EntryGuard {
    /// Counts this thread. Blocks for ever if the interpreter exits.
    pub(crate) fn enter(py: Python<'_>) -> Self {
        if DEPTH.get() == 0 {
            count_in();
        }
        DEPTH.set(DEPTH.get() + 1);
        let guard = Self(());
        guard.check_exit(py);
        guard
    }

    /// Blocks for ever if the exit of the interpreter has begun since [`EntryGuard::enter`].
    pub(crate) fn check_exit(&self, py: Python<'_>) {
        if is_locked_out() {
            self.without_gil(py, || park_forever());
        }
    }

    /// Runs `work` without the GIL and without being counted. Blocks for ever afterwards if the
    /// exit has begun meanwhile.
    #[allow(clippy::unused_self, reason = "only a counted thread may call this")]
    pub(crate) fn without_gil<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> T + Send,
    ) -> T {
        py.detach(|| {
            count_out();
            let _reenter = ReenterOnDrop;
            work()
        })
    }
}

impl Drop for EntryGuard {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            count_out();
        }
    }
}

/// Counts this thread again after a wait without the GIL. Blocks for ever if the interpreter exits.
fn reenter() {
    count_in();
    if is_locked_out() {
        count_out();
        park_forever();
    }
}

/// Calls [`reenter`] when it is dropped, also by a panic.
struct ReenterOnDrop;

impl Drop for ReenterOnDrop {
    fn drop(&mut self) {
        reenter();
    }
}

/// Takes the GIL for `work`, inside of [`EntryGuard::without_gil`].
pub(crate) fn with_gil<T>(work: impl for<'py> FnOnce(Python<'py>) -> T) -> T {
    reenter();
    let done = Python::try_attach(work);
    count_out();
    done.unwrap_or_else(|| park_forever())
}

/// The receiver of a method. It counts the calling thread as inside.
///
/// `PyO3` creates it before it extracts the arguments, and drops it last.
pub(crate) struct Receiver<'py, T: PyClass> {
    object: Bound<'py, T>,
    pub(crate) guard: EntryGuard,
}

impl<'py, T: PyClass> From<&Bound<'py, T>> for Receiver<'py, T> {
    fn from(object: &Bound<'py, T>) -> Self {
        let guard = EntryGuard::enter(object.py());
        Self {
            object: object.clone(),
            guard,
        }
    }
}

impl<T: PyClass<Frozen = True> + Sync> Deref for Receiver<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object.get()
    }
}

/// The first argument of a function without a receiver. It counts the calling thread as inside.
pub(crate) struct FirstArgument<T> {
    pub(crate) value: T,
    pub(crate) guard: EntryGuard,
}

impl<'a, 'py, T: FromPyObject<'a, 'py>> FromPyObject<'a, 'py> for FirstArgument<T> {
    type Error = T::Error;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, T::Error> {
        let guard = EntryGuard::enter(object.py());
        let value = T::extract(object)?;
        Ok(Self { value, guard })
    }
}
