"""Determines the endpoint, the key and the concurrency limit of a connection.

Arguments have precedence over the environment, and the environment over the credentials file. If an
argument names a profile, the file is used whatever the environment contains.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pingthings.timeseries.constants import DEFAULT_CONCURRENCY_LIMIT
from pingthings.timeseries.exceptions import (
    BTRDBTypeError,
    BTRDBValueError,
    ConnectionError,  # noqa: A004 - documented name
    CredentialsFileInvalid,
    CredentialsFileNotFound,
    ProfileNotFound,
)

__all__ = ["Credentials", "default_path", "resolve", "resolve_concurrency_limit"]

_DEFAULT_PROFILE = "default"
_LOOKS_LIKE_ENDPOINT = re.compile(r":\d+/?\s*$|://")
_MAXIMUM_CONCURRENCY_LIMIT = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Credentials:
    """An endpoint and the key for it. Its repr never shows the key."""

    endpoint: str
    """Host and port, as in `grid.example.com:4411`."""
    apikey: str | None
    """The API key; None connects without one."""
    profile: str | None
    """The profile used, or None if the credentials file was not used."""

    def __repr__(self) -> str:
        apikey = None if self.apikey is None else "<hidden>"
        return f"Credentials({self.endpoint!r}, apikey={apikey}, profile={self.profile!r})"


@dataclass(frozen=True, slots=True)
class _Partial:
    """The values of one source; None where it has none."""

    endpoint: str | None = None
    apikey: str | None = None

    def over(self, other: _Partial) -> _Partial:
        return _Partial(
            endpoint=other.endpoint if self.endpoint is None else self.endpoint,
            apikey=other.apikey if self.apikey is None else self.apikey,
        )


def default_path() -> Path:
    """Returns the path of the credentials file, `~/.predictivegrid/credentials.yaml`.

    A user without an entry in the user database, as in many containers, has no home directory. The
    path then begins with a literal `~`, where there is no file.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("~")
    return home / ".predictivegrid" / "credentials.yaml"


def resolve(
    profile: str | None,
    endpoint: str | None,
    apikey: str | None,
    environ: Mapping[str, str],
    *,
    path: Path | None = None,
) -> Credentials:
    """Returns the endpoint and key of a connection.

    1. If a profile is given, the environment is ignored. `apikey`, if given, replaces its key.
    2. Otherwise endpoint and key each come from the argument, or else from the environment
       (`BTRDB_ENDPOINTS`, `BTRDB_API_KEY`), or else from the file, with the profile `BTRDB_PROFILE`
       or else `default`. The file is not read if arguments and environment provide both.

    A `profile` that contains a colon and digits, as in `grid.example.com:4411`, is used as the
    endpoint, so that an endpoint can be the first argument of `connect`. An empty environment
    variable counts as unset; an empty `apikey` means to connect without a key.

    Args:
        profile: Name of a profile in the credentials file.
        endpoint: Host and port.
        apikey: The API key.
        environ: The environment, usually `os.environ`.
        path: The credentials file, instead of the one in the home directory.

    Raises:
        BTRDBTypeError: An argument is not text.
        BTRDBValueError: Both a profile and an endpoint are given, or the endpoint is empty.
        ConnectionError: No endpoint is configured.
        CredentialsFileNotFound: A profile is given and there is no file.
        CredentialsFileInvalid: The file cannot be read or has invalid content.
        ProfileNotFound: The file has no such profile.
    """
    _check_text(profile=profile, endpoint=endpoint, apikey=apikey)
    if profile is not None and endpoint is not None:
        raise BTRDBValueError(
            f"profile `{profile}` and endpoint `{endpoint}` are both given; give one of them"
        )
    if profile is not None and _LOOKS_LIKE_ENDPOINT.search(profile):
        profile, endpoint = None, profile
    if endpoint is not None and not endpoint.strip():
        raise BTRDBValueError("the endpoint is empty; write it like `grid.example.com:4411`")

    file = default_path() if path is None else path
    arguments = _Partial(endpoint, apikey)
    if profile is not None:
        found, used = arguments.over(_from_file(file, profile)), profile
    else:
        from_environ, preferred = _from_environ(environ)
        found, used = arguments.over(from_environ), None
        if found.endpoint is None or found.apikey is None:
            used = preferred or _DEFAULT_PROFILE
            try:
                found = found.over(_from_file(file, used))
            except (CredentialsFileNotFound, ProfileNotFound):
                if preferred is not None:
                    raise
                used = None
    if found.endpoint is None:
        raise ConnectionError(_no_endpoint(file, used))
    return Credentials(found.endpoint.strip(), found.apikey or None, used)


def resolve_concurrency_limit(limit: int | None, environ: Mapping[str, str]) -> int:
    """Returns the maximum number of requests in flight.

    Args:
        limit: The requested limit; None selects `PINGTHINGS_CONCURRENCY_LIMIT`, or else
            `DEFAULT_CONCURRENCY_LIMIT`.
        environ: The environment, usually `os.environ`.

    Raises:
        BTRDBValueError: The limit, or the value of the variable, is not an integer of at least 1.
    """
    name = "concurrency_limit"
    value: object = limit
    if value is None:
        name = "PINGTHINGS_CONCURRENCY_LIMIT"
        text = environ.get(name, "").strip()
        if not text:
            return DEFAULT_CONCURRENCY_LIMIT
        value = int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text
    if (
        not isinstance(value, int)
        or isinstance(value, bool)
        or not 1 <= value <= _MAXIMUM_CONCURRENCY_LIMIT
    ):
        raise BTRDBValueError(f"{name} is `{value}`; it must be an integer of at least 1")
    return value


def _from_environ(environ: Mapping[str, str]) -> tuple[_Partial, str | None]:
    endpoint, apikey, profile = (
        environ.get(name, "").strip() or None
        for name in ("BTRDB_ENDPOINTS", "BTRDB_API_KEY", "BTRDB_PROFILE")
    )
    return _Partial(endpoint, apikey), profile


def _check_text(**arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            raise BTRDBTypeError(f"`{name}` is text, not `{type(value).__name__}`")


def _no_endpoint(file: Path, profile: str | None) -> str:
    if profile is not None:
        return f"profile `{profile}` of `{file}` has no `endpoints`"
    return (
        "no endpoint is configured; pass `endpoint=`, or set BTRDB_ENDPOINTS, or write a profile "
        f"`{_DEFAULT_PROFILE}` into `{file}`"
    )


def _from_file(file: Path, profile: str) -> _Partial:
    entry = _load(file).get(profile)
    if entry is None:
        raise ProfileNotFound(f"`{file}` has no profile `{profile}`")
    where = f"profile `{profile}` of `{file}`"
    btrdb = _mapping(entry, where).get("btrdb")
    if btrdb is None:
        raise CredentialsFileInvalid(f"{where} has no entry `btrdb`")
    settings = _mapping(btrdb, f"entry `btrdb` of {where}")
    return _Partial(
        endpoint=_text(settings, ("endpoints", "endpoint"), where),
        apikey=_text(settings, ("api_key", "apikey"), where),
    )


def _load(file: Path) -> Mapping[object, object]:
    import yaml  # noqa: PLC0415 - most connections need no file, and the import takes time

    try:
        content: object = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CredentialsFileNotFound(f"there is no credentials file `{file}`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsFileInvalid(f"cannot read `{file}`: {error}") from error
    except yaml.MarkedYAMLError as error:
        # The text of the error quotes the line, which may contain a key.
        mark = error.problem_mark
        line = "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"
        raise CredentialsFileInvalid(f"`{file}` is not valid YAML{line}") from None
    except yaml.YAMLError:
        raise CredentialsFileInvalid(f"`{file}` is not valid YAML") from None
    return {} if content is None else _mapping(content, f"`{file}`")


def _mapping(value: object, where: str) -> Mapping[object, object]:
    if not isinstance(value, dict):
        raise CredentialsFileInvalid(f"{where} is not a mapping of names to values")
    return cast("Mapping[object, object]", value)


def _text(settings: Mapping[object, object], names: tuple[str, str], where: str) -> str | None:
    for name in names:
        value = settings.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not value.strip():
            raise CredentialsFileInvalid(f"`{name}` of {where} is not text; put it in quotes")
        return value.strip()
    return None
