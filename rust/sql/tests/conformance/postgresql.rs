//! A `PostgreSQL` server for one test, on a socket in its own directory.

#![allow(clippy::unwrap_used, reason = "a failing setup panics in place")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::catalog::{fixture, list};
use crate::statements::Statement;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// The server refuses to run as root; the Debian package creates this user.
const USER: &str = "postgres";
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct PostgreSql {
    directory: TempDir,
    server: Child,
}

/// The documented tables.
const SCHEMA: &str = "
create extension hstore;
create table streams (
    uuid uuid, collection varchar(256), name varchar(256), unit varchar(256),
    ingress varchar(256), property_version bigint, annotations hstore, distiller varchar(256),
    created_at timestamptz, updated_at timestamptz, geo text, last_written timestamptz,
    previous_last_written timestamptz, estimated_count_delta bigint,
    long_term_autoregressive_average double precision, count_last_updated timestamptz,
    previous_count_last_updated timestamptz, watched boolean
);
create table retention (collection text, keep_ns bigint, overrides boolean);
create table devices (id bigint, name text, fields jsonb);
create table units (id bigint, name text, fields jsonb);
create view collections as
    select s.collection as name, count(*) as streams, r.keep_ns as remove_older_than_ns,
        r.overrides as override_per_stream
    from streams s left join retention r on r.collection = s.collection group by 1, 3, 4;
";

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}

/// A program of `PostgreSQL`, run as a user that it accepts.
fn program(name: &str) -> Command {
    let path = Path::new(PROGRAMS).join(name);
    if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--"])
            .arg(path);
        command
    } else {
        Command::new(path)
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text(value: &Value, key: &str) -> String {
    quoted(value[key].as_str().unwrap())
}

/// The fixture as statements.
fn rows() -> String {
    let fixture = fixture();
    let mut sql = String::new();
    for stream in list(&fixture, "streams") {
        let pairs: Vec<String> = stream["annotations"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| {
                let value = value.as_str().map_or("null".to_owned(), quoted);
                format!(" || hstore({}, {value})", quoted(key))
            })
            .collect();
        let _infallible = writeln!(
            sql,
            "insert into streams (uuid, collection, name, unit, ingress, distiller, \
             property_version, annotations, created_at, updated_at, last_written) values \
             ({}, {}, {}, {}, {}, {}, {}, ''::hstore{}, {}, {}, {});",
            text(stream, "uuid"),
            text(stream, "collection"),
            text(stream, "name"),
            text(stream, "unit"),
            text(stream, "ingress"),
            text(stream, "distiller"),
            stream["property_version"],
            pairs.concat(),
            text(stream, "created"),
            text(stream, "updated"),
            text(stream, "written"),
        );
    }
    for row in list(&fixture, "retention") {
        let _infallible = writeln!(
            sql,
            "insert into retention values ({}, {}, {});",
            text(row, "collection"),
            row["keep_ns"],
            row["override"]
        );
    }
    for table in ["devices", "units"] {
        for row in list(&fixture, table) {
            let _infallible = writeln!(
                sql,
                "insert into {table} values ({}, {}, {});",
                row["id"],
                text(row, "name"),
                quoted(&row["fields"].to_string())
            );
        }
    }
    sql
}

impl PostgreSql {
    /// `None` if it is not installed; an error if `CI` requires every test.
    pub(crate) fn start() -> Option<Self> {
        if !Path::new(PROGRAMS).join("postgres").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL 15 is missing: install postgresql-15"
            );
            return None;
        }
        let directory = TempDir::new().unwrap();
        let data = directory.path().join("data");
        fs::create_dir(&data).unwrap();
        if is_root() {
            let status = Command::new("chown")
                .args(["-R", USER])
                .arg(directory.path())
                .status()
                .unwrap();
            assert!(status.success());
        }
        let made = program("initdb")
            .args([
                "-A",
                "trust",
                "-U",
                USER,
                "-E",
                "UTF8",
                "--locale=C.UTF-8",
                "-N",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let server = program("postgres")
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "timezone=UTC",
            ])
            .arg("-k")
            .arg(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { directory, server };
        let start = Instant::now();
        while server.run("select 1").is_err() {
            assert!(start.elapsed() < PATIENCE, "PostgreSQL does not start");
            std::thread::yield_now();
        }
        server.run(&format!("{SCHEMA}{}", rows())).unwrap();
        Some(server)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().to_path_buf()
    }

    fn run(&self, script: &str) -> Result<String, String> {
        let mut client = Command::new(Path::new(PROGRAMS).join("psql"))
            .args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                USER,
                "-d",
                "postgres",
                "-h",
            ])
            .arg(self.socket())
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = client.stdin.take().unwrap();
        // The client may stop reading after the first error.
        let _closed_early = input.write_all(script.as_bytes());
        drop(input);
        let output = client.wait_with_output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The rows of a statement as JSON; its parameters have no type.
    pub(crate) fn rows(&self, statement: &Statement) -> Result<Vec<String>, String> {
        let call = if statement.parameters.is_empty() {
            String::new()
        } else {
            let list: Vec<String> = statement.parameters.iter().map(|own| quoted(own)).collect();
            format!("({})", list.join(", "))
        };
        let script = format!(
            "prepare p as select row_to_json(q)::text from (\n{}\n) q;\nexecute p{call};\n",
            statement.sql
        );
        let output = self.run(&script)?;
        Ok(output.lines().map(str::to_owned).collect())
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.directory.path().join("data/postmaster.pid"));
        let pid = pid.unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            // Stops the server immediately.
            let _gone = Command::new("kill").args(["-QUIT", pid]).status();
        }
        let _waited = self.server.wait();
    }
}
