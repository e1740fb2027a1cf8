"""Every way to say where to connect and as whom, what is refused, and closing again."""

import os
import pickle
import socket
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pingthings
import pingthings.timeseries as pt
import pytest
from pingthings.timeseries.constants import DEFAULT_CONCURRENCY_LIMIT
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BTRDBTypeError,
    BTRDBValueError,
    ClientClosedError,
    ConnectionError,  # noqa: A004 - documented name
    CredentialsFileNotFound,
    ProfileNotFound,
)
from pingthings.timeseries.settings import warn_of_clear_text

Connect = Callable[..., Awaitable[pt.AsyncClient]]

NAMES = (
    *("BTRDB_ENDPOINTS", "BTRDB_API_KEY", "BTRDB_PROFILE", "BTRDB_CA_BUNDLE"),
    *("PINGTHINGS_CONCURRENCY_LIMIT", "PINGTHINGS_REQUIRE_TLS"),
)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without a credentials file, and an environment that says nothing."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def profiles(home: Path, endpoint: str, apikey: str) -> None:
    folder = home / ".predictivegrid"
    folder.mkdir()
    (folder / "credentials.yaml").write_text(
        f"""
default:
  name: default
  btrdb: {{endpoints: "{endpoint}", api_key: {apikey}}}
mistaken:
  name: mistaken
  btrdb: {{endpoints: "{endpoint}", api_key: mistaken-secret}}
nowhere:
  name: nowhere
  btrdb: {{api_key: {apikey}}}
""",
        encoding="utf-8",
    )


@pytest.fixture
def deaf_port() -> Iterator[int]:
    """A port on which nobody answers."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield closed.getsockname()[1]


async def assert_works(client: pt.AsyncClient) -> None:
    async with client:
        assert (await client.info())["major_version"] == 5


async def test_info_says_who_the_server_is(client: pt.AsyncClient):
    info = await client.info()
    assert info["minor_version"] >= 30
    assert info["build"].startswith("pingthings-server ")
    assert info["proxy"] == {"proxy_endpoints": []}


async def test_by_arguments(connect: Connect, endpoint: str, apikey: str):
    await assert_works(await connect(endpoint=endpoint, apikey=apikey))
    await assert_works(await connect(None, endpoint, apikey))
    await assert_works(await connect(None, f"http://{endpoint}", apikey, 3))


async def test_first_argument_may_be_the_endpoint(connect: Connect, endpoint: str, apikey: str):
    await assert_works(await connect(endpoint, apikey=apikey))


async def test_by_environment(
    connect: Connect, endpoint: str, apikey: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BTRDB_ENDPOINTS", endpoint)
    with pytest.raises(AuthenticationError):
        await connect()
    monkeypatch.setenv("BTRDB_API_KEY", apikey)
    await assert_works(await connect())
    with pytest.raises(AuthenticationError):
        await connect(apikey="mistaken")


@pytest.mark.usefixtures("profiles")
async def test_by_profile(connect: Connect, monkeypatch: pytest.MonkeyPatch, deaf_port: int):
    await assert_works(await connect())
    await assert_works(await connect("default"))
    await assert_works(await connect(profile="default"))
    monkeypatch.setenv("BTRDB_PROFILE", "mistaken")
    with pytest.raises(AuthenticationError):
        await connect()
    monkeypatch.setenv("BTRDB_ENDPOINTS", f"127.0.0.1:{deaf_port}")
    await assert_works(await connect("default"))


@pytest.mark.usefixtures("profiles")
async def test_wrong_profiles_are_named(connect: Connect, endpoint: str):
    with pytest.raises(ProfileNotFound, match="`absent`"):
        await connect("absent")
    with pytest.raises(ConnectionError, match="`nowhere`"):
        await connect("nowhere")
    with pytest.raises(BTRDBValueError, match="both given"):
        await connect("default", endpoint)


async def test_nothing_says_where(connect: Connect, home: Path):
    with pytest.raises(ConnectionError, match="BTRDB_ENDPOINTS"):
        await connect()
    with pytest.raises(CredentialsFileNotFound, match=str(home)):
        await connect("default")


@pytest.mark.parametrize(
    "endpoint", ["", "localhost", "localhost:", "localhost:x", "127.0.0.1:99999", "a b:1", ":4410"]
)
async def test_malformed_endpoint_is_refused(connect: Connect, endpoint: str):
    with pytest.raises(BTRDBValueError, match="endpoint"):
        await connect(endpoint=endpoint, apikey="key")


@pytest.mark.parametrize("argument", ["profile", "endpoint", "apikey"])
@pytest.mark.parametrize("wrong", [5, b"text", ["text"]], ids=repr)
async def test_arguments_of_wrong_type_are_refused(connect: Connect, argument: str, wrong: Any):
    with pytest.raises(BTRDBTypeError, match=f"`{argument}` is text"):
        await connect(**{argument: wrong})


async def test_nobody_answers(connect: Connect, deaf_port: int):
    with pytest.raises(ConnectionError, match=f"cannot reach `127.0.0.1:{deaf_port}`"):
        await connect(endpoint=f"127.0.0.1:{deaf_port}", apikey="key")


async def test_server_without_tls(connect: Connect, endpoint: str, apikey: str):
    with pytest.raises(ConnectionError, match="cannot reach"):
        await connect(endpoint=f"https://{endpoint}", apikey=apikey)


@pytest.mark.parametrize("mistaken", ["mistaken-secret", "k" * 5000, "mistaken-sécret"])
async def test_wrong_key_is_refused_and_not_shown(connect: Connect, endpoint: str, mistaken: str):
    with pytest.raises(AuthenticationError, match="invalid api key") as raised:
        await connect(endpoint=endpoint, apikey=mistaken)
    assert isinstance(raised.value, OSError)
    assert mistaken not in "".join(traceback.format_exception(raised.value))


async def test_missing_key_is_refused(connect: Connect, endpoint: str):
    with pytest.raises(AuthenticationError, match="missing api key"):
        await connect(endpoint=endpoint)


async def test_key_that_cannot_be_sent_is_refused(connect: Connect, endpoint: str):
    with pytest.raises(BTRDBValueError, match="line breaks") as raised:
        await connect(endpoint=endpoint, apikey="mistaken\nsecret")
    assert "secret" not in str(raised.value)


async def test_key_is_never_shown(client: pt.AsyncClient, stream: pt.AsyncStream, apikey: str):
    shown = [repr(client), repr(stream), repr(await client.info())]
    if isinstance(client, pt.AsyncClient):
        shown += [repr(client._creds), repr(client.__dict__)]
    with pytest.raises(BTRDBValueError) as raised:
        await stream.raw_values(1, 0)
    shown.append("".join(traceback.format_exception(raised.value)))
    assert all(apikey not in text for text in shown)


@pytest.mark.parametrize("form", ["{}", "http://{}", "127.0.0.1:9,{}"])
async def test_a_client_says_where_its_server_is(
    connect: Connect, endpoint: str, apikey: str, form: str
):
    given = form.format(endpoint)
    async with await connect(endpoint=given, apikey=apikey) as client:
        assert client.endpoint == given
        assert client.with_time_limits(deadline=5).endpoint == given


async def test_concurrency_limit(
    connect: Connect, endpoint: str, apikey: str, monkeypatch: pytest.MonkeyPatch
):
    async with await connect(endpoint, apikey=apikey) as client:
        assert client.concurrency_limit == DEFAULT_CONCURRENCY_LIMIT
    monkeypatch.setenv("PINGTHINGS_CONCURRENCY_LIMIT", "7")
    async with await connect(endpoint, apikey=apikey) as client:
        assert client.concurrency_limit == 7
        client.concurrency_limit = 1
        assert client.concurrency_limit == 1
        streams = [await client.create(uuid4(), f"tests/{uuid4()}") for _ in range(3)]
        together = await client.streamset_from_uuids([stream.uuid for stream in streams])
        assert set((await together.count()).values()) == {0}
    async with await connect(endpoint, apikey=apikey, concurrency_limit=3) as client:
        assert client.concurrency_limit == 3
    for text in ("0", "-1", "many", "1.5", str(1 << 40)):
        monkeypatch.setenv("PINGTHINGS_CONCURRENCY_LIMIT", text)
        with pytest.raises(BTRDBValueError, match="PINGTHINGS_CONCURRENCY_LIMIT"):
            await connect(endpoint, apikey=apikey)


@pytest.mark.parametrize("limit", [0, -1, 1 << 40, True, 1.5, "3"], ids=repr)
async def test_bad_concurrency_limit_is_refused(
    connect: Connect, client: pt.AsyncClient, endpoint: str, apikey: str, limit: Any
):
    with pytest.raises(BTRDBValueError, match="concurrency_limit"):
        await connect(endpoint, apikey=apikey, concurrency_limit=limit)
    with pytest.raises(BTRDBValueError, match="concurrency_limit"):
        client.concurrency_limit = limit
    assert client.concurrency_limit == DEFAULT_CONCURRENCY_LIMIT


async def test_tls_may_be_required(
    connect: Connect, endpoint: str, apikey: str, monkeypatch: pytest.MonkeyPatch
):
    # An address for documentation: nothing is sent, because the refusal comes first.
    elsewhere = "192.0.2.1:4410"
    monkeypatch.setenv("PINGTHINGS_REQUIRE_TLS", "1")
    with pytest.raises(BTRDBValueError, match=f"`{elsewhere}` in clear text") as raised:
        await connect(elsewhere, apikey="secret")
    assert "secret" not in str(raised.value)
    for value in ("1", "0"):
        monkeypatch.setenv("PINGTHINGS_REQUIRE_TLS", value)
        await assert_works(await connect(endpoint, apikey=apikey))
    monkeypatch.setenv("PINGTHINGS_REQUIRE_TLS", "perhaps")
    with pytest.raises(BTRDBValueError, match="PINGTHINGS_REQUIRE_TLS is `perhaps`"):
        await connect(endpoint, apikey=apikey)


async def test_ca_bundle_must_be_good(
    connect: Connect,
    endpoint: str,
    apikey: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
):
    bundle = tmp_path / "ca.pem"
    monkeypatch.setenv("BTRDB_CA_BUNDLE", str(bundle))
    with pytest.raises(BTRDBValueError, match="BTRDB_CA_BUNDLE") as raised:
        await connect(endpoint, apikey=apikey)
    assert str(bundle) in str(raised.value)
    bundle.write_text("no certificate", encoding="utf-8")
    with pytest.raises(BTRDBValueError, match=r"(?i)certificate|ca bundle"):
        await connect(f"https://{endpoint}", apikey=apikey)


async def test_loopback_is_not_warned_of(connect: Connect, endpoint: str, apikey: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await assert_works(await connect(endpoint, apikey=apikey))


def test_clear_text_is_warned_of():
    with pytest.warns(pt.exceptions.InsecureTransportWarning, match="`grid.example.com:4410`"):
        warn_of_clear_text("grid.example.com:4410")


def test_shortcuts_are_the_same_function():
    assert pingthings.connect is pt.connect


async def test_both_faces_share_a_connection(endpoint: str, apikey: str):
    with pt.connect(endpoint, apikey=apikey) as client:
        both = client.get_async_client()
        assert (await both.info()) == client.info()
        assert client.get_event_loop().run(client._client.info()) == client.info()
        both.concurrency_limit = 5
        assert client.concurrency_limit == 5
    with pytest.raises(ClientClosedError):
        await both.info()


async def test_closed_client_says_so(connect: Connect, endpoint: str, apikey: str):
    client = await connect(endpoint, apikey=apikey)
    stream = await client.create(uuid4(), f"tests/{uuid4()}", {"name": "x"})
    streams = await client.streamset_from_uuids([stream.uuid])
    assert repr(client).endswith(f" {endpoint} connected>")
    await client.close()
    await client.close()
    assert repr(client).endswith(f" {endpoint} closed>")
    calls: list[Awaitable[Any]] = [
        client.info(),
        client.list_collections(),
        client.streams_in_collection(),
        client.create(uuid4(), "x"),
        client.streamset_from_uuids([stream.uuid]),
        stream.refresh_metadata(),
        stream.raw_values(0, 1),
        stream.aligned_windows(0, 8, 2),
        stream.precise_windows(0, 8, 2),
        stream.insert([(1, 1.0)]),
        stream.insert([]),
        stream.flush(),
        stream.count(),
        stream.nearest(0),
        stream.earliest(),
        stream.latest(),
        stream.get_latest_version(),
        streams.raw_values(0, 1),
        streams.insert({stream.uuid: [(1, 1.0)]}),
        streams.count(),
        streams.get_latest_version(),
    ]
    for call in calls:
        with pytest.raises(ClientClosedError, match="connect again"):
            await call
    assert (stream.name, await stream.tags()) == (
        "x",
        {"name": "x", "unit": "", "ingress": "", "distiller": ""},
    )


async def test_context_closes_also_after_an_error(connect: Connect, endpoint: str, apikey: str):
    client = await connect(endpoint, apikey=apikey)

    async def fail() -> None:
        async with client:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    with pytest.raises(ClientClosedError):
        await client.info()


async def test_errors_survive_pickling(stream: pt.AsyncStream):
    with pytest.raises(BTRDBValueError) as raised:
        await stream.raw_values(5, 1)
    copy = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own bytes
    assert (type(copy), str(copy), copy.code) == (type(raised.value), str(raised.value), 413)


def test_environment_is_clean():
    assert not set(NAMES) & set(os.environ)
