"""The command in odd surroundings: closed streams, no home, names that look like code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from pingthings.server import Server
from pingthings.timeseries import credentials

PROGRAM = f"'{sys.executable}' -m pingthings"


def shell(command: str, server: Server) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S602 - it is the shell that closes streams
        command,
        shell=True,
        env=os.environ | {"BTRDB_ENDPOINTS": server.endpoint},
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", ">&- 2>&- <&-"])
@pytest.mark.parametrize("command", ["info", "streams lab", "get no/such", "put missing.csv"])
def test_closed_streams_end_in_no_traceback(server: Server, closed: str, command: str):
    done = shell(f"{PROGRAM} {command} {closed}", server)
    assert b"Traceback" not in done.stderr
    is_lost = ">&-" in closed.replace("2>&-", "")  # and what is printed with it
    assert done.returncode == int(is_lost or command in {"get no/such", "put missing.csv"})
    if done.returncode:
        assert done.stdout == b""


def test_data_for_a_closed_output_are_refused(server: Server):
    done = shell(f"{PROGRAM} get lab/L1MAG >&-", server)
    assert done.returncode == 1
    assert done.stderr == b"pingthings: standard output is closed; give `--output FILE`\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is full")
def test_an_output_that_is_full_is_one_line(server: Server):
    done = shell(f"{PROGRAM} get lab/L1MAG --format csv > /dev/full", server)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No space left on device" in done.stderr


def test_a_dash_is_standard_output(server: Server):
    done = shell(f"{PROGRAM} get lab/L1MAG --output - | head -1", server)
    assert done.stdout == b"time,value\n"


def test_a_user_without_a_home_can_connect(server: Server, monkeypatch: pytest.MonkeyPatch):
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    pt.connect(endpoint=server.endpoint, apikey="any").close()
    pt.connect(endpoint=server.endpoint).close()
    with pytest.raises(pt.exceptions.CredentialsFileNotFound):
        credentials.resolve("name", None, None, {})


def test_a_home_that_is_a_file_holds_no_credentials(server: Server, tmp_path: Path):
    home = tmp_path / "home"
    home.touch()
    done = shell(f"HOME='{home}' {PROGRAM} info", server)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("name", ["$\\frac{1}$", "_hidden", "<b>x</b>", "a_b^c", "100 % & more"])
def test_names_are_drawn_as_they_are(client: pt.Client, tmp_path: Path, name: str):
    collection = f"names/{uuid4()}"
    start = pt.utils.to_nanoseconds("2024-01-01")
    for own in (name, "other"):
        stream = client.create(uuid4(), collection, {"name": own, "unit": name})
        stream.insert([(start, 1.0), (start + 10, 2.0)])
    figure = client.streams_in_collection(collection).plot(start, start + 20)
    figure.savefig(tmp_path / "a.png")
    (axes,) = figure.axes
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {name, "other"}
    assert axes.get_ylabel() == name


def test_equal_names_are_told_apart(client: pt.Client):
    collection = f"names/{uuid4()}"
    start = pt.utils.to_nanoseconds("2024-01-01")
    uuids = [uuid4(), uuid4()]
    for uuid in uuids:
        tags = {"name": "same", "unit": "V", "ingress": str(uuid)}
        stream = client.create(uuid, collection, tags)
        stream.insert([(start, 1.0), (start + 10, 2.0)])
    figure = client.streams_in_collection(collection).plot(start, start + 20)
    (axes,) = figure.axes
    labels = {text.get_text() for text in axes.get_legend().get_texts()}
    assert labels == {f"{collection}/same ({str(uuid)[:8]})" for uuid in uuids}
