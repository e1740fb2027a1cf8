# ruff: noqa: INP001 - no package, but a file that mkdocs loads
"""Lets the site show a docstring's section `Example` as a section, and not as a quotation."""

from __future__ import annotations

import re
from typing import Any

import griffe

_HEADING = re.compile(r"^Example:$", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Gives the section the only name that griffe knows it by."""

    def on_instance(self, *, obj: griffe.Object, **_others: Any) -> None:
        """Rewrites the heading in the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = _HEADING.sub("Examples:", obj.docstring.value)
