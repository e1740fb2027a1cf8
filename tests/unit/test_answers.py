"""JSON that a server got wrong is an error of the package, whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pingthings.timeseries.annotations import from_text
from pingthings.timeseries.answers import as_object
from pingthings.timeseries.exceptions import BTrDBError, BTRDBServerError
from pingthings.timeseries.records import _to_dict

DEEP = 100_000
WRONG = [
    "",
    "{",
    '{"a": }',
    '{"a": NaN}',
    '{"a": -Infinity}',
    "[1]",
    "5",
    "null",
    '"text"',
    '{"a": 1} x',
    '{"a": "\x01"}',
    '{"a": ' + "[" * DEEP + "]" * DEEP + "}",
    '{"a": ' * DEEP + "1" + "}" * DEEP,
    '{"a": 1' + "0" * 10_000 + "}",
    b'{"a": "\xff"}',
    b'{"a": "\xed\xa0\x80"}',
    '{"a": 1}'.encode("utf-16"),
    b"\xef\xbb\xbf{}",
    b"\0",
]


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_object_is_refused(text: bytes | str):
    with pytest.raises(BTRDBServerError, match="the server's answer to a row cannot be read"):
        as_object(text, "a row")


@pytest.mark.parametrize("text", [t for t in WRONG[1:] if isinstance(t, str)], ids=str)
def test_fields_of_records_are_objects(text: str):
    with pytest.raises(BTRDBServerError):
        _to_dict((1, "name", text))


def test_fields_do_not_replace_what_the_server_said_itself():
    assert _to_dict((1, "one", '{"id": 2, "name": "two", "rate": 30}')) == {
        "id": 1,
        "name": "one",
        "rate": 30,
    }
    assert _to_dict((1, "one", "")) == {"id": 1, "name": "one"}


@given(st.one_of(st.binary(), st.text()))
def test_anything_is_an_object_or_an_error_of_ours(text: bytes | str):
    try:
        found = as_object(text, "anything")
    except BTrDBError:
        return
    assert isinstance(found, dict)


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"])),
            st.lists,
        ),
    )
)
def test_objects_come_as_they_are(value: dict[str, Any]):
    assert as_object(json.dumps(value), "a row") == value
    assert as_object(json.dumps(value).encode(), "a row") == value


@pytest.mark.parametrize("text", [t for t in WRONG if isinstance(t, str)], ids=str)
def test_annotations_of_any_text_are_read(text: str):
    kept = from_text(text)
    assert kept == text or json.dumps(kept) == text
