"""Uses an installed package as its users do. It needs nothing but the package, on any system.

With matplotlib there, streams are drawn; without it, the command says what to install.
"""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import Path
from uuid import uuid4

import pingthings
import pingthings.timeseries as pt
from pingthings.server import Server

CERTIFICATES = Path(__file__).resolve().parents[1] / "server" / "certificates"
COMMANDS = [
    *("collections", "compact", "doctor", "get", "info", "key", "plot", "put", "serve", "sql"),
    "streams",
]
START = pt.utils.to_nanoseconds("2024-01-01T00:00:00Z")
SECOND = pt.utils.ns_delta(seconds=1)
COUNT = 3600


def points() -> list[tuple[int, float]]:
    return [(START + k * SECOND, 230.0 + k % 5) for k in range(COUNT)]


def check_package(_folder: Path) -> None:
    """It is the installed one, whole, and typed."""
    package = Path(pingthings.__file__).parent
    assert package.is_relative_to(sysconfig.get_path("purelib")), package
    assert pingthings.__version__ == metadata.version("pingthings")
    assert (package / "py.typed").exists()
    assert (package / "timeseries" / "pyo3_client.pyi").exists()
    heavy = {"pandas", "polars", "matplotlib", "plotly", "rich", "typer"} & set(sys.modules)
    assert not heavy, heavy


def check_client(folder: Path) -> None:
    """Points, windows, SQL and both clients; and what is on disk outlives the server."""
    uuid = uuid4()
    with Server(folder / "data") as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid, "smoke/pmu", {"name": "L1MAG", "unit": "volts"})
        stream.insert(points())
        assert stream.count() == COUNT
        windows = stream.windowed_values(START, START + COUNT * SECOND, 900 * SECOND)
        assert windows.column("mean").to_pylist() == [232.0] * 4
        rows = client.sql_query("SELECT collection, uuid FROM streams")
        assert [row["collection"] for row in rows] == ["smoke/pmu"]
        assert asyncio.run(latest(server.endpoint)) == (START + (COUNT - 1) * SECOND, 234.0)
    with Server(folder / "data") as server, pt.connect(endpoint=server.endpoint) as client:
        table = client.stream_from_uuid(uuid).raw_values(START, START + 3 * SECOND)
        assert table.column("value").to_pylist() == [230.0, 231.0, 232.0]


async def latest(endpoint: str) -> tuple[int, float]:
    async with await pt.AsyncClient.connect(endpoint=endpoint) as client:
        (stream,) = await client.streams_in_collection("smoke/")
        point = await stream.latest()
        assert point is not None
        return point.time, point.value


def check_tls(_folder: Path) -> None:
    """The cryptography that was compiled in proves and accepts an identity, and takes keys."""
    certificate = CERTIFICATES / "first.certificate.pem"
    server = Server(
        tls_certificate=certificate, tls_key=CERTIFICATES / "first.key.pem", api_keys=["smoke"]
    )
    with server:
        port = server.endpoint.rpartition(":")[2]
        with pt.connect(
            endpoint=f"localhost:{port}", apikey="smoke", tls=True, ca_bundle=certificate
        ) as client:
            client.create(uuid4(), "smoke").insert(points())


def command(*arguments: str, code: int = 0) -> str:
    """Runs `pingthings` and returns what it printed."""
    name = "pingthings.exe" if os.name == "nt" else "pingthings"
    done = subprocess.run(
        [str(Path(sysconfig.get_path("scripts")) / name), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


@contextmanager
def serving(folder: Path) -> Generator[str]:
    """A server of its own process; yields its endpoint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pingthings", "serve", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("listening on "), line
        yield line.removeprefix("listening on ").partition(",")[0]
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert os.name == "nt" or process.returncode == 0  # Windows has no signal to ask with


def check_command(folder: Path) -> None:
    """A file goes in, and comes out in every format."""
    assert command("--version").strip() == pingthings.__version__
    for name in COMMANDS:
        assert "Examples:" in command(name, "--help"), name
    recording = folder / "recording.csv"
    with recording.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "L1MAG", "L2MAG"])
        rows.writerows((pt.utils.ns_to_datetime(at).isoformat(), v, v / 2) for at, v in points())
    with serving(folder / "served") as endpoint:
        os.environ["BTRDB_ENDPOINTS"] = endpoint
        command("put", str(recording), "--collection", "lab")
        listed = command("streams", "lab", "--count", "--json").splitlines()
        assert [json.loads(line)["count"] for line in listed] == [COUNT, COUNT]
        for form in ("csv", "parquet", "arrow"):
            command("get", "lab/L1MAG", "--output", str(folder / f"points.{form}"))
        assert len((folder / "points.csv").read_text().splitlines()) == COUNT + 1
        for form, module in (("parquet", "pyarrow.parquet"), ("arrow", "pyarrow.feather")):
            # Not imported above: pyarrow has no types, and a checker is to find only ours.
            table = import_module(module).read_table(folder / f"points.{form}")
            assert table.num_rows == COUNT
        assert len(command("get", "lab/L2MAG", "--width", "15m").splitlines()) == 5
        query = "SELECT count(*) FROM streams"
        assert command("sql", query, "--format", "csv").split() == ["count", "2"]
        assert command("collections").startswith("lab")
        assert json.loads(command("info", "--json"))
        assert command("doctor", "--json")
        check_plot(folder)
    command("compact", str(folder / "served"))


def check_plot(folder: Path) -> None:
    picture = folder / "picture.png"
    arguments = ("plot", "lab/L1MAG", "--output", str(picture))
    if importlib.util.find_spec("matplotlib") is None:
        assert 'pip install "pingthings[plot]"' in command(*arguments, code=1)
    else:
        command(*arguments)
        assert picture.read_bytes().startswith(b"\x89PNG")


def check_extras(_folder: Path) -> None:
    """Frames, where their packages are there."""
    with Server() as server, pt.connect(endpoint=server.endpoint) as client:
        stream = client.create(uuid4(), "smoke", {"name": "L1MAG"})
        stream.insert(points())
        table = stream.raw_values(START, START + COUNT * SECOND)
        for name, convert in (("pandas", pt.frames.to_pandas), ("polars", pt.frames.to_polars)):
            if importlib.util.find_spec(name) is not None:
                assert len(convert(table)) == COUNT


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.environ |= {"HOME": name, "USERPROFILE": name}
        for check in (check_package, check_client, check_tls, check_command, check_extras):
            check(Path(name))
            print(f"  {check.__name__.removeprefix('check_')}: ok", flush=True)
