"""`pingthings serve` as a user runs it."""

import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings
import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.exceptions import AuthenticationError, BTrDBError

Serve = Callable[..., Any]

KILLED_BEFORE = 30


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pingthings", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environ,
    )


def test_version():
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"{pingthings.__version__}\n")


def test_help():
    result = run("--help")
    assert result.returncode == 0
    assert "serve" in result.stdout
    result = run("serve", "--help")
    assert result.returncode == 0
    for option in ("--host", "--port", "--durability", "--no-arrow", "--api-keys-file", "4410"):
        assert option in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [(), ("sing",), ("serve", "--loud"), ("serve", "--port", "x"), ("serve", "--durability", "x")],
)
def test_wrong_arguments_explain_themselves(arguments: tuple[str, ...]):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("pingthings: ")
    assert "--help`" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def assert_refused(result: "subprocess.CompletedProcess[str]", *texts: str) -> None:
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("pingthings: ")
    assert len(result.stderr.splitlines()) == 1
    for text in texts:
        assert text in result.stderr


def test_port_in_use():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = str(listening.getsockname()[1])
        assert_refused(run("serve", "--port", port), f"127.0.0.1:{port}")


def test_bad_values():
    assert_refused(run("serve", "--host", "nowhere"), "nowhere")
    assert_refused(run("serve", "--port", "65536"), "65536")


def test_directory_in_use(serve: Serve, tmp_path: Path):
    served = serve(str(tmp_path))
    assert_refused(run("serve", str(tmp_path), "--port", "0"), str(tmp_path))
    pt.connect(endpoint=served.endpoint).close()
    assert served.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_well(serve: Serve, how: signal.Signals):
    served = serve()
    with pt.connect(endpoint=served.endpoint) as client:
        client.create(uuid4(), "x")
        assert served.stop(how) == 0


@pytest.mark.parametrize("options", [(), ("--durability", "relaxed")])
def test_directory_keeps_data(serve: Serve, tmp_path: Path, options: tuple[str, ...]):
    served = serve(str(tmp_path), *options)
    with pt.connect(endpoint=served.endpoint) as client:
        stream = client.create(uuid4(), "kept", {"name": "x"})
        stream.insert([(1, 1.0)])
    assert served.stop() == 0
    served = serve(str(tmp_path), *options)
    with pt.connect(endpoint=served.endpoint) as client:
        (found,) = client.streams_in_collection("kept")
        assert found.latest() == (1, 1.0)
    assert served.stop() == 0


def test_kill_loses_nothing_that_was_acknowledged(serve: Serve, tmp_path: Path):
    uuid = uuid4()
    for life in range(3):
        served = serve(str(tmp_path))
        with pt.connect(endpoint=served.endpoint) as client:
            if life == 0:
                client.create(uuid, "kept", {"name": "x"})
            stream = client.stream_from_uuid(uuid)
            assert stream.count() == life * 20 * 1_000
            for batch in range(20):
                first = (life * 20 + batch) * 1_000
                rows = first + np.arange(1_000)
                stream.insert((rows, rows.astype(float)))
                if batch == 10:
                    stream.flush()
            served.process.kill()
            served.process.communicate()
    served = serve(str(tmp_path))
    with pt.connect(endpoint=served.endpoint) as client:
        (stream,) = client.streams_in_collection("kept")
        table = stream.raw_values(0, 1 << 40)
        assert np.array_equal(table["value"].to_numpy(), np.arange(60_000.0))
    assert served.stop() == 0


def insert_until_killed(stream: pt.Stream, process: "subprocess.Popen[str]") -> int:
    """Returns how many inserts of a hundred points were acknowledged."""
    for batch in itertools.count():
        rows = batch * 100 + np.arange(100)
        if batch == KILLED_BEFORE:
            process.kill()
        try:
            stream.insert((rows, rows.astype(float)))
        except BTrDBError:
            return batch
    raise AssertionError


def test_kill_amid_inserts_tears_no_insert(serve: Serve, tmp_path: Path):
    served = serve(str(tmp_path))
    with pt.connect(endpoint=served.endpoint) as client:
        stream = client.create(uuid4(), "kept", {"name": "x"})
        acknowledged = insert_until_killed(stream, served.process)
        served.process.communicate()
    served = serve(str(tmp_path))
    with pt.connect(endpoint=served.endpoint) as client:
        number = client.streams_in_collection("kept")[0].count()
        assert number % 100 == 0
        assert acknowledged * 100 <= number <= (acknowledged + 1) * 100
    assert served.stop() == 0


def test_keys_of_the_environment(serve: Serve):
    served = serve(keys=" first , second,")
    for key in ("first", "second"):
        pt.connect(endpoint=served.endpoint, apikey=key).close()
    with pytest.raises(AuthenticationError):
        pt.connect(endpoint=served.endpoint, apikey="third")
    assert served.stop() == 0


def test_keys_of_a_file(serve: Serve, tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text("first\n\n  second  \n", encoding="utf-8")
    served = serve("--api-keys-file", str(file), keys="third")
    for key in ("first", "second"):
        pt.connect(endpoint=served.endpoint, apikey=key).close()
    with pytest.raises(AuthenticationError):
        pt.connect(endpoint=served.endpoint, apikey="third")
    assert served.stop() == 0


def test_bad_key_files(tmp_path: Path):
    missing = tmp_path / "missing"
    assert_refused(run("serve", "--api-keys-file", str(missing)), str(missing), "No such file")
    empty = tmp_path / "empty"
    empty.write_text("\n", encoding="utf-8")
    assert_refused(run("serve", "--api-keys-file", str(empty)), str(empty), "no API key")


def test_key_file_that_is_no_text(tmp_path: Path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    assert_refused(run("serve", "--api-keys-file", str(binary)), str(binary))


def test_without_arrow(serve: Serve):
    served = serve("--no-arrow")
    with pt.connect(endpoint=served.endpoint) as client:
        assert client.info()["minor_version"] < 30
        stream = client.create(uuid4(), "x")
        stream.insert([(1, 1.0)])
        assert stream.latest() == (1, 1.0)
    assert served.stop() == 0
