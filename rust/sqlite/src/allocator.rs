//! An allocator for `SQLite`: its own allocator behind a counter per thread.

// `SQLite` accepts an allocator only as C functions.
#![allow(unsafe_code, reason = "see above; each block says why it is sound")]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::allowance::{charge, give_back, has};

/// Overhead that is charged for each allocation, in bytes.
const OVERHEAD: usize = 16;

/// The functions of `SQLite`'s default allocator.
#[derive(Clone, Copy)]
struct Inner {
    malloc: unsafe extern "C" fn(c_int) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    realloc: unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void,
    size: unsafe extern "C" fn(*mut c_void) -> c_int,
}

static INNER: OnceLock<Inner> = OnceLock::new();
static INSTALLED: OnceLock<bool> = OnceLock::new();

/// Makes `SQLite` respect allowances; returns whether it does.
///
/// This must be the first use of `SQLite` in the process, because `SQLite` accepts no other
/// allocator once it is in use. So everyone who opens a connection calls it first. Further calls do
/// nothing.
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
        // SAFETY: with this option the function writes one `sqlite3_mem_methods` to the pointer,
        // whose target lives until the function returns.
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
        // SAFETY: with this option the function copies one `sqlite3_mem_methods` from the pointer.
        // The functions in it are `SQLite`'s own or those below, which keep the contract of those
        // they call. Once `SQLite` is in use it refuses the option and changes nothing.
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
    // SAFETY: the arguments are valid for the inner function, and the size is requested of an
    // allocation that it has just returned.
    unsafe {
        let pointer = (inner.malloc)(bytes);
        if !pointer.is_null() {
            charge(cost((inner.size)(pointer)));
        }
        pointer
    }
}

unsafe extern "C" fn counted_free(pointer: *mut c_void) {
    if let Some(inner) = INNER.get().filter(|_| !pointer.is_null()) {
        // SAFETY: the pointer came from `counted_malloc` or `counted_realloc`, so from the inner
        // allocator, and the caller gives it up.
        unsafe {
            give_back(cost((inner.size)(pointer)));
            (inner.free)(pointer);
        }
    }
}

unsafe extern "C" fn counted_realloc(pointer: *mut c_void, bytes: c_int) -> *mut c_void {
    let Some(inner) = INNER.get() else {
        return std::ptr::null_mut();
    };
    // SAFETY: as in `counted_free`; after a failure the caller still owns the allocation, and it
    // stays counted.
    unsafe {
        let before = (inner.size)(pointer);
        let more = usize::try_from(i64::from(bytes) - i64::from(before)).unwrap_or(0);
        if !has(more) {
            return std::ptr::null_mut();
        }
        let moved = (inner.realloc)(pointer, bytes);
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
    fn sqlite_is_refused_memory_beyond_the_allowance_and_continues() {
        assert!(install());
        let connection = Connection::open_in_memory().unwrap();
        assert_eq!(length(&connection, 1 << 20), Ok(1 << 20));
        let allowance = Allowance::new(4 << 20);
        let left = allowance.left();
        assert_eq!(length(&connection, 1 << 20), Ok(1 << 20));
        let error = length(&connection, 8 << 20).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::OutOfMemory));
        // The memory was released, and the connection still works.
        assert_eq!(length(&connection, 1 << 20), Ok(1 << 20));
        assert!(left.abs_diff(allowance.left()) < 64 << 10);
        // Other threads are not limited meanwhile.
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
