"""Connections in the tasks of ray, which need nothing any more: they are pickled as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pingthings.btrdb.conn import BTrDB

__all__ = ["btrdb_deserializer", "btrdb_serializer", "register_serializer"]


def register_serializer(
    conn_str: str | None = None, apikey: str | None = None, profile: str | None = None
) -> None:
    """Does nothing: `BTrDB`, `Stream` and `StreamSet` can be pickled.

    The key stays behind and is looked for where they arrive, unless the connection was made with
    `shareable=True`.

    Args:
        conn_str: Has no effect.
        apikey: Has no effect.
        profile: Has no effect.
    """


def btrdb_serializer(_: object) -> None:
    """Returns None, which `btrdb_deserializer` makes a connection of."""


def btrdb_deserializer(
    _: object,
    conn_str: str | None = None,
    apikey: str | None = None,
    profile: str | None = None,
) -> BTrDB:
    """Returns a new connection; see `pingthings.btrdb.connect`."""
    from pingthings.btrdb import connect  # noqa: PLC0415 - it imports this module

    return connect(conn_str=conn_str, apikey=apikey, profile=profile)
