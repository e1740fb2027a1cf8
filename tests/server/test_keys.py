"""`pingthings key`, and what a server makes of its file."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries.exceptions import AuthenticationError, BTrDBError

Run = Callable[..., Any]
Until = Callable[[Callable[[], bool]], None]


def add(run: Run, file: Path, name: str, role: str) -> str:
    result = run("key", "add", str(file), "--name", name, "--role", role)
    assert (result.returncode, result.stderr) == (0, "")
    return str(result.stdout.strip())


def test_keys_are_made_listed_and_revoked(run: Run, tmp_path: Path):
    file = tmp_path / "keys"
    first = add(run, file, "me", "admin")
    second = add(run, file, "grafana", "read")
    assert len(first) >= 40
    assert first != second
    text = file.read_text(encoding="utf-8")
    assert first not in text
    assert second not in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("key", "list", str(file)).stdout == "me\tadmin\ngrafana\tread\n"
    assert run("key", "revoke", str(file), "me").returncode == 0
    assert run("key", "list", str(file)).stdout == "grafana\tread\n"


def test_what_is_wrong_with_keys_is_said_in_a_line(run: Run, tmp_path: Path):
    file = tmp_path / "keys"
    add(run, file, "me", "admin")
    other = tmp_path / "other"
    other.write_text("secret\n", encoding="utf-8")
    for arguments, text in [
        (("add", str(file), "--name", "me", "--role", "read"), "already has a key `me`"),
        (("add", str(file), "--name", "a b", "--role", "read"), "`a b`"),
        (("revoke", str(file), "you"), "no key `you`"),
        (("list", str(tmp_path / "missing")), "missing"),
        (("list", str(other)), "line 1"),
    ]:
        result = run("key", *arguments)
        assert result.returncode == 1
        assert result.stderr.startswith("pingthings: ")
        assert text in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_roles_hold_for_clients_and_change_while_it_runs(run: Run, tmp_path: Path, until: Until):
    file = tmp_path / "keys"
    keys = {role: add(run, file, role, role) for role in ("read", "write", "admin")}
    with Server(keys=file) as server:
        with pt.connect(endpoint=server.endpoint, apikey=keys["write"]) as client:
            stream = client.create(uuid4(), "kept", {"name": "x"})
            stream.insert([(1, 1.0)])
            with pytest.raises(BTrDBError, match="admin"):
                stream.obliterate()
        with pt.connect(endpoint=server.endpoint, apikey=keys["read"]) as client:
            stream = client.stream_from_uuid(stream.uuid)
            assert stream.latest() == (1, 1.0)
            with pytest.raises(BTrDBError, match="write"):
                stream.insert([(2, 2.0)])

        assert run("key", "revoke", str(file), "read").returncode == 0
        added = add(run, file, "late", "read")

        def is_known() -> bool:
            try:
                pt.connect(endpoint=server.endpoint, apikey=added).close()
            except AuthenticationError:
                return False
            return True

        until(is_known)
        with pytest.raises(AuthenticationError):
            pt.connect(endpoint=server.endpoint, apikey=keys["read"])


def test_strangers_get_the_role_they_are_given(run: Run, tmp_path: Path):
    file = tmp_path / "keys"
    key = add(run, file, "me", "admin")
    with Server(keys=file, anonymous="read") as server:
        with pt.connect(endpoint=server.endpoint, apikey=key) as client:
            stream = client.create(uuid4(), "kept", {"name": "x"})
        with pt.connect(endpoint=server.endpoint) as client:
            (found,) = client.streams_in_collection("kept")
            assert found.uuid == stream.uuid
            with pytest.raises(BTrDBError, match="write"):
                found.insert([(2, 2.0)])


def test_a_key_file_that_is_none_keeps_the_server_from_starting(tmp_path: Path):
    file = tmp_path / "keys"
    with pytest.raises(BTrDBError, match="keys"):
        Server(keys=file).start()
    file.write_text("secret\n", encoding="utf-8")
    with pytest.raises(BTrDBError, match="line 1"):
        Server(keys=file).start()
