"""What stands between this machine and a server, step by step, and what to do about it."""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from pingthings.cli import network
from pingthings.cli.connection import find_stream
from pingthings.cli.network import (
    Address,
    Certificate,
    Identity,
    NotHttp2Error,
    Proxy,
    Stores,
    Target,
)
from pingthings.timeseries.client import Client, Stream
from pingthings.timeseries.connect import connect
from pingthings.timeseries.constants import MAXIMUM_TIME, MINIMUM_TIME
from pingthings.timeseries.credentials import Credentials, resolve
from pingthings.timeseries.exceptions import (
    AuthenticationError,
    BTrDBError,
    BTRDBValueError,
    NotSupportedError,
    PermissionDenied,
)
from pingthings.timeseries.utils.timez import to_nanoseconds

__all__ = ["Diagnosis", "Finding", "Verdict"]

Verdict = Literal["ok", "warning", "failed", "skipped"]

_ROUNDS = 15
_SLOW_S = 0.25
_CLOCK_S = 1.0
_SOON_DAYS = 14
_DAY_S = 86_400
_READ_S = 3.0
_STREAMS_LOOKED_AT = 200
_FEW_POINTS = 100_000
_ARROW_MINOR = 30
_WANTED = {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"}


@dataclass(frozen=True)
class Finding:
    """What one step found."""

    step: str
    verdict: Verdict
    why: str
    advice: str = ""
    endpoint: str = ""


@dataclass
class Diagnosis:
    """Steps from an endpoint to the data. What a step cannot do without another is left out."""

    endpoint: str
    stream: str | None
    credentials: Credentials | None
    problem: str = ""
    """Why there is no endpoint."""
    place: str = ""
    """Which of several endpoints it is."""
    key_is_argument: bool = False
    target: Target | None = None
    proxy: Proxy | None = None
    identity: Identity | None = None
    address: Address | None = None
    client: Client | None = None
    _failed: set[str] = field(default_factory=set[str])
    _reasons: list[str] = field(default_factory=list[str])
    """Why other addresses do not answer."""

    @classmethod
    def of_each(
        cls,
        endpoint: str | None,
        profile: str | None,
        apikey: str | None,
        stream: str | None,
        *,
        key_is_argument: bool,
    ) -> list[Diagnosis]:
        """Returns one for each endpoint that arguments, environment and file amount to."""
        try:
            credentials = resolve(profile, endpoint, apikey, os.environ)
        except BTrDBError as error:
            return [cls("", stream, None, str(error))]
        texts = [text.strip() for text in credentials.endpoint.split(",") if text.strip()]
        if not texts:
            return [cls("", stream, None, f"`{credentials.endpoint}` names no endpoint")]
        return [
            cls(
                text,
                stream,
                credentials,
                place=f", {number} of {len(texts)}" if len(texts) > 1 else "",
                key_is_argument=key_is_argument,
            )
            for number, text in enumerate(texts, 1)
        ]

    def run(self) -> Iterator[Finding]:
        """Yields what each step finds."""
        for step, needs in self._steps():
            name = step.__name__.removeprefix("_").replace("_", " ")
            missing = sorted(need for need in needs if need in self._failed)
            if missing:
                self._failed.add(name)
                why = f"not without: {', '.join(missing)}"
                yield Finding(name, "skipped", why, endpoint=self.endpoint)
                continue
            try:
                verdict, why, advice = step()
            except (BTrDBError, OSError) as error:
                verdict, why, advice = "failed", str(error), "try again; look into the server's log"
            if verdict == "failed":
                self._failed.add(name)
            yield Finding(name, verdict, why, advice, self.endpoint)
        if self.client is not None:
            self.client.close()

    def _steps(self) -> list[tuple[Callable[[], tuple[Verdict, str, str]], tuple[str, ...]]]:
        return [
            (self._endpoint, ()),
            (self._proxy, ("endpoint",)),
            (self._addresses, ("endpoint", "proxy")),
            (self._tcp, ("addresses",)),
            (self._identity, ("endpoint",)),
            (self._tls, ("tcp",)),
            (self._http2, ("tcp",)),
            (self._key, ("tcp",)),
            (self._server, ("key",)),
            (self._clock, ("key",)),
            (self._round_trip, ("key",)),
            (self._throughput, ("key",)),
            (self._settings, ("key",)),
        ]

    def _endpoint(self) -> tuple[Verdict, str, str]:
        if self.credentials is None:
            return "failed", self.problem, "give `--endpoint HOST:PORT`, or set BTRDB_ENDPOINTS"
        try:
            self.target = Target.parse(self.endpoint)
        except BTRDBValueError as error:
            return "failed", str(error), "write it like `grid.example.com:4411`"
        origin = self.credentials.profile
        where = "" if origin is None else f", from profile `{origin}`"
        key = "with" if self.credentials.apikey else "without"
        return "ok", f"`{self.endpoint}`{self.place}{where}, {key} a key", ""

    def _proxy(self) -> tuple[Verdict, str, str]:
        try:
            self.proxy = Proxy.find(self.endpoint)
        except BTRDBValueError as error:
            return "failed", str(error), "mend or unset it, or name the server in NO_PROXY"
        if self.proxy is None:
            return "ok", "none on the way that anything names", ""
        return "ok", f"{self.proxy.host}:{self.proxy.port}, from {self.proxy.variable}", ""

    def _addresses(self) -> tuple[Verdict, str, str]:
        target = self._target()
        host = target.host if self.proxy is None else self.proxy.host
        try:
            addresses = network.look_up(target, self.proxy)
        except OSError as error:
            return (
                "failed",
                f"`{host}` has no address: {error.strerror or error}",
                "check the spelling, the VPN, and the name servers of this machine",
            )
        for address in addresses:
            try:
                connection, _seconds = address.connect()
            except OSError as error:
                self._reasons.append(f"{address.text}: {error.strerror or error}")
            else:
                connection.close()
                self.address = address
                break
        texts = ", ".join(str(address.where[0]) for address in addresses)
        return "ok", "no name to look up" if texts == host else f"{host}: {texts}", ""

    def _tcp(self) -> tuple[Verdict, str, str]:
        address = self.address
        if address is None:
            return (
                "failed",
                f"nothing answers: {'; '.join(self._reasons)}",
                "check the port, whether the server runs, and firewalls and proxies between",
            )
        connection, seconds = address.connect()
        connection.close()
        found = f"{address.text} answers in {seconds * 1e3:.1f} ms"
        if self._reasons:
            advice = "have the other addresses removed from DNS, or reached"
            return "warning", f"{found}; not so {'; '.join(self._reasons)}", advice
        return "ok", found, ""

    def _identity(self) -> tuple[Verdict, str, str]:
        try:
            self.identity = Identity.find()
        except ValueError as error:
            return "failed", str(error), "set both or none"
        if self.identity is None:
            return "ok", "no client certificate is set", ""
        if not self._target().tls:
            advice = "use `https://` or port 4411, or unset PINGTHINGS_CLIENT_CERTIFICATE"
            return "warning", "a client certificate is set, and goes nowhere without TLS", advice
        files = f"`{self.identity.certificate}` with `{self.identity.key}`"
        try:
            found = self.identity.read()
        except OSError as error:
            self.identity = None
            why = getattr(error, "verify_message", None) or error.strerror or str(error)
            advice = "mend PINGTHINGS_CLIENT_CERTIFICATE and PINGTHINGS_CLIENT_KEY, in PEM"
            if "expired" in why:
                advice = "have it renewed"
            return "failed", f"{files}: {why}", advice
        ends = time.strftime("%Y-%m-%d", time.gmtime(found.expires))
        why = f"{found.subject}, signed by {found.issuer}, until {ends}; from {files}"
        return _unless_soon(found, why)

    def _tls(self) -> tuple[Verdict, str, str]:
        target = self._target()
        if target.tls:
            return self._handshake(target, self._address(), Stores.find())
        key = self.credentials is not None and self.credentials.apikey
        if key and not target.is_loopback:
            advice = "use `https://` or port 4411, and set PINGTHINGS_REQUIRE_TLS=1"
            return "warning", "not used: the key goes in clear text", advice
        return "ok", "not used", ""

    def _handshake(
        self, target: Target, address: Address, stores: Stores
    ) -> tuple[Verdict, str, str]:
        try:
            with network.secure(target, address, stores, self.identity) as secured:
                found = Certificate.of(secured.getpeercert())
                version = secured.version()
        except ssl.SSLCertVerificationError as error:
            seen = Certificate.untrusted(target, address, self.identity)
            what = "" if seen is None else f"; it is {_described(seen)}"
            why = f"the certificate is not accepted: {error.verify_message}{what}"
            return "failed", f"{why}; searched: {stores.text}", _advice_for(error, seen)
        except ssl.SSLError as error:
            if refused := _refusal(error, self.identity):
                return "failed", *refused
            advice = "it may speak without TLS: use another port, or `http://`"
            return "failed", f"no TLS: {error.reason or error}", advice
        except OSError as error:
            if stores.bundle is not None and not os.access(stores.bundle, os.R_OK):
                return "failed", f"{stores.text} cannot be read", "mend or unset BTRDB_CA_BUNDLE"
            return "failed", f"no TLS: {error}", "look into the log of the server"
        return _unless_soon(found, f"{version}, {_described(found)}, trusted by {stores.text}")

    def _http2(self) -> tuple[Verdict, str, str]:
        target, address = self._target(), self._address()
        if target.tls and "tls" in self._failed:
            return "skipped", "not without: tls", ""
        try:
            if target.tls:
                connection: socket.socket = network.secure(
                    target, address, Stores.find(), self.identity
                )
            else:
                connection, _seconds = address.connect()
            with connection:
                chosen = None
                if isinstance(connection, ssl.SSLSocket):
                    chosen = connection.selected_alpn_protocol()
                settings = network.greet(connection)
        except NotHttp2Error as error:
            speaks_tls = str(error) == "it speaks TLS"
            return "failed", str(error), "use `https://`" if speaks_tls else self._elsewhere
        except OSError as error:
            if refused := _refusal(error, self.identity):
                return "failed", *refused
            return "failed", f"no answer to the greeting: {error}", self._elsewhere
        texts = ", ".join(f"{name} {value}" for name, value in settings.items())
        if target.tls and chosen != "h2":
            advice = "have ALPN `h2` allowed where TLS ends; some clients insist on it"
            return "warning", f"spoken, but not offered by ALPN; {texts}", advice
        return "ok", texts or "spoken", ""

    @property
    def _elsewhere(self) -> str:
        """What to do if something else than the server seems to answer."""
        advice = "check host and port; is it the server's?"
        if not self._target().tls:
            return advice
        if self.identity is None:
            return f"{advice} does it want a client certificate?"
        return f"{advice} does it know who signed the client certificate?"

    def _key(self) -> tuple[Verdict, str, str]:
        credentials = self.credentials
        has_key = credentials is not None and credentials.apikey is not None
        try:
            # An empty key is none, whatever the environment says.
            key = credentials.apikey if credentials and credentials.apikey else ""
            self.client = connect(endpoint=self.endpoint, apikey=key)
            self.client.list_collections("no collection begins with this")
        except (AuthenticationError, PermissionDenied) as error:
            if has_key:
                return "failed", str(error), "ask the server's operator whether it was revoked"
            return "failed", str(error), "set BTRDB_API_KEY"
        except BTrDBError as error:
            return "failed", str(error), "look at the steps before this one"
        return "ok", "accepted" if has_key else "none is needed", ""

    def _server(self) -> tuple[Verdict, str, str]:
        client = self._client()
        info = client.info()
        minor = info["minor_version"]
        has = {
            "Arrow": minor >= _ARROW_MINOR,
            "SQL": _answers(lambda: client.sql_query("SELECT 1 AS one")),
            "management": _answers(lambda: client.get_collection_properties("doctor")),
        }
        texts = ", ".join(f"{name}: {'yes' if there else 'no'}" for name, there in has.items())
        why = f"{info['build']}, protocol {info['major_version']}.{minor}; {texts}"
        missing = [name for name, there in has.items() if not there]
        if missing:
            advice = f"what needs {' or '.join(missing)} is slow or refused; a newer server has it"
            return "warning", why, advice
        return "ok", why, ""

    def _clock(self) -> tuple[Verdict, str, str]:
        before = time.time_ns()
        try:
            rows = self._client().sql_query("SELECT now() AS now")
            there: int = to_nanoseconds(rows[0].get("now", "") if rows else "")
        except BTrDBError:
            return "skipped", "unknown: the server does not tell its time", ""
        after = time.time_ns()
        offset = (there - (before + after) // 2) / 1e9
        within = (after - before) / 2e9
        why = f"the server's is {offset:+.3f} s from ours, give or take {within:.3f} s"
        if abs(offset) - within > _CLOCK_S:
            return "warning", why, "set the clocks by NTP; retention goes by the server's"
        return "ok", why, ""

    def _round_trip(self) -> tuple[Verdict, str, str]:
        client = self._client()
        seconds: list[float] = []
        for _ in range(_ROUNDS):
            begin = time.perf_counter()
            client.info()
            seconds.append(time.perf_counter() - begin)
        middle = statistics.median(seconds)
        why = (
            f"{middle * 1e3:.2f} ms, the median of {_ROUNDS}; the longest {max(seconds) * 1e3:.2f}"
        )
        if middle > _SLOW_S:
            advice = "ask for many streams in one call (`StreamSet`), or work nearer to the server"
            return "warning", why, advice
        return "ok", why, ""

    def _throughput(self) -> tuple[Verdict, str, str]:
        client = self._client()
        try:
            stream = find_stream(client, self.stream) if self.stream else _largest(client)
        except BTrDBError as error:
            return "failed", str(error), "name another one with `--stream`, or leave it out"
        if stream is None:
            return "skipped", "the server has no points to read", ""
        size = points = 0
        begin = time.perf_counter()
        for table in stream.raw_values_iter(MINIMUM_TIME, MAXIMUM_TIME):
            size += table.nbytes
            points += table.num_rows
            if time.perf_counter() - begin > _READ_S:
                break
        seconds = time.perf_counter() - begin
        rate = f"{size / seconds / 1e6:.1f} MB/s, {points / seconds / 1e6:.2f} million points/s"
        why = f"{rate}: {points:,} points of `{stream.collection}/{stream.name}`"
        return "ok", why + ("; few, so roughly" if points < _FEW_POINTS else ""), ""

    def _settings(self) -> tuple[Verdict, str, str]:
        target, credentials = self._target(), self.credentials
        lines: list[str] = []
        if credentials is not None and os.environ.get("BTRDB_ENDPOINTS") != credentials.endpoint:
            lines.append(f"BTRDB_ENDPOINTS={credentials.endpoint}")
        if self.key_is_argument:
            lines.append("--apikey-file or BTRDB_API_KEY in place of --apikey")
        if (
            target.tls
            and "tls" not in self._failed
            and not os.environ.get("PINGTHINGS_REQUIRE_TLS")
        ):
            lines.append("PINGTHINGS_REQUIRE_TLS=1")
        return "ok", f"suggested: {', '.join(lines)}" if lines else "nothing to suggest", ""

    def _target(self) -> Target:
        if self.target is None:
            raise BTrDBError("the endpoint is unknown")
        return self.target

    def _address(self) -> Address:
        if self.address is None:
            raise BTrDBError("no address answers")
        return self.address

    def _client(self) -> Client:
        if self.client is None:
            raise BTrDBError("there is no connection")
        return self.client


def _unless_soon(found: Certificate, why: str) -> tuple[Verdict, str, str]:
    days = (found.expires - time.time()) / _DAY_S
    if days < _SOON_DAYS:
        return "warning", f"{why}; it ends in {days:.0f} days", "have it renewed"
    return "ok", why, ""


def _refusal(error: OSError, identity: Identity | None) -> tuple[str, str] | None:
    """What a server that wants to know who asks says of the certificate; None if it says nothing.

    Under TLS 1.3 it says so only after the handshake.
    """
    reason = getattr(error, "reason", None) or ""
    if identity is None and reason in _WANTED:
        advice = "set PINGTHINGS_CLIENT_CERTIFICATE and PINGTHINGS_CLIENT_KEY"
        return "the server wants a client certificate, and none is set", advice
    if identity is not None and "ALERT" in reason:
        alert = reason.partition("ALERT_")[2].lower().replace("_", " ")
        advice = "ask the server's operator which authorities it accepts"
        return f"the server does not accept the client certificate: {alert}", advice
    return None


def _described(found: Certificate) -> str:
    ends = time.strftime("%Y-%m-%d", time.gmtime(found.expires))
    names = " ".join(found.names) or "no names"
    return f"for {names}, signed by {found.issuer}, until {ends}"


def _advice_for(error: ssl.SSLCertVerificationError, seen: Certificate | None) -> str:
    text = error.verify_message.lower()
    if "expired" in text:
        return "have it renewed; or set the clock of this machine"
    if "mismatch" in text or "not valid for" in text:
        names = "" if seen is None else f": {' '.join(seen.names)}"
        return f"use a name that it is for{names}"
    return "name a file with its authority in BTRDB_CA_BUNDLE"


def _answers(call: Callable[[], object]) -> bool:
    try:
        call()
    except (NotSupportedError, PermissionDenied):
        return False
    return True


def _largest(client: Client) -> Stream | None:
    """The stream with the most points of the first ones."""
    streams = client.streams_in_collection()[:_STREAMS_LOOKED_AT]
    counts = streams.count() if len(streams) else {}
    best = max(counts, key=lambda uuid: counts[uuid], default=None)
    return None if best is None or not counts[best] else streams[best]
