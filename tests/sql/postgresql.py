"""A PostgreSQL for the tests, on a socket in a directory of its own."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pingthings.timeseries.answers import as_object

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
USER = "postgres"  # Debian's package makes it; the server refuses to run as root
PATIENCE_S = 60

SCHEMA = """
create extension hstore;
create table streams (
    uuid uuid, collection varchar(256), name varchar(256), unit varchar(256),
    ingress varchar(256), property_version bigint, annotations hstore, distiller varchar(256),
    created_at timestamptz, updated_at timestamptz, geo text, last_written timestamptz,
    previous_last_written timestamptz, estimated_count_delta bigint,
    long_term_autoregressive_average double precision, count_last_updated timestamptz,
    previous_count_last_updated timestamptz, watched boolean
);
create table devices (id bigint, name text, fields jsonb);
create table units (id bigint, name text, fields jsonb);
create table collections (
    name varchar(256), streams bigint, remove_older_than_ns bigint, override_per_stream boolean
);
"""


def is_installed() -> bool:
    return (PROGRAMS / "postgres").exists()


def _as_user(program: str) -> list[str]:
    path = str(PROGRAMS / program)
    if os.geteuid() != 0:
        return [path]
    return ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--", path]


def literal(value: Any) -> str:
    """A value as a constant, texts of any type without one."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return str(value).lower()
    text = value if isinstance(value, str) else json.dumps(value)
    return "'" + text.replace("'", "''") + "'"


def hstore(pairs: dict[str, str | None]) -> str:
    parts = [f"hstore({literal(key)}, {literal(value)})" for key, value in pairs.items()]
    return " || ".join(["''::hstore", *parts])


class PostgreSQL:
    """A server while it is entered."""

    def __enter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp())
        data = self.directory / "data"
        data.mkdir()
        if os.geteuid() == 0:
            for path in (self.directory, data):
                shutil.chown(path, USER)
        options = ["-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D"]
        subprocess.run(
            [*_as_user("initdb"), *options, str(data)], check=True, stdout=subprocess.DEVNULL
        )
        settings = ["listen_addresses=", "fsync=off", "timezone=UTC"]
        self.server = subprocess.Popen(
            [
                *_as_user("postgres"),
                *("-D", str(data), "-k", str(self.directory)),
                *(word for setting in settings for word in ("-c", setting)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while self.run("select 1") is None:
            assert time.monotonic() < deadline, "PostgreSQL does not start"
        assert self.run(SCHEMA) is not None
        return self

    def __exit__(self, *_: object) -> None:
        pid = (self.directory / "data" / "postmaster.pid").read_text().split()[0]
        subprocess.run(["kill", "-QUIT", pid], check=True)  # the server is another user's
        self.server.wait(timeout=PATIENCE_S)
        shutil.rmtree(self.directory)

    def run(self, script: str) -> str | None:
        """What a script prints; None if it fails."""
        result = subprocess.run(
            [
                str(PROGRAMS / "psql"),
                *("-XAtq", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", "postgres"),
                *("-h", str(self.directory), "-f", "-"),
            ],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        return result.stdout if result.returncode == 0 else None

    def insert(self, table: str, row: dict[str, Any]) -> None:
        values = [
            hstore(value) if key == "annotations" else literal(value) for key, value in row.items()
        ]
        script = f"insert into {table} ({', '.join(row)}) values ({', '.join(values)});"  # noqa: S608 - the tests' own
        assert self.run(script) is not None, script

    def answers(self, statements: Sequence[str]) -> list[list[Any] | None]:
        """The rows of many statements; None for each that fails."""
        script = "".join(
            f"\\echo @@@{index}\n"
            f"select row_to_json(q)::text from (\n{statement}\n) q;\n"
            "\\echo :ERROR\n"
            for index, statement in enumerate(statements)
        )
        result = subprocess.run(
            [
                str(PROGRAMS / "psql"),
                *("-XAtq", "-U", USER, "-d", "postgres", "-h", str(self.directory), "-f", "-"),
            ],
            input=script,
            capture_output=True,
            text=True,
            check=True,
        )
        found: list[list[Any] | None] = []
        for block in result.stdout.split("@@@")[1:]:
            _, *lines, failed = block.splitlines()
            found.append(None if failed == "true" else [as_object(line, "it") for line in lines])
        return found

    def rows(self, statement: str, parameters: Sequence[str]) -> list[Any] | None:
        """The rows of a statement, its parameters of no type; None if it fails."""
        call = f"({', '.join(map(literal, parameters))})" if parameters else ""
        wrapped = f"select row_to_json(q)::text from (\n{statement}\n) q"  # noqa: S608 - the tests' own
        output = self.run(f"prepare p as {wrapped};\nexecute p{call};\n")
        return (
            None if output is None else [as_object(line, "it") for line in output.split("\n")[:-1]]
        )
