"""Reports the progress of long calls to a function, to a bar object, or on the screen.

A read of a set is made in parts of `concurrency_limit` streams, each of them one call of the core.
An insert is one call whose steps are awaited one by one. As in `async_client`, code here may await
only the core (docs/design/twins.md).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, contextmanager
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import pyarrow as pa

from pingthings.timeseries.exceptions import BTRDBTypeError

if TYPE_CHECKING:
    from pingthings.timeseries.pyo3_client import InsertSteps

__all__ = ["Bar", "Progress", "by_points", "by_streams", "of_insert"]

At = TypeVar("At")
Report: TypeAlias = Callable[[int], None]


@runtime_checkable
class Bar(Protocol):
    """A progress bar like those of tqdm, with a total and `update`."""

    total: Any

    def update(self, n: int, /) -> object:
        """Advances the bar."""
        ...


Progress: TypeAlias = bool | Callable[[int, int], object] | Bar
"""Where to report progress: True shows a bar in a terminal or a notebook; a function is called with
the number done and the total; a tqdm bar is updated."""


async def by_streams(
    at: Sequence[At],
    limit: int,
    progress: Progress | None,
    call: Callable[[Sequence[At]], Awaitable[list[pa.Table]]],
) -> list[pa.Table]:
    """Returns the result of a call over streams, made in parts if progress is reported.

    Args:
        at: The streams, in the form of the core.
        limit: The concurrency limit, which is the number of streams of a part.
        progress: Where to report how many streams are done.
        call: Makes one call of the core.
    """
    if progress is None or progress is False:
        return await call(at)
    tables: list[pa.Table] = []
    with _reporting(progress, len(at), "streams") as report:
        for begin in range(0, len(at), limit):
            tables += await call(at[begin : begin + limit])
            report(len(tables))
    return tables


async def by_points(
    tables: AsyncIterator[pa.Table], total: int, progress: Progress
) -> list[pa.Table]:
    """Returns the tables of an iterator as a list.

    Args:
        tables: The tables as they arrive.
        total: Their total number of points; points inserted since it was counted may exceed it.
        progress: Where to report how many points have arrived.
    """
    found: list[pa.Table] = []
    points = 0
    closing: Any = aclosing(cast("Any", tables))
    with _reporting(progress, total, "points") as report:
        async with closing:  # also ends the call on the server if the function raises
            async for table in tables:
                found.append(table)
                points += table.num_rows
                report(min(points, total))
    return found


async def of_insert(steps: InsertSteps, total: int, progress: Progress) -> list[int]:
    """Runs an insert and returns its versions.

    If the progress function raises, nothing further is sent, and a note on the exception says how
    many points are stored.

    Args:
        steps: The insert, of which nothing is sent yet.
        total: The number of points.
        progress: Where to report how many points are durable.
    """
    reported = 0
    with _reporting(progress, total, "points") as report:
        try:
            while True:
                step = await steps.next()
                done = step if isinstance(step, int) else total
                if done > reported:
                    await _report(report, done, steps, total)
                    reported = done
                if not isinstance(step, int):
                    return step
        finally:
            steps.close()  # also ends the insert on the server if it is abandoned


async def _report(report: Report, done: int, steps: InsertSteps, total: int) -> None:
    try:
        report(done)
    except BaseException as error:
        stored = await steps.stop()
        error.add_note(f"{stored} of {total} points were stored before this")
        raise


@contextmanager
def _reporting(progress: Progress, total: int, what: str) -> Generator[Report]:
    """Yields the function to call with the number done."""
    if progress is True:
        shown = _notebook if _is_notebook() else _terminal
        with shown(total, what) as report:
            yield report
    elif isinstance(progress, Bar):
        progress.total = total
        done = 0

        def step(now: int) -> None:
            nonlocal done
            progress.update(now - done)
            done = now

        yield step
    elif callable(progress):
        progress(0, total)
        yield lambda now: (progress(now, total), None)[1]
    else:
        raise BTRDBTypeError(
            "`progress` must be True, a function of two numbers, or a bar like those of tqdm, not "
            f"a `{type(progress).__name__}`"
        )


@contextmanager
def _terminal(total: int, what: str) -> Generator[Report]:
    """Shows a bar in a terminal; if standard error is not one, prints a line at the end."""
    from rich.console import Console  # noqa: PLC0415 - tens of milliseconds
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        task = bar.add_task(what, total=total, text=_text(0, total, what))
        yield lambda now: bar.update(task, completed=now, text=_text(now, total, what))


def _is_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


@contextmanager
def _notebook(total: int, what: str) -> Generator[Report]:
    """Shows a bar below the notebook cell, which stays there."""
    from IPython import display  # noqa: PLC0415 - a notebook has it

    shown: Any = display

    def bar(now: int) -> Any:
        text = escape(_text(now, total, what))
        return shown.HTML(f'<progress value="{now}" max="{total}"></progress> {text}')

    handle = shown.display(bar(0), display_id=True)
    yield lambda now: handle.update(bar(now))


def _text(now: int, total: int, what: str) -> str:
    return f"{now:,} of {total:,} {what}"
