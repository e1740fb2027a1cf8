"""How the synchronous client runs the code of the asynchronous one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from pingthings.timeseries.exceptions import BTrDBError, ClientClosedError, InvalidOperation

__all__ = ["ClientEventLoop"]

T = TypeVar("T")


class ClientEventLoop:
    """Runs coroutines of a client whose core blocks.

    The blocking face of the core returns awaitables that have finished, so a coroutine that awaits
    nothing else runs to its end in one step. There is no thread and no asyncio loop: it works from
    any thread, inside a running loop, and in a notebook.
    """

    # At hand when the interpreter ends and modules are emptied, while a `__del__` makes calls.
    _is_ending: Callable[[], bool] = staticmethod(sys.is_finalizing)
    _ours = BTrDBError
    _closed = ClientClosedError

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Returns what the coroutine returns.

        Args:
            coroutine: One that awaits only the blocking face of the core.

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
            # What it needs of Python may be gone by then, which says nothing to anybody.
            if self._is_ending() and not isinstance(error, self._ours):
                raise self._closed("the interpreter is exiting: no call can be made") from None
            raise
        coroutine.close()
        raise InvalidOperation(
            "the coroutine awaited something other than the blocking core; run it with asyncio"
        )

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yields what the asynchronous iterator yields, and closes it at the end or on the way."""
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
