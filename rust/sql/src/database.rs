//! Connections to the catalog that can only read, and statements that run on them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};

use crate::catalog::{ANNOTATIONS_DEFINITION, ANNOTATIONS_VIEW, BEHIND_VIEWS, TABLES};
use crate::convert::write_json;
use crate::error::Error;
use crate::function;
use crate::parse::parse;
use crate::translate::{Translation, translate};
use crate::value::json;

/// Connections that are kept for the next statement.
const MOST_IDLE: usize = 4;
/// Steps of `SQLite` between two looks at the clock.
const STEPS: i32 = 2000;
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
    pub const fn new(uri: String) -> Self {
        Self {
            uri,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Runs the statement `text`, in which `$1` stands for the first of `parameters`, and gives
    /// each row to `row` as a JSON object, until `row` breaks off.
    ///
    /// Refuses what is not known here, before anything runs; fails when a value cannot be
    /// computed, when a limit is reached, and when the catalog cannot be read. Rows that were
    /// given before a failure stay given.
    pub fn query(
        &self,
        text: &str,
        parameters: &[String],
        limits: &Limits,
        mut row: impl FnMut(String) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let now_ns = limits.now_ns;
        let translation = on_deep_stack(|| translate(&parse(text)?, parameters, now_ns))?;
        let connection = match self.idle.lock().pop() {
            Some(connection) => connection,
            None => connect(&self.uri)?,
        };
        let started = Instant::now();
        let time = limits.time;
        connection.progress_handler(STEPS, Some(move || started.elapsed() > time))?;
        let result = run(&connection, &translation, limits, &mut row);
        connection.progress_handler(0, None::<fn() -> bool>)?;
        if !matches!(result, Err(Error::Database(_))) {
            let mut idle = self.idle.lock();
            if idle.len() < MOST_IDLE {
                idle.push(connection);
            }
        }
        result
    }
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
    let mut rows = statement.query(params_from_iter(bound))?;
    let mut count = 0;
    while let Some(values) = rows.next().map_err(|error| failed(error, limits))? {
        count += 1;
        if count > limits.rows {
            return Err(Error::Rows(limits.rows));
        }
        let mut object = String::from("{");
        for (index, column) in translation.columns.iter().enumerate() {
            if index > 0 {
                object.push(',');
            }
            json::escape(&column.name, &mut object);
            object.push(':');
            let value = values.get_ref(index)?;
            write_json(column.kind, value, &mut object).map_err(Error::Value)?;
        }
        object.push('}');
        if row(object).is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// The error of a statement that stopped.
fn failed(error: rusqlite::Error, limits: &Limits) -> Error {
    let code = error.sqlite_error_code();
    match (code, &error) {
        (Some(ErrorCode::OperationInterrupted), _) => Error::Time(limits.time),
        (
            Some(ErrorCode::Unknown | ErrorCode::TooBig | ErrorCode::ConstraintViolation),
            rusqlite::Error::SqliteFailure(_, Some(message)),
        ) => Error::Value(message.clone()),
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
    function::register(&connection)?;
    for table in &TABLES {
        connection.execute_batch(&table.definition())?;
    }
    connection.execute_batch(ANNOTATIONS_DEFINITION)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, 32 << 20),
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
