"""Runs the coroutines of the asynchronous client for the synchronous one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from pingthings.timeseries.exceptions import BTrDBError, ClientClosedError, InvalidOperation

__all__ = ["ClientEventLoop"]

T = TypeVar("T")


class ClientEventLoop:
    """Runs coroutines of a client with a blocking core.

    The blocking interface of the core returns finished awaitables, so a coroutine that awaits
    nothing else completes in one step. There is no thread and no asyncio loop: it works from any
    thread, inside a running loop, and in a notebook.
    """

    # Kept here because modules are emptied at interpreter exit, while a `__del__` may make calls.
    _is_ending: Callable[[], bool] = staticmethod(sys.is_finalizing)
    _ours = BTrDBError
    _closed = ClientClosedError

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what the coroutine returns.

        Args:
            coroutine: A coroutine that awaits only the blocking interface of the core.

        Raises:
            ClientClosedError: The interpreter is ending.
            InvalidOperation: The coroutine awaited something else, for example a sleep.
        """
        try:
            coroutine.send(None)
        except StopIteration as done:
            result: T = done.value
            return result
        except Exception as error:
            # Python modules that it needs may be gone by then; such an error would be confusing.
            if self._is_ending() and not isinstance(error, self._ours):
                raise self._closed("the interpreter is exiting: no call can be made") from None
            raise
        coroutine.close()
        raise InvalidOperation(
            "the coroutine awaited something other than the blocking core; run it with asyncio"
        )

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yields the items of an asynchronous iterator, and closes it when the loop ends."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                self.run(close())

    def __repr__(self) -> str:
        return "ClientEventLoop()"


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items)
