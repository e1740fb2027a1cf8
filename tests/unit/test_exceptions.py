"""The tree of errors, and the codes its classes answer."""

import builtins
import copy
import inspect
import pickle
import re
from pathlib import Path
from uuid import UUID

import pytest
from pingthings.timeseries import exceptions
from pingthings.timeseries.exceptions import BTrDBError, from_code

RUST_CODES = Path(__file__).parents[2] / "rust/types/src/code.rs"
CLASSES = [
    value
    for name in exceptions.__all__
    if isinstance(value := getattr(exceptions, name), type) and issubclass(value, BTrDBError)
]
# The predecessor's classes with their bases, which `except` clauses out there rely on.
DOCUMENTED_BASES = {
    "ConnectionError": "BTrDBError",
    "StreamNotFoundError": "BTrDBError",
    "CredentialsFileNotFound": "FileNotFoundError BTrDBError",
    "ProfileNotFound": "BTrDBError",
    "BTRDBServerError": "BTrDBError",
    "BTRDBTypeError": "TypeError BTrDBError",
    "InvalidOperation": "BTrDBError",
    "StreamExists": "InvalidOperation",
    "AmbiguousStream": "InvalidOperation",
    "PermissionDenied": "InvalidOperation",
    "BTRDBValueError": "ValueError BTrDBError",
    "InvalidCollection": "BTRDBValueError",
    "InvalidTagKey": "BTRDBValueError",
    "InvalidTagValue": "BTRDBValueError",
    "InvalidTimeRange": "BTRDBValueError",
    "InvalidPointWidth": "BTRDBValueError",
    "BadValue": "BTRDBValueError",
    "RecycledUUID": "BTRDBValueError",
    "BadSQLValue": "BTRDBValueError",
    "VersionNotAvailable": "BTRDBValueError",
    "NoSuchPoint": "BTRDBValueError",
    # New ones.
    "AuthenticationError": "ConnectionError",
    "DeadlineExceededError": "BTrDBError TimeoutError",
    "ClientClosedError": "InvalidOperation",
    "InvalidUUIDError": "BTRDBTypeError BTRDBValueError",
    "ObjectNotFound": "BTrDBError LookupError",
    "StreamNotInSetError": "BTRDBValueError KeyError",
}
DOCUMENTED_CODES = {
    401: "NoSuchPoint",
    404: "StreamNotFoundError",
    407: "InvalidCollection",
    408: "InvalidTagKey",
    409: "InvalidTagValue",
    413: "InvalidTimeRange",
    415: "InvalidPointWidth",
    417: "StreamExists",
    418: "AmbiguousStream",
    425: "BadValue",
    429: "RecycledUUID",
    441: "BadSQLValue",
    450: "VersionNotAvailable",
    **dict.fromkeys(
        (
            *(402, 403, 405, 414, 421, 423, 424, 426, 427, *range(431, 435), 438, 440),
            *(*range(452, 460), 500, 501, 502),
        ),
        "BTRDBServerError",
    ),
}
# The code that says nothing more than "error".
WITHOUT_A_CLASS = {416}


@pytest.mark.parametrize(("name", "bases"), DOCUMENTED_BASES.items())
def test_class_has_the_documented_bases(name: str, bases: str):
    cls = getattr(exceptions, name)
    for base in bases.split():
        assert issubclass(cls, getattr(exceptions, base, None) or getattr(builtins, base))


def test_connection_error_is_the_builtin_one_too():
    assert issubclass(exceptions.ConnectionError, builtins.ConnectionError)


@pytest.mark.parametrize(("code", "name"), DOCUMENTED_CODES.items())
def test_documented_code_gives_the_documented_class(code: int, name: str):
    error = from_code(code, "refused")
    assert isinstance(error, getattr(exceptions, name))
    assert error.code == code
    assert str(error) == "refused"


def test_every_code_of_the_core_has_a_class():
    block = RUST_CODES.read_text(encoding="utf-8").split("\ncodes! {", 1)[1].split("\n}", 1)[0]
    codes = {int(number) for number in re.findall(r"^\s+\w+ = (\d+),$", block, re.MULTILINE)}
    assert len(codes) > 50
    assert codes - WITHOUT_A_CLASS == {code for cls in CLASSES for code in cls.codes}


@pytest.mark.parametrize("code", [0, 410, 416, 999, -1])
def test_code_without_a_class_gives_the_root(code: int):
    error = from_code(code, "unheard of")
    assert type(error) is BTrDBError
    assert error.code == code


@pytest.mark.parametrize("cls", CLASSES)
def test_class_is_documented(cls: type[BTrDBError]):
    assert cls.__doc__ is not None
    assert cls.__doc__.split("\n", maxsplit=1)[0].endswith(".")


@pytest.mark.parametrize("cls", CLASSES)
def test_error_keeps_everything_through_pickle_and_copy(cls: type[BTrDBError]):
    error = cls("stream `7` failed", 999)
    error.uuid = UUID(int=7)
    error.in_doubt = True
    error.time_range = (1, 2)
    error.last_version = 3
    error.add_note("connection reset")
    assert str(error) == "stream `7` failed"
    assert repr(error) == f"{cls.__name__}('stream `7` failed')"
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    for clone in (pickled, copy.copy(error), copy.deepcopy(error)):
        assert type(clone) is cls
        assert str(clone) == "stream `7` failed"
        assert clone.args == error.args
        assert vars(clone) == vars(error)
        assert clone.code == 999
        assert clone.__notes__ == ["connection reset"]


@pytest.mark.parametrize("cls", CLASSES)
def test_error_starts_without_code_and_doubt(cls: type[BTrDBError]):
    error = cls("failed")
    assert error.code is None
    assert error.uuid is None
    assert error.in_doubt is False
    assert error.time_range is None
    assert error.last_version is None
    assert str(cls()) == ""


@pytest.mark.parametrize("cls", CLASSES)
def test_error_can_be_raised_and_caught_by_each_base(cls: type[BTrDBError]):
    for base in inspect.getmro(cls)[:-2]:
        with pytest.raises(base, match="failed"):
            raise cls("failed")


def test_code_named_by_two_classes_is_refused():
    with pytest.raises(TypeError, match="404 belongs to `StreamNotFoundError`"):
        type("Another", (BTrDBError,), {}, codes=(404,))
    assert type(from_code(404, "")) is exceptions.StreamNotFoundError


def test_subclass_does_not_inherit_codes():
    class Narrower(exceptions.StreamNotFoundError):
        """A user's own refinement."""

    assert Narrower.codes == ()
    assert type(from_code(404, "")) is exceptions.StreamNotFoundError


def test_every_class_of_the_module_is_public():
    defined = {
        name
        for name, value in vars(exceptions).items()
        if inspect.isclass(value) and value.__module__ == exceptions.__name__
    }
    assert defined == {name for name in exceptions.__all__ if name != "from_code"}
