"""OpenTelemetry spans, for programs that have set up OpenTelemetry.

Each public method that makes requests gets one span for all of them. This module imports
OpenTelemetry only after the program has imported it. Names follow its conventions for database
clients. Spans never contain keys, values, or the texts of errors, which may contain values.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping, Sized
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa

from pingthings.timeseries import pyo3_client
from pingthings.timeseries.arguments import as_time
from pingthings.timeseries.exceptions import BTrDBError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

__all__ = ["note", "of_call", "traced"]

Class = TypeVar("Class", bound=type)

_SILENT = {"close"}
"""Public methods that make no request."""


class _Call:
    """A call of a public method, whose span begins with its first request."""

    def __init__(
        self, tracer: Tracer, name: str, target: Any, arguments: Mapping[str, Any]
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._target = target
        self._arguments = arguments
        self._span: Span | None = None
        self._untraced: pyo3_client.Client | None = None
        self._core: pyo3_client.Client | None = None
        self._rows: int | None = None
        self.is_over = False

    def core(self, core: pyo3_client.Client) -> pyo3_client.Client:
        """Returns the core whose requests belong to the span, which begins with the first."""
        if self._core is None:
            self._untraced, self._core = core, self._begin(core)
        return self._core if self._untraced is core else core

    def _begin(self, core: pyo3_client.Client) -> pyo3_client.Client:
        from opentelemetry import propagate, trace  # noqa: PLC0415 - the program has it

        where = _server(core.endpoint)
        name = f"{self._name} {core.endpoint}" if where else self._name
        attributes: dict[str, AttributeValue] = {
            "db.system.name": "btrdb",
            "db.operation.name": self._name,
            **where,
            **_described(self._target, self._arguments),
        }
        self._span = self._tracer.start_span(
            name, kind=trace.SpanKind.CLIENT, attributes=attributes
        )
        headers: dict[str, str] = {}
        propagate.inject(headers, trace.set_span_in_context(self._span))
        return core.traced(list(headers.items()))

    @contextmanager
    def current(self) -> Generator[None]:
        """Makes this the current call, to which requests belong."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            with suppress(ValueError):  # an iterator closed in another context
                _CURRENT.reset(token)

    @contextmanager
    def ending(self) -> Generator[None]:
        """Ends the span with the result of the call."""
        try:
            yield
        except GeneratorExit:
            raise  # an iterator that is left early is not a failure
        except BaseException as error:
            self._failed(error)
            raise
        finally:
            self._end()

    def _failed(self, error: BaseException) -> None:
        if self._span is None:
            return
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - the program has it

        self._span.set_status(Status(StatusCode.ERROR))
        self._span.set_attribute("error.type", _name(type(error)))
        if isinstance(error, BTrDBError) and error.code is not None:
            self._span.set_attribute("db.response.status_code", str(error.code))

    def _end(self) -> None:
        self.is_over = True
        if self._span is None or self._core is None:
            return
        if self._rows is not None:
            self._span.set_attribute("db.response.returned_rows", self._rows)
        if self._core.retries:
            self._span.set_attribute("pingthings.retries", self._core.retries)
        self._span.end()

    def answered(self, result: object) -> None:
        """Counts the rows of an answer, or of a part of one."""
        rows = _rows(result)
        if rows is not None:
            self._rows = rows + (self._rows or 0)

    def note(self, name: str, number: int) -> None:
        """Adds a number to the span."""
        if self._span is not None:
            self._span.set_attribute(name, number)


_CURRENT: ContextVar[_Call | None] = ContextVar("pingthings_call", default=None)


def of_call(core: pyo3_client.Client) -> pyo3_client.Client:
    """Returns the core for the current call: a traced copy if the call has a span."""
    call = _CURRENT.get()
    return core if call is None or call.is_over else call.core(core)


def note(name: str, number: Callable[[], int]) -> None:
    """Adds a number to the span of the current call, if there is one."""
    call = _CURRENT.get()
    if call is not None and not call.is_over:
        call.note(name, number())


def traced(cls: Class) -> Class:
    """Class decorator: wraps the public methods that make requests in spans."""
    for name, member in list(vars(cls).items()):
        if name.startswith("_") or name in _SILENT:
            continue
        if inspect.iscoroutinefunction(member):
            setattr(cls, name, _traced_call(name, member))
        elif inspect.isasyncgenfunction(member):
            setattr(cls, name, _traced_items(name, member))
    return cls


def _traced_call(name: str, method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    names = list(inspect.signature(method).parameters)[1:]

    @wraps(method)
    async def call(self: Any, *args: Any, **named: Any) -> Any:
        tracer = _tracer()
        if tracer is None:
            return await method(self, *args, **named)
        call = _Call(tracer, name, self, {**dict(zip(names, args, strict=False)), **named})
        with call.ending(), call.current():
            result = await method(self, *args, **named)
            call.answered(result)
            return result

    return call


def _traced_items(name: str, method: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
    names = list(inspect.signature(method).parameters)[1:]

    @wraps(method)
    async def items(self: Any, *args: Any, **named: Any) -> AsyncIterator[Any]:
        source: Any = method(self, *args, **named)
        async with aclosing(source):
            tracer = _tracer()
            if tracer is None:
                async for item in source:
                    yield item
                return
            call = _Call(tracer, name, self, {**dict(zip(names, args, strict=False)), **named})
            with call.ending():
                while True:
                    with call.current():
                        item = await anext(source, _END)
                    if item is _END:
                        return
                    call.answered(item)
                    yield item

    return items


_END = object()


def _tracer() -> Tracer | None:
    """Returns the tracer; None if tracing is not set up, or if the current call has a span."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    try:
        provider = trace.get_tracer_provider()
        is_off = isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider))
    except AttributeError:  # another thread is importing the module
        return None
    call = _CURRENT.get()
    if is_off or not (call is None or call.is_over):
        return None
    return _tracer_of(provider)


@lru_cache(maxsize=4)
def _tracer_of(provider: Any) -> Tracer:
    return cast("Tracer", provider.get_tracer("pingthings", pyo3_client.__version__))


def _server(endpoint: str) -> dict[str, AttributeValue]:
    """Returns the attributes of the server; none if it may be one of several."""
    if "," in endpoint:
        return {}
    host, _, port = endpoint.rpartition(":")
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def _described(target: Any, arguments: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Returns the attributes of the request: streams, version and time range."""
    found: dict[str, AttributeValue] = {}
    # If an argument is invalid, the call itself raises the error.
    with suppress(BTrDBError, TypeError, ValueError):
        if isinstance(target, Sized):
            count = len(arguments.get("data_map", target))
            found["pingthings.streams"] = count
            if count > 1:
                found["db.operation.batch.size"] = count
        elif hasattr(target, "uuid"):
            found["pingthings.stream.uuid"] = str(target.uuid)
            version = arguments.get("version") or target.pinned_version
            if version:
                found["pingthings.version"] = int(version)
        for bound in ("start", "end"):
            if arguments.get(bound) is not None:
                found[f"pingthings.{bound}_ns"] = as_time(arguments[bound], bound)
    return found


def _rows(result: object) -> int | None:
    if isinstance(result, pa.Table):
        return result.num_rows
    if isinstance(result, list):
        parts = [part for part in cast("list[object]", result) if part is not None]
        tables = [part.num_rows for part in parts if isinstance(part, pa.Table)]
        return sum(tables) if tables else len(parts)
    return None


def _name(error: type[BaseException]) -> str:
    module = error.__module__
    return error.__qualname__ if module == "builtins" else f"{module}.{error.__qualname__}"
