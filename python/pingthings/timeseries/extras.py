"""Imports optional packages when a call needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from pingthings.timeseries.exceptions import MissingExtraError

__all__ = ["extra"]


def extra(module: str, name: str) -> Any:
    """Returns a module of an optional package.

    Args:
        module: Name of the module, as in `matplotlib.dates`.
        name: The extra of this package that installs it.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"this needs {package}, which cannot be imported ({error}); "
            f'install it with `pip install "pingthings[{name}]"`'
        ) from error
