"""Which interpreter this is: the package works in the main one of a process, and with a GIL."""

from __future__ import annotations

import importlib
import sys
import sysconfig
from typing import Any

__all__ = ["require_gil", "require_main"]

_MODULE = "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"


def require_gil() -> None:
    """Refuses to be imported into a free-threaded interpreter, for which nothing was tested.

    The core counts the threads that hold the GIL to end without a crash, and no wheel is built for
    such an interpreter; whoever builds one from source shall not find out by accident.

    Raises:
        ImportError: This is a free-threaded build of Python.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError(
            "pingthings does not support free-threaded builds of Python; use the ordinary build, "
            f"python{sys.version_info[0]}.{sys.version_info[1]}"
        )


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
