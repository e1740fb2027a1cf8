"""The version of the older client whose names these are."""

from __future__ import annotations

__all__ = ["get_version"]

__version_info__ = {"major": 5, "minor": 34, "micro": 2, "releaselevel": "final"}


def get_version(short: bool = False) -> str:  # noqa: ARG001 - documented; only of use before a release
    """Returns the version of `btrdb` that this stands in for.

    `pingthings.__version__` is that of this package.

    Args:
        short: Has no effect.

    Examples:
        >>> get_version()
        '5.34.2'
    """
    return "{major}.{minor}.{micro}".format(**__version_info__)
