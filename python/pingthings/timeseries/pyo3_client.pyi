from collections.abc import Awaitable, Sequence
from typing import Any, Final, final
from uuid import UUID

import pyarrow as pa

__all__ = [
    "Client",
    "Server",
    "StreamInfo",
    "__version__",
    "connect",
    "status_codes",
]

__version__: Final[str]

def status_codes() -> dict[int, str]: ...
def connect(
    endpoint: str,
    *,
    apikey: str | None,
    tls: bool | None,
    require_tls: bool,
    ca_bundle: bytes | None,
    concurrency_limit: int,
    connect_timeout_s: float,
    blocking: bool,
) -> Awaitable[Client]: ...

@final
class StreamInfo:
    @property
    def uuid(self) -> UUID: ...
    @property
    def collection(self) -> str: ...
    @property
    def tags(self) -> dict[str, str]: ...
    @property
    def annotations(self) -> dict[str, str | None]: ...
    @property
    def property_version(self) -> int: ...
    @property
    def version(self) -> int | None: ...

@final
class Client:
    @property
    def endpoint(self) -> str: ...
    @property
    def exposes_key(self) -> bool: ...
    @property
    def is_closed(self) -> bool: ...
    @property
    def concurrency_limit(self) -> int: ...
    @concurrency_limit.setter
    def concurrency_limit(self, value: int) -> None: ...
    def blocking(self) -> Client: ...
    def asynchronous(self) -> Client: ...
    def close(self) -> None: ...
    def info(self) -> Awaitable[dict[str, Any]]: ...
    def create(
        self, uuid: UUID, collection: str, tags: dict[str, str], annotations: dict[str, str]
    ) -> Awaitable[None]: ...
    def stream_info(
        self, uuids: Sequence[UUID], *, return_errors: bool = False
    ) -> Awaitable[list[StreamInfo]]: ...
    def lookup_streams(
        self,
        collection: str,
        is_prefix: bool,
        tags: dict[str, str | None],
        annotations: dict[str, str | None],
    ) -> Awaitable[list[StreamInfo]]: ...
    def list_collections(self, prefix: str) -> Awaitable[list[str]]: ...
    def latest_versions(
        self, uuids: Sequence[UUID], *, return_errors: bool = False
    ) -> Awaitable[list[int]]: ...
    def insert(
        self, data: Sequence[tuple[UUID, Any]], merge: str, *, return_errors: bool = False
    ) -> Awaitable[list[int]]: ...
    def flush(
        self, uuids: Sequence[UUID], *, return_errors: bool = False
    ) -> Awaitable[list[int]]: ...
    def raw_values(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        schema: pa.Schema | None,
        *,
        return_errors: bool = False,
    ) -> Awaitable[list[pa.Table]]: ...
    def aligned_windows(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        point_width: int,
        schema: pa.Schema | None,
        *,
        return_errors: bool = False,
    ) -> Awaitable[list[pa.Table]]: ...
    def precise_windows(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        width_ns: int,
        schema: pa.Schema | None,
        *,
        return_errors: bool = False,
    ) -> Awaitable[list[pa.Table]]: ...
    def nearest(
        self,
        streams: Sequence[tuple[UUID, int]],
        time: int,
        backward: bool,
        *,
        return_errors: bool = False,
    ) -> Awaitable[list[tuple[int, float] | None]]: ...

@final
class Server:
    @staticmethod
    def start(
        *,
        directory: str | None,
        host: str,
        port: int,
        api_keys: Sequence[str],
        relaxed: bool,
        arrow: bool,
    ) -> Server: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def is_running(self) -> bool: ...
    def stop(self) -> None: ...
