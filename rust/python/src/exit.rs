//! The end of the interpreter, which must find no other thread of Python inside this module.
//!
//! Python before 3.14 ends a thread that asks for the GIL of an interpreter that is ending, and
//! tears it out of whatever it is in; if that is Rust, the process aborts. Any Python code may let
//! the GIL go, and much of what we do runs some: the fields of a UUID, a future's result, an
//! exception's class. So every thread that comes in is counted before its arguments are looked at,
//! and until it is out again, except while it waits without the GIL. The end waits for those that
//! are counted, and whoever comes after it, or back from a wait, never sets out.

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

/// Whether the interpreter is on its way out.
static STOPPED: AtomicBool = AtomicBool::new(false);
/// The thread that ends the interpreter.
static LAST: OnceLock<ThreadId> = OnceLock::new();
/// Threads that are inside and not waiting.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// How often this thread is inside: what we call may call us.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Whether the interpreter is on its way out.
pub(crate) fn is_stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}

/// Whether the interpreter is ending, which other threads than the one that ends it do not outlive.
fn is_over_for_this_thread() -> bool {
    is_stopped() && LAST.get() != Some(&thread::current().id())
}

/// From now on nobody but this thread comes in, or back.
pub(crate) fn begin() {
    let _ = LAST.set(thread::current().id());
    STOPPED.store(true, Ordering::SeqCst);
}

/// Waits for those who are inside. To be called without the GIL, which they need.
pub(crate) fn wait_for_others(limit: Duration) {
    let own = usize::from(DEPTH.get() > 0);
    let begun = Instant::now();
    while INSIDE.load(Ordering::SeqCst) > own && begun.elapsed() < limit {
        thread::sleep(Duration::from_millis(1));
    }
}

/// In the child of a fork: those who were inside are not here.
pub(crate) fn forked() {
    INSIDE.store(usize::from(DEPTH.get() > 0), Ordering::SeqCst);
}

fn count() {
    INSIDE.fetch_add(1, Ordering::SeqCst);
}

fn discount() {
    INSIDE.fetch_sub(1, Ordering::SeqCst);
}

/// What a daemon thread does when nobody is left who could be told anything.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// The presence of a thread of Python.
pub(crate) struct Inside(());

impl Inside {
    /// Does not return if the interpreter is ending.
    pub(crate) fn enter(py: Python<'_>) -> Self {
        if DEPTH.get() == 0 {
            count();
        }
        DEPTH.set(DEPTH.get() + 1);
        let inside = Self(());
        inside.stay(py);
        inside
    }

    /// Does not return if the interpreter began to end since.
    pub(crate) fn stay(&self, py: Python<'_>) {
        if is_over_for_this_thread() {
            self.away(py, || wait_for_the_end());
        }
    }

    /// Does something long without the GIL; does not return if the interpreter ends meanwhile.
    #[allow(clippy::unused_self, reason = "only who is inside can be away")]
    pub(crate) fn away<T: Send>(&self, py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
        py.detach(|| {
            discount();
            let _back = Back;
            work()
        })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        if depth == 0 {
            discount();
        }
    }
}

/// From a wait without the GIL; does not return if the interpreter is ending.
fn come_back() {
    count();
    if is_over_for_this_thread() {
        discount();
        wait_for_the_end();
    }
}

/// Comes back, also by a panic.
struct Back;

impl Drop for Back {
    fn drop(&mut self) {
        come_back();
    }
}

/// Takes the GIL for a moment, in the middle of [`Inside::away`].
pub(crate) fn attached<T>(work: impl for<'py> FnOnce(Python<'py>) -> T) -> T {
    come_back();
    let done = Python::try_attach(work);
    discount();
    done.unwrap_or_else(|| wait_for_the_end())
}

/// The receiver of a method: the object, for a thread that is inside.
///
/// It is made before the arguments are extracted, and dropped when all else is.
pub(crate) struct Entered<'py, T: PyClass> {
    object: Bound<'py, T>,
    pub(crate) inside: Inside,
}

impl<'py, T: PyClass> From<&Bound<'py, T>> for Entered<'py, T> {
    fn from(object: &Bound<'py, T>) -> Self {
        let inside = Inside::enter(object.py());
        Self {
            object: object.clone(),
            inside,
        }
    }
}

impl<T: PyClass<Frozen = True> + Sync> Deref for Entered<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.object.get()
    }
}

/// The first argument of a function that has no receiver.
pub(crate) struct First<T> {
    pub(crate) value: T,
    pub(crate) inside: Inside,
}

impl<'a, 'py, T: FromPyObject<'a, 'py>> FromPyObject<'a, 'py> for First<T> {
    type Error = T::Error;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, T::Error> {
        let inside = Inside::enter(object.py());
        let value = T::extract(object)?;
        Ok(Self { value, inside })
    }
}
