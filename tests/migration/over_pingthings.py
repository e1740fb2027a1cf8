"""A plugin of pytest: the suites of the older client, with `btrdb` being `pingthings.btrdb`.

`conformance.py` runs it. Of the older client nothing is imported but the messages of its protocol,
which its unit tests make by themselves. Unit tests that cannot pass are listed beside this file
with the reason; that one of them passes is a failure.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
from pingthings import btrdb

WHEEL = Path(os.environ["BTRDB_WHEEL"])  # the folder in which it is installed
MESSAGES = WHEEL / "btrdb" / "grpcinterface"
LEFT_OUT = json.loads(Path(__file__).with_name("btrdb_unit_tests.json").read_text(encoding="utf-8"))


def load_messages() -> None:
    spec = importlib.util.spec_from_file_location(
        "btrdb.grpcinterface", MESSAGES / "__init__.py", submodule_search_locations=[str(MESSAGES)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


btrdb.install_as_btrdb()
load_messages()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    names = {f"{Path(item.path).stem}::{item.nodeid.partition('::')[2]}": item for item in items}
    reasons = {name: reason for reason, listed in LEFT_OUT.items() for name in listed}
    if any("unit" in item.nodeid.partition("/")[0] for item in items):
        unknown = set(reasons) - set(names)
        assert not unknown, f"there are no such tests: {sorted(unknown)}"
    for name, item in names.items():
        if name in reasons:
            item.add_marker(pytest.mark.xfail(reason=reasons[name], strict=True))


def pytest_sessionfinish() -> None:
    theirs = [
        name
        for name, module in sys.modules.items()
        if str(getattr(module, "__file__", "")).startswith(f"{WHEEL / 'btrdb'}{os.sep}")
        and not name.startswith("btrdb.grpcinterface")
    ]
    assert theirs == [], f"the older client was imported: {theirs}"
