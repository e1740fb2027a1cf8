"""Metrics, logs, stopping, and reclaiming room."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from pingthings.server import Fault, Server
from pingthings.timeseries.exceptions import BTrDBError, StreamNotFoundError

Run = Callable[..., Any]
Serve = Callable[..., Any]
Until = Callable[[Callable[[], bool]], None]


def scrape(server: Server) -> dict[str, float]:
    url = f"http://{server.metrics_endpoint}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_prometheus_reads_what_happened(until: Until):
    with Server(metrics="127.0.0.1:0") as server:
        assert server.metrics_endpoint is not None
        with pt.connect(endpoint=server.endpoint) as client:
            stream = client.create(uuid4(), "x", {"name": "x"})
            stream.insert([(1, 1.0), (2, 2.0)])
            with pytest.raises(StreamNotFoundError):
                client.stream_from_uuid(uuid4()).raw_values(0, 1)
            until(lambda: scrape(server).get('pingthings_refusals_total{code="404"}') == 1)
            found = scrape(server)
        assert found["pingthings_points_inserted_total"] == 2
        assert found['pingthings_calls_total{call="v5api.BTrDB/Create",status="0"}'] == 1
        assert found['pingthings_call_seconds_count{call="v5api.BTrDB/Create"}'] == 1
        assert found["pingthings_connections"] >= 1
        assert found["pingthings_background_failed"] == 0
        until(lambda: scrape(server)["pingthings_connections"] == 0)
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(f"http://{server.metrics_endpoint}/", timeout=30)
        raised.value.close()


def test_metrics_are_off_unless_asked_for():
    with Server() as server:
        assert server.metrics_endpoint is None


def lines_of_log(*arguments: str) -> list[str]:
    """What a server writes to standard error from start to stop."""
    serving = subprocess.Popen(
        [sys.executable, "-m", "pingthings", "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    match = re.match(r"listening on (\S+),", serving.stdout.readline())
    assert match is not None
    with pt.connect(endpoint=match[1]) as client:
        client.list_collections()
    serving.terminate()
    return serving.communicate(timeout=60)[1].splitlines()


def test_logs_are_silent_unless_something_is_wrong():
    assert lines_of_log() == ["stopping"]


def test_logs_are_text_or_json():
    text = lines_of_log("--log-level", "debug")
    assert any("DEBUG" in line and "/v5api.BTrDB/ListCollections" in line for line in text)
    lines = lines_of_log("--log-level", "debug", "--log-format", "json")
    records = [json.loads(line) for line in lines if line != "stopping"]
    paths = [record["fields"].get("path") for record in records]
    assert "/v5api.BTrDB/ListCollections" in paths
    assert all(record["target"].startswith("pingthings") for record in records)


def test_the_second_signal_stops_at_once(serve: Serve, tmp_path: Path):
    served = serve(str(tmp_path))
    client = pt.connect(endpoint=served.endpoint)
    stream = client.create(uuid4(), "kept", {"name": "x"})
    rows = np.arange(4_000_000)
    stream.insert((rows, rows.astype(float)))
    # An answer that is taken slowly keeps the server from stopping for its time of grace.
    tables = stream.raw_values_iter(0, 4_000_000)
    next(tables)
    assert served.process.stderr is not None
    served.process.send_signal(signal.SIGTERM)
    while served.process.stderr.readline() != "stopping\n":
        pass
    served.process.send_signal(signal.SIGINT)
    served.process.communicate(timeout=60)
    assert served.process.returncode == 130
    client.close()
    served = serve(str(tmp_path))
    with pt.connect(endpoint=served.endpoint) as client:
        (found,) = client.streams_in_collection("kept")
        assert found.count() == len(rows)
    assert served.stop() == 0


def test_a_hangup_takes_new_keys(serve: Serve, run: Run, tmp_path: Path, until: Until):
    file = tmp_path / "keys"
    run("key", "add", str(file), "--name", "a", "--role", "read")
    served = serve("--keys", str(file))
    key = run("key", "add", str(file), "--name", "b", "--role", "read").stdout.strip()
    served.process.send_signal(signal.SIGHUP)

    def is_known() -> bool:
        try:
            pt.connect(endpoint=served.endpoint, apikey=key).close()
        except BTrDBError:
            return False
        return True

    until(is_known)
    assert served.stop() == 0


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_compacting_reclaims_what_versions_took(run: Run, tmp_path: Path):
    with Server(tmp_path) as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), "kept", {"name": "x"})
        for version in range(4):
            rows = np.arange(100_000)
            values = np.random.default_rng(version).random(len(rows))
            stream.insert((rows, values), merge="replace")
            stream.flush()
        last = stream.raw_values(0, 1 << 40)
        result = run("compact", str(tmp_path))
        assert result.returncode == 1
        assert str(tmp_path) in result.stderr
        assert str(os.getpid()) in result.stderr
    before = size_of(tmp_path)
    result = run("compact", str(tmp_path), "--forget-older-than", "0s")
    assert result.returncode == 0, result.stderr
    assert re.match(r"\d+ versions removed\n\d+ segments checked", result.stdout)
    assert int(result.stdout.split()[0]) >= 4
    assert size_of(tmp_path) < before / 2
    with Server(tmp_path) as server, pt.connect(endpoint=server.endpoint) as client:
        (stream,) = client.streams_in_collection("kept")
        assert stream.raw_values(0, 1 << 40).equals(last)


def test_compacting_refuses_what_it_does_not_understand(run: Run, tmp_path: Path):
    result = run("compact", str(tmp_path / "nowhere"))
    assert result.returncode == 1
    assert "nowhere" in result.stderr
    assert not (tmp_path / "nowhere").exists()
    result = run("compact", str(tmp_path), "--forget-older-than", "soon")
    assert result.returncode == 2
    assert "'soon'" in result.stderr


def test_faults_are_set_and_taken_away(until: Until):
    with pytest.raises(BTrDBError, match="`insert`"):
        Server(fault=Fault.hang(calls=["insert"])).start()
    with Server(metrics="127.0.0.1:0") as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), "x", {"name": "x"})
        fault = Fault.busy(calls=["Nearest"], times=2)
        server.fault = fault
        assert server.fault == fault
        # The client tries again by itself.
        assert stream.latest() is None
        assert scrape(server)['pingthings_refusals_total{code="426"}'] == 2
        server.fault = Fault.hang(calls=["Nearest"])
        server.fault = None
        assert stream.latest() is None
        stream.insert([(1, 1.0)])

        def is_back() -> bool:
            try:
                return stream.latest() == (1, 1.0)
            except BTrDBError:
                return False

        server.interrupt(0.1)
        until(is_back)
        server.go_away()
        until(is_back)


def test_a_damaged_directory_is_refused_and_salvaged(serve: Serve, run: Run, tmp_path: Path):
    served = serve(str(tmp_path))
    with pt.connect(endpoint=served.endpoint) as client:
        stream = client.create(uuid4(), "kept", {"name": "x"})
        for number in range(100):
            stream.insert([(number, 0.5)])
    served.process.kill()
    served.process.communicate()
    (journal,) = (tmp_path / "journal").iterdir()
    os.truncate(journal, journal.stat().st_size // 2)
    refused = run("serve", str(tmp_path), "--port", "0")
    assert refused.returncode == 1
    assert "journal/00000001" in refused.stderr
    assert "--salvage" in refused.stderr
    copy = tmp_path.with_name("copy")
    shutil.copytree(tmp_path, copy)
    with Server(copy, salvage=True) as server:
        assert any("journal/00000001" in problem for problem in server.missing)
    served = serve(str(tmp_path), "--salvage")
    with pt.connect(endpoint=served.endpoint) as client:
        (stream,) = client.streams_in_collection("kept")
        found = stream.count()
        assert 30 < found < 100
    assert served.stop() == 0
    with Server(tmp_path) as server, pt.connect(endpoint=server.endpoint) as client:
        assert server.missing == []
        (stream,) = client.streams_in_collection("kept")
        assert stream.count() == found
