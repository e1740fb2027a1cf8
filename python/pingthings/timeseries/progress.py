"""How far a long call has come: told to a function, to a bar, or to whoever looks at the screen.

Reads of a set go in parts of as many streams as there may be requests at once, each of them one
call of the core. An insert is one call, of which each step is awaited. As in `async_client`,
nothing here may await anything but the core (docs/design/twins.md).
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
    from pingthings.timeseries.pyo3_client import Inserting

__all__ = ["Bar", "Progress", "by_points", "by_streams", "of_insert"]

At = TypeVar("At")
Report: TypeAlias = Callable[[int], None]


@runtime_checkable
class Bar(Protocol):
    """A bar as tqdm makes them: it has a total, and is told of every step."""

    total: Any

    def update(self, n: int, /) -> object:
        """Adds a step."""
        ...


Progress: TypeAlias = bool | Callable[[int, int], object] | Bar
"""Whom to tell: True shows a bar, in a terminal or a notebook; a function gets how much is done and
how much there is; a bar of tqdm gets its total and its steps."""


async def by_streams(
    at: Sequence[At],
    limit: int,
    progress: Progress | None,
    call: Callable[[Sequence[At]], Awaitable[list[pa.Table]]],
) -> list[pa.Table]:
    """Returns what a call over streams answers, made in parts if somebody wants to know.

    Args:
        at: The streams, as the core takes them.
        limit: How many requests may be under way at once, and so how many streams a part has.
        progress: Whom to tell how many streams are done.
        call: One call of the core.
    """
    if progress is None or progress is False:
        return await call(at)
    tables: list[pa.Table] = []
    with _told(progress, len(at), "streams") as report:
        for begin in range(0, len(at), limit):
            tables += await call(at[begin : begin + limit])
            report(len(tables))
    return tables


async def by_points(
    tables: AsyncIterator[pa.Table], total: int, progress: Progress
) -> list[pa.Table]:
    """Returns the tables of an iterator.

    Args:
        tables: They arrive one by one.
        total: How many points they hold together; points that were inserted since may be more.
        progress: Whom to tell how many points have arrived.
    """
    found: list[pa.Table] = []
    points = 0
    closing: Any = aclosing(cast("Any", tables))
    with _told(progress, total, "points") as report:
        async with closing:  # ends the call on the server, too, if whoever is told has had enough
            async for table in tables:
                found.append(table)
                points += table.num_rows
                report(min(points, total))
    return found


async def of_insert(inserting: Inserting, total: int, progress: Progress) -> list[int]:
    """Returns the versions that an insert answers.

    Whoever is told may raise: then nothing further is sent, and a note on what was raised says how
    much is stored.

    Args:
        inserting: The insert, of which nothing was sent yet.
        total: How many points there are.
        progress: Whom to tell how many of them are durable.
    """
    told = 0
    with _told(progress, total, "points") as report:
        try:
            while True:
                step = await inserting.next()
                done = step if isinstance(step, int) else total
                if done > told:
                    await _tell(report, done, inserting, total)
                    told = done
                if not isinstance(step, int):
                    return step
        finally:
            inserting.close()  # ends it on the server, too, if nobody waits for it any more


async def _tell(report: Report, done: int, inserting: Inserting, total: int) -> None:
    try:
        report(done)
    except BaseException as error:
        stored = await inserting.stop()
        error.add_note(f"{stored} of {total} points were stored before this")
        raise


@contextmanager
def _told(progress: Progress, total: int, what: str) -> Generator[Report]:
    """What to call with how much is done."""
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
            "`progress` is True, a function of two numbers, or a bar like those of tqdm, not a "
            f"`{type(progress).__name__}`"
        )


@contextmanager
def _terminal(total: int, what: str) -> Generator[Report]:
    """A bar below the prompt; where nobody looks, a line when it is over."""
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
    """A bar below the cell, which stays there."""
    from IPython import display  # noqa: PLC0415 - there is one here

    shown: Any = display

    def bar(now: int) -> Any:
        text = escape(_text(now, total, what))
        return shown.HTML(f'<progress value="{now}" max="{total}"></progress> {text}')

    handle = shown.display(bar(0), display_id=True)
    yield lambda now: handle.update(bar(now))


def _text(now: int, total: int, what: str) -> str:
    return f"{now:,} of {total:,} {what}"
