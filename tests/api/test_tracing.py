"""Spans of OpenTelemetry: one a call, with what was asked and without what was answered."""

from __future__ import annotations

import asyncio
import inspect
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import numpy as np
import pingthings.timeseries as pt
import pytest
from conftest import APIKEY, Connect, Serve
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pingthings.server import Fault, Server
from pingthings.timeseries import tracing
from pingthings.timeseries.exceptions import InvalidTimeRange, StreamNotFoundError

POINTS = 120_000
ERRORS = "pingthings.timeseries.exceptions"

Spans = Callable[[], list[ReadableSpan]]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """The provider of the whole process, for as long as the test takes."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Spans:
    """The spans that have ended since this was last asked."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def since() -> list[ReadableSpan]:
        found = list(exporter.get_finished_spans())
        exporter.clear()
        return found

    return since


def told(span: ReadableSpan) -> dict[str, Any]:
    """The attributes that differ from call to call."""
    everywhere = {"db.system.name", "server.address", "server.port"}
    found = dict(span.attributes or {})
    assert everywhere <= found.keys()
    return {name: value for name, value in found.items() if name not in everywhere}


async def test_a_call_is_a_span_of_what_was_asked(
    spans: Spans, stream: pt.AsyncStream, endpoint: str
):
    spans()
    await stream.insert((np.arange(POINTS), np.arange(float(POINTS))))
    await stream.flush()
    version = await stream.get_latest_version()
    await stream.raw_values("1970-01-01T00:00:00Z", POINTS, version=version)
    await stream.count(5, 10)
    insert, flush, latest, read, count = spans()
    about = {"pingthings.stream.uuid": str(stream.uuid)}
    assert told(insert) == {
        "db.operation.name": "insert",
        **about,
        "pingthings.inserted_rows": POINTS,
    }
    assert told(flush) == {"db.operation.name": "flush", **about}
    assert told(latest)["db.operation.name"] == "get_latest_version"
    assert told(read) == {
        "db.operation.name": "raw_values",
        **about,
        "pingthings.version": version,
        "pingthings.start_ns": 0,
        "pingthings.end_ns": POINTS,
        "db.response.returned_rows": POINTS,
    }
    assert told(count)["db.operation.name"] == "count"
    host, _, port = endpoint.rpartition(":")
    assert read.attributes is not None
    assert read.attributes["db.system.name"] == "btrdb"
    assert (read.attributes["server.address"], read.attributes["server.port"]) == (host, int(port))
    assert (read.name, read.kind) == (f"raw_values {endpoint}", SpanKind.CLIENT)
    assert read.status.status_code == StatusCode.UNSET


@tracing.traced
class Curious(pt.AsyncClient):
    """Looks at what it is, without asking the server."""

    async def looked_at(self) -> str:
        return f"{self!r} {self.concurrency_limit} {self.deadline} {self.memory_limit}"


async def test_looking_at_a_client_begins_no_span(spans: Spans, client: pt.AsyncClient):
    if not isinstance(client, pt.AsyncClient):
        pytest.skip("it runs the same code")
    curious = Curious(client._creds, client._core)
    await client.info()
    spans()
    assert "connected" in await curious.looked_at()
    assert spans() == []
    await curious.info()
    assert len(spans()) == 1


async def test_a_set_is_one_span(spans: Spans, client: pt.AsyncClient, collection: str):
    made = [await client.create(uuid4(), collection, {"name": str(k)}) for k in range(3)]
    streams = await client.streamset_from_uuids([stream.uuid for stream in made])
    spans()
    await streams.insert({stream.uuid: [(1, 1.0), (2, 2.0)] for stream in made[:2]})
    await streams.raw_values(0, 5)
    await client.streams_in_collection(collection)
    insert, read, _ = spans()
    assert told(insert)["db.operation.batch.size"] == told(insert)["pingthings.streams"] == 2
    assert told(insert)["pingthings.inserted_rows"] == 4
    assert told(read)["pingthings.streams"] == 3
    assert told(read)["db.response.returned_rows"] == 4


async def test_calls_that_make_others_are_one_span(spans: Spans, stream: pt.AsyncStream):
    await stream.insert([(k, 1.0) for k in range(10)])
    spans()
    await stream.raw_values(0, 10, progress=lambda _done, _total: None)
    await stream.plot(0, 10)
    assert [told(span)["db.operation.name"] for span in spans()] == ["raw_values", "plot"]


async def test_iterators_are_spans_until_they_are_left(spans: Spans, stream: pt.AsyncStream):
    await stream.insert((np.arange(POINTS), np.arange(float(POINTS))))
    spans()
    assert sum([table.num_rows async for table in stream.raw_values_iter(0, POINTS)]) == POINTS
    (span,) = spans()
    assert told(span)["db.response.returned_rows"] == POINTS
    async with aclosing(stream.raw_values_iter(0, POINTS)) as tables:  # type: ignore[type-var]
        rows = (await anext(tables)).num_rows
        assert spans() == []
        await stream.count()
        assert [told(span)["db.operation.name"] for span in spans()] == ["count"]
    (span,) = spans()
    assert 0 < told(span)["db.response.returned_rows"] == rows < POINTS
    assert span.status.status_code == StatusCode.UNSET


async def test_what_asks_nobody_is_no_span(spans: Spans, client: pt.AsyncClient):
    stream = await client.create(uuid4(), f"tests/{uuid4()}", {"name": "x"})
    spans()
    await stream.tags()
    stream.pin_version(None)
    client.stats()
    with pytest.raises(InvalidTimeRange):
        await stream.nearest(2**70)
    assert [told(span)["db.operation.name"] for span in spans()] in ([], ["nearest"])


async def test_errors_are_named_and_not_quoted(
    spans: Spans, unknown: pt.AsyncStream, stream: pt.AsyncStream
):
    spans()
    with pytest.raises(StreamNotFoundError):
        await unknown.count()
    with pytest.raises(pt.exceptions.BadValue):
        await stream.insert([(1, float("inf"))])
    missing, bad = spans()
    for span, name, code in ((missing, "StreamNotFoundError", "404"), (bad, "BadValue", "425")):
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
        assert told(span)["error.type"] == f"{ERRORS}.{name}"
        assert told(span)["db.response.status_code"] == code
        assert span.events == ()


async def test_neither_keys_nor_values_are_told(spans: Spans, connect: Connect):
    key, secret = "key-that-nobody-sees", "tag-that-nobody-sees"
    with Server(api_keys=[key]) as server:
        async with await connect(endpoint=server.endpoint, apikey=key) as client:
            stream = await client.create(uuid4(), secret, {"name": secret}, {secret: secret})
            await stream.insert([(1, 8_765.4321)])
            await stream.raw_values(0, 5)
            await client.sql_query("SELECT $1", [secret])
    text = "".join(span.to_json() for span in spans())
    assert "raw_values" in text
    for hidden in (key, secret, "8765.4321", "SELECT"):
        assert hidden not in text


async def test_retries_are_counted(spans: Spans, connect: Connect):
    with Server(fault=Fault.busy(calls=["Nearest"], times=2)) as server:
        async with await connect(endpoint=server.endpoint) as client:
            stream = await client.create(uuid4(), "spans")
            spans()
            await stream.earliest()
    (span,) = spans()
    assert told(span)["pingthings.retries"] == 2


async def test_tasks_have_spans_of_their_own_below_that_of_the_program(
    spans: Spans, provider: TracerProvider, client: pt.AsyncClient
):
    tracer = provider.get_tracer("program")
    with tracer.start_as_current_span("whole") as whole:
        await asyncio.gather(*(client.info() for _ in range(5)))
    *calls, _ = spans()
    assert len(calls) == 5
    assert len({span.context.span_id for span in calls if span.context}) == 5
    assert {span.parent and span.parent.span_id for span in calls} == {
        whole.get_span_context().span_id
    }


async def test_a_cancelled_call_says_so(spans: Spans):
    with Server(fault=Fault.hang(calls=["Nearest"])) as server:
        async with await pt.AsyncClient.connect(endpoint=server.endpoint) as client:
            stream = await client.create(uuid4(), "spans")
            spans()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await stream.earliest()
    (span,) = spans()
    assert told(span)["error.type"] == "asyncio.exceptions.CancelledError"


async def test_the_server_is_told_of_the_trace(spans: Spans, connect: Connect, serve: Serve):
    served = serve("--log-level", "debug", "--log-format", "json", keys=APIKEY)
    async with await connect(endpoint=served.endpoint, apikey=APIKEY) as client:
        stream = await client.create(uuid4(), "spans")
        await client.streamset_from_uuids([stream.uuid] * 3)
        unsampled = trace.SpanContext(1, 2, is_remote=True)
        with trace.use_span(trace.NonRecordingSpan(unsampled)):
            await client.list_collections()
    created, looked_up = (span.context for span in spans() if span.context)
    served.process.send_signal(signal.SIGTERM)
    _, errors = served.process.communicate(timeout=60)
    records = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    calls = [record["fields"] for record in records if record["fields"]["message"] == "call"]
    seen = [(call["path"].rpartition("/")[2], call.get("trace")) for call in calls]
    assert ("Create", parent(created)) in seen
    assert seen.count(("StreamInfo", parent(looked_up))) == 3
    (listed,) = (said for path, said in seen if path == "ListCollections")
    assert listed.startswith(f"00-{1:032x}-")
    assert listed.endswith("-00")
    assert ("Info", None) in seen


def parent(span: trace.SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


SILENT = """
import sys
import pingthings.timeseries as pt
with pt.connect(endpoint=sys.argv[1], apikey=sys.argv[2]) as client:
    client.list_collections()
    assert not any(name.startswith("opentelemetry") for name in sys.modules)
    import opentelemetry.trace
    client.list_collections()
    assert "opentelemetry.propagate" not in sys.modules
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
    opentelemetry.trace.set_tracer_provider(provider)
    client.list_collections()
"""


def test_nothing_happens_before_a_provider_is_set(endpoint: str, apikey: str):
    command = [sys.executable, "-W", "error", "-c", SILENT, endpoint, apikey]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["attributes"]["db.operation.name"] == "list_collections"


def test_every_call_that_asks_is_traced():
    for owner in (pt.AsyncClient, pt.AsyncStream, pt.AsyncStreamSet):
        for name, member in vars(owner).items():
            asks = inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
            if asks and not name.startswith("_") and name != "close":
                assert hasattr(member, "__wrapped__"), name
