"""Where a connection goes and with which key, as the older client found it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import yaml

from pingthings.btrdb.exceptions import CredentialsFileNotFound, ProfileNotFound

__all__ = [
    "CONFIG_DIR",
    "CREDENTIALS_FILENAME",
    "CREDENTIALS_PATH",
    "credentials",
    "credentials_by_env",
    "credentials_by_profile",
    "filter_none",
    "load_credentials_from_file",
    "os",  # programs that import everything from here use it
]

CONFIG_DIR = ".predictivegrid"
CREDENTIALS_FILENAME = "credentials.yaml"
CREDENTIALS_PATH = os.path.join(  # noqa: PTH118 - a text, as documented
    os.path.expanduser("~"),  # noqa: PTH111 - a text, as documented
    CONFIG_DIR,
    CREDENTIALS_FILENAME,
)

P = ParamSpec("P")


def filter_none(f: Callable[P, dict[str, Any]]) -> Callable[P, dict[str, Any]]:
    """Makes a function leave out the keys of its dict whose values are None."""

    @wraps(f)
    def inner(*args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        return {key: value for key, value in f(*args, **kwargs).items() if value is not None}

    return inner


def load_credentials_from_file() -> dict[str, Any]:
    """Returns what the credentials file holds, by profile.

    Raises:
        CredentialsFileNotFound: There is no such file.
    """
    try:
        with open(CREDENTIALS_PATH) as file:  # noqa: PTH123 - a text, as documented
            found: dict[str, Any] | None = yaml.safe_load(file)
    except FileNotFoundError as error:
        raise CredentialsFileNotFound(f"there is no file `{CREDENTIALS_PATH}`") from error
    return found or {}


@filter_none
def credentials_by_profile(name: str | None = None) -> dict[str, Any]:
    """Returns endpoint and key of a profile of the credentials file.

    Args:
        name: The profile; None is `BTRDB_PROFILE` of the environment, or else `default`.

    Returns:
        A dict of `endpoints` and `apikey`, empty if there is no default profile.

    Raises:
        CredentialsFileNotFound: There is no such file.
        ProfileNotFound: There is no such profile.
    """
    name = name or os.environ.get("BTRDB_PROFILE", "default")
    profiles = load_credentials_from_file()
    if name not in profiles:
        if name == "default":
            return {}
        raise ProfileNotFound(f"there is no profile `{name}` in `{CREDENTIALS_PATH}`")
    found = dict(profiles[name].get("btrdb", {}))
    if "api_key" in found:
        found["apikey"] = found.pop("api_key")
    return found


@filter_none
def credentials_by_env() -> dict[str, Any]:
    """Returns endpoint and key of the environment: `BTRDB_ENDPOINTS` and `BTRDB_API_KEY`."""
    return {
        "endpoints": os.environ.get("BTRDB_ENDPOINTS"),
        "apikey": os.environ.get("BTRDB_API_KEY"),
    }


def credentials(endpoints: str | None = None, apikey: str | None = None) -> dict[str, Any]:
    """Returns endpoint and key: of the arguments, or the environment, or the credentials file."""
    found: dict[str, Any] = {}
    if os.path.exists(CREDENTIALS_PATH):  # noqa: PTH110 - a text, as documented
        found |= credentials_by_profile()
    given = {"endpoints": endpoints, "apikey": apikey}
    found |= credentials_by_env()
    return found | {key: value for key, value in given.items() if value is not None}
