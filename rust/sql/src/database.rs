//! Connections to the catalog that can only read, and statements that run on them.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use crate::budget::{Budget, Call, Cancel, End, NO_MEMORY, STOPPED, use_memory};
use crate::catalog::{ANNOTATIONS_DEFINITION, ANNOTATIONS_VIEW, BEHIND_VIEWS, TABLES};
use crate::convert::write_json;
use crate::error::Error;
use crate::function;
use crate::parse::{self, parse};
use crate::translate::{Translation, translate};
use crate::value::json;

/// Connections that are kept for the next statement.
const MOST_IDLE: usize = 4;
/// Steps of `SQLite` between two looks at the clock. A step may copy or compare a long value.
const STEPS: i32 = 500;
/// Parameters of one statement, all together.
const MOST_PARAMETER_BYTES: usize = 1 << 20;
/// The text of a row: a message of this size passes every client of gRPC.
const MOST_ROW_BYTES: usize = 4_000_000;
/// Pages that a connection keeps of the catalog, in KiB.
const CACHE_KIB: i64 = 4 << 10;
/// Reserved, and used only by statements that nest deeply.
const STACK_BYTES: usize = 32 << 20;
/// How long a statement waits for a lock of the catalog.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What one statement may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest it may run.
    pub time: Duration,
    /// The most rows it may give.
    pub rows: u64,
    /// The most bytes that `SQLite` and the functions may take for it.
    pub memory: usize,
    /// The instant of `now()`, in nanoseconds since 1970.
    pub now_ns: i64,
}

/// The catalog as statements see it.
///
/// Any number of threads may query at the same time; each statement has a connection of its own
/// and sees one state of the catalog.
#[derive(Debug)]
pub struct Database {
    uri: String,
    idle: Mutex<Vec<Connection>>,
}

impl Database {
    /// A database at `uri`, in the form that `SQLite` reads: `file:/directory/catalog.sqlite`, or
    /// the name of a database in memory. Nothing is opened before the first query.
    pub fn new(uri: String) -> Self {
        pingthings_sqlite::install();
        Self {
            uri,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Runs the statement `text`, in which `$1` stands for the first of `parameters`, and gives
    /// each row to `row` as a JSON object, until `row` breaks off.
    ///
    /// `cancel` ends it from another thread. Refuses what is not known here, before anything runs; fails when a value cannot be
    /// computed, when a limit is reached, and when the catalog cannot be read. Rows that were
    /// given before a failure stay given.
    pub fn query(
        &self,
        text: &str,
        parameters: &[String],
        limits: &Limits,
        cancel: &Cancel,
        mut row: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if !pingthings_sqlite::install() {
            // Without a limit of memory none is run.
            return Err(Error::Memory(0));
        }
        check_size(text, parameters)?;
        let now_ns = limits.now_ns;
        let end = End::new(limits.time, cancel.clone());
        let translation = on_deep_stack(|| translate(&parse(text)?, parameters, now_ns))?;
        let connection = match self.idle.lock().pop() {
            Some(connection) => connection,
            None => connect(&self.uri)?,
        };
        let budget = Budget::new(end.clone(), limits.memory);
        connection.progress_handler(STEPS, Some(move || end.is_reached()))?;
        let running = AssertUnwindSafe(|| run(&connection, &translation, limits, &mut row));
        let result = catch_unwind(running).unwrap_or_else(|panic| {
            // The bindings take it for a fault when a text cannot be given for want of memory.
            if budget.is_spent() {
                return Err(Error::Memory(limits.memory));
            }
            resume_unwind(panic)
        });
        function::forget();
        connection.progress_handler(0, None::<fn() -> bool>)?;
        if !matches!(result, Err(Error::Database(_) | Error::Memory(_))) {
            let mut idle = self.idle.lock();
            if idle.len() < MOST_IDLE {
                idle.push(connection);
            }
        }
        match result {
            Err(Error::Time(_)) if cancel.is_cancelled() => Err(Error::Cancelled),
            other => other,
        }
    }
}

/// Refuses a statement that is too long to be looked at, before anything is kept for it.
pub fn check_size(text: &str, parameters: &[String]) -> Result<(), Error> {
    parse::check_length(text)?;
    let bytes: usize = parameters.iter().map(String::len).sum();
    if bytes > MOST_PARAMETER_BYTES {
        return Err(Error::at(
            format!("the parameters are longer than {MOST_PARAMETER_BYTES} bytes together"),
            None,
        ));
    }
    Ok(())
}

/// Runs `work` where trees as deep as the limits allow have room: to parse, translate and drop them
/// takes more than the stack that most threads have.
pub(crate) fn on_deep_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("pingthings-sql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| Error::at(format!("no thread to read the statement: {error}"), None))?
            .join()
            .unwrap_or_else(|_| Err(Error::at("the statement cannot be read", None)))
    })
}

fn run(
    connection: &Connection,
    translation: &Translation,
    limits: &Limits,
    row: &mut impl FnMut(String) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut statement = connection
        .prepare(&translation.sql)
        .map_err(|error| not_prepared(error, limits))?;
    // What stands in LIMIT is in the text already.
    let bound = translation.values.iter().take(statement.parameter_count());
    let mut rows = statement
        .query(params_from_iter(bound))
        .map_err(|error| failed(error, limits))?;
    let mut count = 0;
    while let Some(values) = rows.next().map_err(|error| failed(error, limits))? {
        count += 1;
        if count > limits.rows {
            return Err(Error::Rows(limits.rows));
        }
        let _call = Call::begin();
        let mut object = String::from("{");
        for (index, column) in translation.columns.iter().enumerate() {
            if index > 0 {
                object.push(',');
            }
            json::escape(&column.name, &mut object);
            object.push(':');
            let value = values.get_ref(index)?;
            if let ValueRef::Text(bytes) = value {
                use_memory(bytes.len() * 2).map_err(|problem| stopped(problem, limits))?;
            }
            write_json(column.kind, value, &mut object)
                .map_err(|problem| stopped(problem, limits))?;
            if object.len() >= MOST_ROW_BYTES {
                return Err(Error::Row(MOST_ROW_BYTES));
            }
        }
        object.push('}');
        if row(object).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// The error of a function that failed.
fn stopped(problem: String, limits: &Limits) -> Error {
    match problem.as_str() {
        NO_MEMORY => Error::Memory(limits.memory),
        STOPPED => Error::Time(limits.time),
        _ => Error::Value(problem),
    }
}

/// The error of a statement that stopped.
fn failed(error: rusqlite::Error, limits: &Limits) -> Error {
    let code = error.sqlite_error_code();
    match (code, &error) {
        (Some(ErrorCode::OperationInterrupted), _) => Error::Time(limits.time),
        (Some(ErrorCode::OutOfMemory), _) => Error::Memory(limits.memory),
        (
            Some(ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::ConstraintViolation),
            rusqlite::Error::SqliteFailure(_, Some(message)),
        ) => stopped(message.clone(), limits),
        _ => Error::Database(Arc::new(error)),
    }
}

/// The error of a statement that `SQLite` did not take.
fn not_prepared(error: rusqlite::Error, limits: &Limits) -> Error {
    let problem = match &error {
        rusqlite::Error::SqlInputError { msg, .. } => Some(msg.clone()),
        rusqlite::Error::SqliteFailure(_, Some(message))
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::Unknown | ErrorCode::TooBig)
            ) =>
        {
            Some(message.clone())
        }
        _ => None,
    };
    match problem {
        Some(problem) => Error::at(
            format!("the database does not take the statement: {problem}"),
            None,
        ),
        None if error.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) => {
            Error::at("the statement reads what it may not read", None)
        }
        None => failed(error, limits),
    }
}

/// Opens a connection that reads the public views and nothing else.
fn connect(uri: &str) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    // All that a statement takes is memory within its budget; no file grows without bounds.
    // Before the views, which the change would drop.
    connection.pragma_update(None, "temp_store", "memory")?;
    function::register(&connection)?;
    for table in &TABLES {
        connection.execute_batch(&table.definition())?;
    }
    connection.execute_batch(ANNOTATIONS_DEFINITION)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, 16 << 20),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 2 << 20),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    for table in &TABLES {
        // A catalog without the tables behind the views is found out here.
        connection.prepare(&format!("select * from {}", table.view))?;
    }
    connection.authorizer(Some(authorize))?;
    Ok(connection)
}

/// Allows reading the views, what the views read, lists, and the functions that are known.
fn authorize(context: AuthContext<'_>) -> Authorization {
    let is_view =
        |name: &str| name == ANNOTATIONS_VIEW || TABLES.iter().any(|table| table.view == name);
    let is_allowed = match context.action {
        AuthAction::Select => true,
        AuthAction::Read {
            table_name,
            column_name,
        } => {
            is_view(table_name)
                || table_name == "json_each"
                || context.accessor.is_some_and(is_view)
                // Rows are counted, no column is read.
                || (column_name.is_empty() && BEHIND_VIEWS.contains(&table_name))
        }
        AuthAction::Function { function_name } => function::is_known(function_name),
        _ => false,
    };
    if is_allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}
