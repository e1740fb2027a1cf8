//! The allocator that `SQLite` is given: its own one behind a counter of the thread.

// `SQLite` takes an allocator only as C functions.
#![allow(unsafe_code, reason = "see above; each block says why it holds")]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::allowance::{charge, give_back, has};

/// What each allocation costs beside its bytes.
const OVERHEAD: usize = 16;

/// The functions of the allocator that `SQLite` would use without this one.
#[derive(Clone, Copy)]
struct Inner {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    realloc: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
}

static INNER: OnceLock<Inner> = OnceLock::new();
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Makes `SQLite` heed allowances, and says whether it does.
///
/// It must come before anything else that this process asks of `SQLite`, which takes no other
/// allocator afterwards; whoever opens a connection calls it first. Further calls do nothing.
pub fn install() -> bool {
    *INSTALLED.get_or_init(|| {
        let mut methods = ffi::sqlite3_mem_methods {
            xMalloc: None,
            xFree: None,
            xRealloc: None,
            xSize: None,
            xRoundup: None,
            xInit: None,
            xShutdown: None,
            pAppData: std::ptr::null_mut(),
        };
        // SAFETY: with this option the function writes one `sqlite3_mem_methods` to the pointer
        // that follows, which leads to one that lives until it returns.
        let found = unsafe {
            ffi::sqlite3_config(
                ffi::SQLITE_CONFIG_GETMALLOC,
                std::ptr::from_mut(&mut methods),
            )
        };
        let (Some(malloc), Some(free), Some(realloc), Some(size)) = (
            methods.xMalloc,
            methods.xFree,
            methods.xRealloc,
            methods.xSize,
        ) else {
            return false;
        };
        let inner = Inner {
            malloc,
            free,
            realloc,
            size,
        };
        if found != ffi::SQLITE_OK || INNER.set(inner).is_err() {
            return false;
        }
        methods.xMalloc = Some(counted_malloc);
        methods.xFree = Some(counted_free);
        methods.xRealloc = Some(counted_realloc);
        // SAFETY: with this option the function copies one `sqlite3_mem_methods` from the pointer
        // that follows. The functions in it are `SQLite`'s own or those below, which keep the
        // contract of those they call. Once `SQLite` is in use it refuses and changes nothing.
        let set = unsafe {
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, std::ptr::from_mut(&mut methods))
        };
        set == ffi::SQLITE_OK
    })
}

fn cost(bytes: c_int) -> usize {
    usize::try_from(bytes).unwrap_or(0) + OVERHEAD
}

unsafe extern "C" fn counted_malloc(bytes: c_int) -> *mut c_void {
    let Some(inner) = INNER.get().filter(|_| has(cost(bytes))) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the caller asks for what the inner function may be asked for, and the size is asked
    // of a place that it has just given.
    unsafe {
        let place = (inner.malloc)(bytes);
        if !place.is_null() {
            charge(cost((inner.size)(place)));
        }
        place
    }
}

unsafe extern "C" fn counted_free(place: *mut c_void) {
    if let Some(inner) = INNER.get().filter(|_| !place.is_null()) {
        // SAFETY: the place is one that `counted_malloc` or `counted_realloc` gave, which are
        // those of the inner allocator, and the caller lets go of it.
        unsafe {
            give_back(cost((inner.size)(place)));
            (inner.free)(place);
        }
    }
}

unsafe extern "C" fn counted_realloc(place: *mut c_void, bytes: c_int) -> *mut c_void {
    let Some(inner) = INNER.get() else {
        return std::ptr::null_mut();
    };
    // SAFETY: as in `counted_free`; after a failure the place is still the caller's, and counted.
    unsafe {
        let before = (inner.size)(place);
        let more = usize::try_from(i64::from(bytes) - i64::from(before)).unwrap_or(0);
        if !has(more) {
            return std::ptr::null_mut();
        }
        let moved = (inner.realloc)(place, bytes);
        if !moved.is_null() {
            give_back(cost(before));
            charge(cost((inner.size)(moved)));
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, ErrorCode};

    use super::*;
    use crate::Allowance;

    fn length(connection: &Connection, bytes: i64) -> rusqlite::Result<i64> {
        let sql = "select length(hex(zeroblob(?1)))";
        connection.query_row(sql, [bytes / 2], |row| row.get(0))
    }

    #[test]
    fn sqlite_is_refused_what_is_not_left_and_goes_on() {
        assert!(install());
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(length(&connection, 1 << 20), Ok(1 << 20));
        let allowance = Allowance::new(4 << 20);
        let left = allowance.left();
        assert_eq!(length(&connection, 1 << 20), Ok(1 << 20));
        let error = length(&connection, 8 << 20).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::OutOfMemory));
        // What was taken came back, and the connection serves on.
        assert_eq!(length(&connection, 1 << 20), Ok(1 << 20));
        assert!(left.abs_diff(allowance.left()) < 64 << 10);
        // Others take what they want meanwhile.
        let other = std::thread::spawn(|| {
            let connection = Connection::open_in_memory().unwrap();
            length(&connection, 64 << 20)
        });
        assert_eq!(other.join().unwrap(), Ok(64 << 20));
        drop(allowance);
        assert_eq!(length(&connection, 8 << 20), Ok(8 << 20));
    }

    #[test]
    fn a_table_in_memory_ends_at_the_allowance() {
        assert!(install());
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("pragma temp_store = memory; create table t (x)")
            .unwrap();
        let _allowance = Allowance::new(8 << 20);
        let sql =
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000)
            select count(*) from (select distinct i, hex(zeroblob(50)) from n)";
        let error = connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::OutOfMemory));
    }
}
