//! Read-only connections to the catalog, and running statements on them.

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

use crate::budget::{Budget, Call, Cancel, Deadline, NO_MEMORY, STOPPED, use_memory};
use crate::catalog::{ANNOTATIONS_DEFINITION, ANNOTATIONS_VIEW, BEHIND_VIEWS, TABLES};
use crate::convert::write_json;
use crate::error::Error;
use crate::function;
use crate::parse::{self, parse};
use crate::translate::{Translation, translate};
use crate::value::json;

/// Maximum number of idle connections.
const MOST_IDLE: usize = 4;
/// Steps of `SQLite` between two checks of the time limit. A step may copy or compare a long value.
const STEPS: i32 = 500;
/// Maximum size of all parameters of a statement.
const MOST_PARAMETER_BYTES: usize = 1 << 20;
/// Maximum size of a row as text; every gRPC client accepts a message of this size.
const MOST_ROW_BYTES: usize = 4_000_000;
/// Page cache of a connection, in KiB.
const CACHE_KIB: i64 = 4 << 10;
/// Reserved address space; only deeply nested statements use it.
const STACK_BYTES: usize = 32 << 20;
/// How long a statement waits for a lock of the catalog.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The limits of one statement.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum running time.
    pub time: Duration,
    /// Maximum number of rows.
    pub rows: u64,
    /// Maximum memory of `SQLite` and the functions, in bytes.
    pub memory: usize,
    /// The value of `now()`, in nanoseconds since 1970.
    pub now_ns: i64,
}

/// The catalog as a database for statements.
///
/// Any number of threads may query at the same time; each statement has its own connection and sees
/// one state of the catalog.
#[derive(Debug)]
pub struct Database {
    uri: String,
    idle: Mutex<Vec<Connection>>,
}

impl Database {
    /// A database at `uri`, in the form that `SQLite` reads: `file:/directory/catalog.sqlite`, or
    /// the name of a database in memory. The first query opens it.
    pub fn new(uri: String) -> Self {
        pingthings_sqlite::install();
        Self {
            uri,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Runs the statement `text`, in which `$1` stands for the first of `parameters`, and calls
    /// `row` with each row as a JSON object, until `row` breaks.
    ///
    /// `cancel` ends the statement from another thread. The call refuses everything that is not
    /// supported before anything runs. It fails if a value cannot be computed, a limit is reached,
    /// or the catalog cannot be read; rows that were already returned stay valid.
    pub fn query(
        &self,
        text: &str,
        parameters: &[String],
        limits: &Limits,
        cancel: &Cancel,
        mut row: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        if !pingthings_sqlite::install() {
            // Statements do not run without a memory limit.
            return Err(Error::Memory(0));
        }
        check_size(text, parameters)?;
        let now_ns = limits.now_ns;
        let end = Deadline::new(limits.time, cancel.clone());
        let translation = on_deep_stack(|| translate(&parse(text)?, parameters, now_ns))?;
        let connection = match self.idle.lock().pop() {
            Some(connection) => connection,
            None => connect(&self.uri)?,
        };
        let budget = Budget::new(end.clone(), limits.memory);
        connection.progress_handler(STEPS, Some(move || end.is_reached()))?;
        let running = AssertUnwindSafe(|| run(&connection, &translation, limits, &mut row));
        let result = catch_unwind(running).unwrap_or_else(|panic| {
            // `rusqlite` panics if there is no memory for a text.
            if budget.is_spent() {
                return Err(Error::Memory(limits.memory));
            }
            resume_unwind(panic)
        });
        function::clear_compiled();
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

/// Refuses a statement that is too long, before any memory is allocated for it.
pub fn check_size(text: &str, parameters: &[String]) -> Result<(), Error> {
    parse::check_length(text)?;
    let bytes: usize = parameters.iter().map(String::len).sum();
    if bytes > MOST_PARAMETER_BYTES {
        return Err(Error::at(
            format!("the parameters are longer than {MOST_PARAMETER_BYTES} bytes in total"),
            None,
        ));
    }
    Ok(())
}

/// Runs `work` on a thread with a large stack: parsing, translating and dropping the deepest
/// allowed trees needs more than the stack of most threads.
pub(crate) fn on_deep_stack<T: Send>(
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("pingthings-sql".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| {
                Error::at(
                    format!("cannot start a thread for the statement: {error}"),
                    None,
                )
            })?
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
    // The text already contains the value of LIMIT.
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

/// The error of a statement that failed while it ran.
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

/// The error of a statement that `SQLite` rejected.
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
            format!("the database does not accept the statement: {problem}"),
            None,
        ),
        None if error.sqlite_error_code() == Some(ErrorCode::AuthorizationForStatementDenied) => {
            Error::at("the statement may not read this table or column", None)
        }
        None => failed(error, limits),
    }
}

/// Opens a connection that can only read the public views.
fn connect(uri: &str) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(LOCK_WAIT)?;
    // With temporary tables in memory, a statement only uses memory within its budget, and no file
    // grows without bounds. This has to precede the views, which the change would drop.
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
        // Fails here if the catalog lacks tables that the views read.
        connection.prepare(&format!("select * from {}", table.view))?;
    }
    connection.authorizer(Some(authorize))?;
    Ok(connection)
}

/// Allows reading the views and the tables behind them, JSON lists, and calling known functions.
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
                // Rows are counted without reading a column.
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
