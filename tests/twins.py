"""The synchronous client in the clothes of the asynchronous one: one test body for both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any, Self, cast

import pingthings.timeseries as pt
from pingthings.timeseries.client import Client, Stream, StreamSet
from pingthings.timeseries.constants import _PW

_TWINS = (Client, Stream, StreamSet)
_WITHOUT_IO = {"stream_from_uuid", "pin_version", "filter", "stats", "with_time_limits"}


class Twin:
    """Its methods return awaitables; everything else is the object's own."""

    def __init__(self, target: Any) -> None:
        object.__setattr__(self, "target", target)

    def __getattr__(self, name: str) -> Any:
        if name in {"aligned_windows", "precise_windows"}:
            return self._windows(name)
        found = getattr(self.target, name)
        if not callable(found):
            return found
        if name.endswith("_iter"):
            return lambda *args, **named: _asynchronous(found(*args, **named))
        if name in _WITHOUT_IO:
            return lambda *args, **named: dressed(found(*args, **named))

        async def call(*args: Any, **named: Any) -> Any:
            return dressed(found(*args, **named))

        return call

    def _windows(self, name: str) -> Any:
        """The one difference: of `windowed_values` the width tells which kind is meant."""

        async def call(start: Any, end: Any, width: Any, *args: Any, **named: Any) -> Any:
            if name == "aligned_windows":
                width = _PW(width)
            elif isinstance(width, _PW):
                width = width.nanoseconds
            return self.target.windowed_values(start, end, width, *args, **named)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.target, name, value)

    def __eq__(self, other: object) -> bool:
        return bool(self.target == (other.target if isinstance(other, Twin) else other))

    def __hash__(self) -> int:
        return hash(self.target)

    def __repr__(self) -> str:
        return repr(self.target)

    def __len__(self) -> int:
        return len(self.target)

    def __iter__(self) -> Any:
        return map(dressed, self.target)

    def __getitem__(self, key: Any) -> Any:
        return dressed(self.target[key])

    def __contains__(self, item: object) -> bool:
        return (item.target if isinstance(item, Twin) else item) in self.target

    async def __aenter__(self) -> Self:
        self.target.__enter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.target.__exit__(*exc)


async def _asynchronous(items: Generator[Any]) -> AsyncIterator[Any]:
    try:
        for item in items:
            yield item
    finally:
        items.close()


def dressed(value: Any) -> Any:
    return Twin(value) if isinstance(value, _TWINS) else value


async def connect_sync(*args: Any, **named: Any) -> pt.AsyncClient:
    return cast("pt.AsyncClient", Twin(pt.connect(*args, **named)))


async def connect_async(*args: Any, **named: Any) -> pt.AsyncClient:
    return await pt.AsyncClient.connect(*args, **named)
