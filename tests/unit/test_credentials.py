"""Which endpoint and key win, and what a broken credentials file says."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from pingthings.timeseries.constants import DEFAULT_CONCURRENCY_LIMIT
from pingthings.timeseries.credentials import (
    Credentials,
    default_path,
    resolve,
    resolve_concurrency_limit,
)
from pingthings.timeseries.exceptions import (
    BTrDBError,
    BTRDBTypeError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
    CredentialsFileInvalid,
    CredentialsFileNotFound,
    ProfileNotFound,
)

FILE = """
default:
  name: default
  btrdb:
    endpoints: default.example.com:4411
    api_key: KEY-OF-DEFAULT
research:
  name: research
  btrdb:
    endpoint: research.example.com:4411
    apikey: KEY-OF-RESEARCH
keyless:
  btrdb: {endpoints: "keyless.example.com:4410"}
homeless:
  btrdb: {api_key: KEY-WITHOUT-HOME}
"""
ENDPOINT = {"BTRDB_ENDPOINTS": "environ.example.com:4411"}
KEY = {"BTRDB_API_KEY": "KEY-OF-ENVIRON"}

WriteFile = Callable[[str], Path]


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    def write(text: str) -> Path:
        file = tmp_path / "credentials.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def file(write_file: WriteFile) -> Path:
    return write_file(FILE)


@pytest.fixture
def no_file(tmp_path: Path) -> Path:
    return tmp_path / "absent" / "credentials.yaml"


def found(creds: Credentials) -> tuple[str, str | None, str | None]:
    return (creds.endpoint, creds.apikey, creds.profile)


def test_named_profile_decides_alone(file: Path):
    creds = resolve("research", None, None, {**ENDPOINT, **KEY}, path=file)
    assert found(creds) == ("research.example.com:4411", "KEY-OF-RESEARCH", "research")


def test_key_argument_replaces_the_key_of_the_profile(file: Path):
    creds = resolve("research", None, "MINE", {}, path=file)
    assert found(creds) == ("research.example.com:4411", "MINE", "research")


def test_profile_without_a_key_connects_without_one(file: Path):
    creds = resolve("keyless", None, None, KEY, path=file)
    assert found(creds) == ("keyless.example.com:4410", None, "keyless")


def test_arguments_win_over_environment_and_file(file: Path):
    creds = resolve(None, "here:4410", "MINE", {**ENDPOINT, **KEY}, path=file)
    assert found(creds) == ("here:4410", "MINE", None)


def test_environment_wins_over_file(file: Path):
    creds = resolve(None, None, None, {**ENDPOINT, **KEY}, path=file)
    assert found(creds) == ("environ.example.com:4411", "KEY-OF-ENVIRON", None)


def test_endpoint_and_key_are_decided_separately(file: Path):
    creds = resolve(None, None, None, KEY, path=file)
    assert found(creds) == ("default.example.com:4411", "KEY-OF-ENVIRON", "default")
    creds = resolve(None, "here:4410", None, {}, path=file)
    assert found(creds) == ("here:4410", "KEY-OF-DEFAULT", "default")


def test_environment_chooses_the_profile(file: Path):
    creds = resolve(None, None, None, {"BTRDB_PROFILE": "research"}, path=file)
    assert found(creds) == ("research.example.com:4411", "KEY-OF-RESEARCH", "research")


def test_environment_works_without_a_file(no_file: Path):
    creds = resolve(None, None, None, {**ENDPOINT, **KEY}, path=no_file)
    assert found(creds) == ("environ.example.com:4411", "KEY-OF-ENVIRON", None)
    creds = resolve(None, None, None, ENDPOINT, path=no_file)
    assert found(creds) == ("environ.example.com:4411", None, None)


def test_broken_file_does_not_matter_if_nothing_is_asked_of_it(write_file: WriteFile):
    creds = resolve(None, "here:4410", "MINE", {}, path=write_file("{"))
    assert found(creds) == ("here:4410", "MINE", None)


def test_empty_variables_count_as_absent(no_file: Path):
    environ = {"BTRDB_ENDPOINTS": "", "BTRDB_API_KEY": " ", "BTRDB_PROFILE": ""}
    with pytest.raises(ConnectionError, match="BTRDB_ENDPOINTS"):
        resolve(None, None, None, environ, path=no_file)


def test_empty_key_argument_means_no_key(file: Path):
    creds = resolve(None, "here:4410", "", KEY, path=file)
    assert found(creds) == ("here:4410", None, None)


@pytest.mark.parametrize(
    "endpoint",
    ["grid.example.com:4411", "10.0.0.1:4410", "[::1]:4410", "https://grid.example.com"],
)
def test_first_argument_of_the_shape_of_an_endpoint_is_one(endpoint: str, no_file: Path):
    creds = resolve(endpoint, None, "MINE", {**ENDPOINT}, path=no_file)
    assert found(creds) == (endpoint, "MINE", None)


@pytest.mark.parametrize("profile", ["research", "research.example.com:4411"])
def test_profile_beside_an_endpoint_raises(profile: str, file: Path):
    with pytest.raises(BTRDBValueError, match="both given"):
        resolve(profile, "here:4410", None, {}, path=file)


def test_empty_endpoint_raises(file: Path):
    with pytest.raises(BTRDBValueError, match="endpoint is empty"):
        resolve(None, " ", None, {}, path=file)


def test_argument_of_another_type_raises(file: Path):
    with pytest.raises(BTRDBTypeError, match="`apikey` is text, not `bytes`"):
        resolve(None, "here:4410", b"MINE", {}, path=file)  # type: ignore[arg-type]


def test_nothing_at_all_raises_and_says_where_to_put_it(no_file: Path):
    with pytest.raises(ConnectionError, match="no endpoint is configured") as raised:
        resolve(None, None, None, {}, path=no_file)
    assert str(no_file) in str(raised.value)


@pytest.mark.parametrize("environ", [{}, {"BTRDB_PROFILE": "homeless"}])
def test_profile_without_an_endpoint_raises(environ: dict[str, str], file: Path):
    profile = None if environ else "homeless"
    with pytest.raises(ConnectionError, match="`homeless`") as raised:
        resolve(profile, None, None, environ, path=file)
    assert str(file) in str(raised.value)
    assert "KEY-" not in str(raised.value)


@pytest.mark.parametrize("environ", [{}, {"BTRDB_PROFILE": "other"}])
def test_profile_that_the_file_lacks_raises(environ: dict[str, str], file: Path):
    with pytest.raises(ProfileNotFound, match="`other`") as raised:
        resolve(None if environ else "other", None, None, environ, path=file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("environ", [{}, {"BTRDB_PROFILE": "other"}])
def test_profile_without_a_file_raises(environ: dict[str, str], no_file: Path):
    with pytest.raises(CredentialsFileNotFound) as raised:
        resolve(None if environ else "other", None, None, environ, path=no_file)
    assert isinstance(raised.value, FileNotFoundError)
    assert str(no_file) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default: {btrdb: [KEY-1", "not valid YAML at line 1"),
        ("default:\n\tbtrdb: KEY-1", "not valid YAML at line 2"),
        ("default: !!python/object:os.system {}", "not valid YAML at line 1"),
        ("\x00", "not valid YAML"),
        ("- default", "not a mapping"),
        ("KEY-1", "not a mapping"),
        ("default: KEY-1", "profile `default` .* is not a mapping"),
        ("default: {name: default}", "profile `default` .* has no entry `btrdb`"),
        ("default: {btrdb: KEY-1}", "entry `btrdb` of profile `default` .* is not a mapping"),
        ("default: {btrdb: {endpoints: [a:1]}}", "`endpoints` of profile `default` .* is not text"),
        ("default: {btrdb: {endpoints: ''}}", "`endpoints` of profile `default` .* is not text"),
        ("default: {btrdb: {api_key: 12345}}", "`api_key` of profile `default` .* in quotes"),
    ],
)
def test_invalid_file_says_what_and_where_and_no_key(text: str, said: str, write_file: WriteFile):
    file = write_file(text)
    with pytest.raises(CredentialsFileInvalid, match=said) as raised:
        resolve(None, None, None, {}, path=file)
    assert str(file) in str(raised.value)
    assert "KEY-1" not in str(raised.value)
    assert "12345" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_file_that_cannot_be_read_raises(tmp_path: Path):
    with pytest.raises(CredentialsFileInvalid, match="cannot read"):
        resolve("default", None, None, {}, path=tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"default: \xff")
    with pytest.raises(CredentialsFileInvalid, match="cannot read"):
        resolve("default", None, None, {}, path=latin)


def test_empty_file_is_a_file_without_profiles(write_file: WriteFile):
    file = write_file("")
    assert resolve(None, "here:4410", None, {}, path=file).profile is None
    with pytest.raises(ProfileNotFound):
        resolve("default", None, None, {}, path=file)


def test_file_at_home_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".predictivegrid" / "credentials.yaml"
    default_path().parent.mkdir()
    default_path().write_text(FILE, encoding="utf-8")
    assert resolve("research", None, None, {}).apikey == "KEY-OF-RESEARCH"


def test_key_is_never_shown():
    creds = Credentials("here:4410", "KEY-1", None)
    assert repr(creds) == "Credentials('here:4410', apikey=<hidden>, profile=None)"
    assert str(creds) == f"{creds}" == repr(creds)
    assert repr(dataclasses.replace(creds, apikey=None)).count("hidden") == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        creds.apikey = "KEY-2"  # type: ignore[misc]


def test_concurrency_limit_is_argument_then_environment_then_default():
    environ = {"PINGTHINGS_CONCURRENCY_LIMIT": "7"}
    assert resolve_concurrency_limit(3, environ) == 3
    assert resolve_concurrency_limit(None, environ) == 7
    assert resolve_concurrency_limit(None, {}) == DEFAULT_CONCURRENCY_LIMIT
    assert resolve_concurrency_limit(None, {"PINGTHINGS_CONCURRENCY_LIMIT": " "}) == 64


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "8", 2**31])
def test_concurrency_limit_below_one_or_no_int_raises(limit: object):
    with pytest.raises(BTRDBValueError, match=f"concurrency_limit is `{limit}`"):
        resolve_concurrency_limit(limit, {})  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "0x10", "9" * 5000])
def test_concurrency_limit_of_the_environment_names_the_variable(text: str):
    with pytest.raises(BTRDBValueError, match="PINGTHINGS_CONCURRENCY_LIMIT is `"):
        resolve_concurrency_limit(None, {"PINGTHINGS_CONCURRENCY_LIMIT": text})


def test_errors_are_all_of_our_tree():
    for error in (CredentialsFileInvalid, CredentialsFileNotFound, ProfileNotFound):
        assert issubclass(error, BTrDBError)
