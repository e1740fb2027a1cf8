"""What the package promises about itself."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pingthings
import pingthings.timeseries as pt
import pytest
from pingthings.timeseries import exceptions, pyo3_client

ROOT = Path(__file__).resolve().parents[2]

# The public names. Adding one here is adding it to the contract.
EXPORTS = {
    "pingthings": {"AsyncClient", "Client", "__version__", "connect", "timeseries", "utils"},
    "pingthings.btrdb": {
        *("BTRDB_API_KEY", "BTRDB_ENDPOINTS", "BTRDB_PROFILE", "MAXIMUM_TIME", "MINIMUM_TIME"),
        *("BTrDB", "Connection", "ConnectionError", "Difference", "Endpoint", "connect"),
        *("credentials", "credentials_by_profile", "differences", "get_version"),
        *("install_as_btrdb", "register_serializer"),
    },
    "pingthings.dask": {"read"},
    "pingthings.ingest": {"Counts", "Rejected", "Wanted", "Writer", "WriterFailed", "ensure"},
    "pingthings.ingest.feed": {"Counts", "Feed"},
    "pingthings.ingest.folder": {"Columns", "Ledger", "Progress", "Rejects", "store"},
    "pingthings.ingest.recording": {
        *("Channel", "Recording", "RecordingError", "Scaling", "read", "store"),
    },
    "pingthings.ray": {"read"},
    "pingthings.server": {"Fault", "Server"},
    "pingthings.timeseries": {
        *("AsyncClient", "AsyncStream", "AsyncStreamSet", "Client", "Stream", "StreamSet"),
        *("ClientEventLoop", "RawPoint", "StatPoint", "__version__", "connect"),
        *("constants", "exceptions", "frames", "utils"),
    },
    "pingthings.timeseries.async_client": {"AsyncClient", "AsyncStream", "AsyncStreamSet"},
    "pingthings.timeseries.client": {"Client", "ClientEventLoop", "Stream", "StreamSet"},
    "pingthings.timeseries.frames": {
        *("Grid", "join", "split", "to_numpy", "to_pandas", "to_polars"),
    },
    "pingthings.timeseries.partitions": {"Partition", "nothing", "plan", "schema"},
    "pingthings.timeseries.pyo3_client": {
        *("ChangeIterator", "Client", "InsertSteps", "Server", "StreamInfo", "TableIterator"),
        "__version__",
        *("compact", "connect", "log_to_stderr", "route", "status_codes"),
    },
    "pingthings.timeseries.stats": {"CallCounts", "Calls", "Stats"},
    "pingthings.timeseries.utils": {
        *("currently_as_ns", "datetime_to_ns", "nearest_point_width", "ns_delta"),
        *("ns_to_datetime", "to_nanoseconds"),
    },
}

# Which crates may use which, of ours (docs/design/architecture.md).
CRATES = {
    "types": set[str](),
    "proto": set[str](),
    "sqlite": set[str](),
    "storage": {"types", "sqlite"},
    "sql": {"types", "sqlite"},
    "client": {"types", "proto"},
    "server": {"types", "proto", "storage", "sql"},
    "python": {"types", "client", "server"},
    "benches": {"types", "proto", "client", "storage"},
}
FOREIGN_TO_STORAGE = {"tokio", "tonic", "prost", "arrow-array", "arrow-ipc", "pyo3"}


@pytest.mark.parametrize("name", EXPORTS)
def test_exported_names_are_those_of_the_list(name: str) -> None:
    module = importlib.import_module(name)
    assert set(module.__all__) == EXPORTS[name]
    for export in module.__all__:
        assert getattr(module, export) is not None


@pytest.mark.parametrize(
    "name", ["pingthings.timeseries.async_client", "pingthings.timeseries.client"]
)
def test_classes_say_the_module_they_are_documented_in(name: str) -> None:
    module = importlib.import_module(name)
    for export in EXPORTS[name] - {"ClientEventLoop"}:  # which has a module of its own
        assert getattr(module, export).__module__ == name


PYTHON = ROOT / "python"
MODULES = {
    ".".join(file.relative_to(PYTHON).with_suffix("").parts).removesuffix(".__init__"): file
    for file in PYTHON.rglob("*.py*")
    if file.suffix in {".py", ".pyi"}
}


def imports(file: Path) -> set[str]:
    """The modules of ours that a file imports when it runs, at its top or later."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = names & MODULES.keys()
            found |= modules
            if modules != names:
                found.add(node.module)
        else:
            waiting += ast.iter_child_nodes(node)
    return found & MODULES.keys()


def test_modules_import_each_other_in_no_circle() -> None:
    graph = {name: imports(file) for name, file in MODULES.items()}
    assert len(graph) > 80
    assert len(graph["pingthings.timeseries"]) > 5
    graph["pingthings.btrdb.utils.ray"].remove("pingthings.btrdb")  # the older client's own layout
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


def test_every_public_name_has_a_docstring() -> None:
    missing = []
    for owner in (pt.AsyncClient, pt.AsyncStream, pt.AsyncStreamSet, pt.Client, pt.Stream):
        for name, member in inspect.getmembers(owner):
            if not name.startswith("_") and not inspect.getdoc(member):
                missing.append(f"{owner.__name__}.{name}")
    assert missing == []


@pytest.mark.parametrize(
    ("source", "twin"),
    [(pt.AsyncClient, pt.Client), (pt.AsyncStream, pt.Stream), (pt.AsyncStreamSet, pt.StreamSet)],
)
def test_twins_take_the_same_arguments(source: type, twin: type) -> None:
    names = {name for name in vars(source) if not name.startswith("_")} & set(vars(twin))
    assert len(names) >= 8
    for name in names:
        ours, theirs = inspect.getattr_static(source, name), inspect.getattr_static(twin, name)
        if isinstance(ours, property) or name == "connect":
            continue
        assert [
            (p.name, p.kind, p.default) for p in inspect.signature(ours).parameters.values()
        ] == [(p.name, p.kind, p.default) for p in inspect.signature(theirs).parameters.values()]
        assert not inspect.iscoroutinefunction(theirs)


def test_every_status_code_has_a_class_or_the_documented_fallback() -> None:
    codes = pyo3_client.status_codes()
    assert len(codes) > 50
    for code, name in codes.items():
        error = exceptions.from_code(code, name)
        assert isinstance(error, exceptions.BTrDBError)
        assert error.code == code
        assert str(error) == name
    claimed = {code for cls in _subclasses(exceptions.BTrDBError) for code in cls.codes}
    assert claimed <= set(codes)


def _subclasses(
    cls: type[exceptions.BTrDBError],
) -> list[type[exceptions.BTrDBError]]:
    return [cls, *(sub for child in cls.__subclasses__() for sub in _subclasses(child))]


def test_the_version_is_one() -> None:
    cargo = (ROOT / "Cargo.toml").read_text()
    version = re.search(r'^version = "(.+)"$', cargo, re.MULTILINE)
    assert version is not None
    assert pingthings.__version__ == pt.__version__ == version[1]


def test_a_free_threaded_interpreter_is_refused() -> None:
    text = (
        "import sysconfig; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1\n"
        "try:\n    import pingthings\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pingthings does not support free-threaded builds of Python")


def test_import_is_silent_and_light() -> None:
    text = (
        "import sys, pingthings;"
        "heavy = {'pandas', 'polars', 'matplotlib', 'plotly', 'rich', 'typer', 'pingthings.btrdb'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_reading_does_not_import_pandas() -> None:
    text = (
        "import sys; from uuid import uuid4; import pingthings.timeseries as pt;"
        "from pingthings.server import Server;"
        "server = Server().start(); client = pt.connect(endpoint=server.endpoint);"
        "stream = client.create(uuid4(), 'light');"
        "assert stream.raw_values(0, 9).num_rows == stream.windowed_values(0, 9, 1).num_rows == 0;"
        "print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_crates_depend_only_downwards() -> None:
    done = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {
        p["name"].removeprefix("pingthings-"): p for p in json.loads(done.stdout)["packages"]
    }
    assert set(packages) == set(CRATES)
    for crate, allowed in CRATES.items():
        normal = {d["name"] for d in packages[crate]["dependencies"] if d["kind"] is None}
        ours = {name.removeprefix("pingthings-") for name in normal if "pingthings" in name}
        assert ours <= allowed, crate
        if crate == "storage":
            assert not normal & FOREIGN_TO_STORAGE


def test_pyclasses_are_frozen() -> None:
    for file in (ROOT / "rust/python/src").glob("*.rs"):
        for attributes in re.findall(r"#\[pyclass\(([^)]*)\)\]", file.read_text()):
            assert "frozen" in attributes, file.name


def test_only_one_file_makes_a_runtime_and_few_attach_to_python() -> None:
    sources = {file.name: file.read_text() for file in (ROOT / "rust/python/src").glob("*.rs")}
    makes = {name for name, text in sources.items() if "runtime::Builder" in text}
    attaches = {name for name, text in sources.items() if re.search(r"Python::(try_)?attach", text)}
    assert makes == {"runtime.rs"}
    # The completer; and, on their callers' own threads, who comes back for a moment from a wait.
    assert attaches == {"runtime.rs", "exit.rs"}


def test_threads_are_counted_before_their_arguments_are_looked_at() -> None:
    # Whatever runs Python inside the core must be known to the end of the interpreter.
    exempt = {
        "call_soon_threadsafe": "the completer's",
        "create_future": "only inside a call",
        "forked": "takes nothing",
        "status_codes": "takes nothing",
        "stop": "is the end itself",
    }
    offenders, seen = [], 0
    for file in sorted((ROOT / "rust/python/src").glob("*.rs")):
        text = file.read_text(encoding="utf-8")
        functions = re.findall(r"#\[pyfunction\].*?fn \w+.*?\{", text, re.DOTALL)
        for block in re.findall(r"^( *)#\[pymethods\]\n(.*?)^\1\}", text, re.DOTALL | re.MULTILINE):
            functions += re.findall(r"fn \w+.*?\{", block[1], re.DOTALL)
        for function in functions:
            found = re.search(r"fn (\w+)(?:<[^>]*>)?\((.*)\)", function, re.DOTALL)
            assert found is not None, function
            seen += 1
            arguments = [each.strip() for each in found[2].split(",") if each.strip()]
            is_bare = arguments in (["&self"], ["slf: Py<Self>"])
            if not is_bare and not re.search(r"\bReceiver<|\bFirstArgument<", found[2]):
                offenders.append(found[1])
    assert seen > 80
    assert sorted(offenders) == sorted(exempt)
