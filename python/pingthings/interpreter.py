"""Which interpreter this is: the package works in the main one of a process only."""

from __future__ import annotations

import importlib
import sys
from typing import Any

__all__ = ["require_main"]

_MODULE = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"


def require_main() -> None:
    """Refuses to be imported into a sub-interpreter, where importing pyarrow may never return.

    Raises:
        ImportError: This is not the main interpreter of the process.
    """
    try:
        interpreters: Any = importlib.import_module(_MODULE)
    except ImportError:
        # Other implementations of Python have none.
        return
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError(
            "pingthings works in the main interpreter of a process only, and this is a "
            "sub-interpreter; use threads, asyncio or processes instead"
        )
