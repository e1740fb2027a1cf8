from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, final
from uuid import UUID

import pyarrow as pa

__all__ = [
    "ChangeIterator",
    "Client",
    "Inserting",
    "Server",
    "StreamInfo",
    "TableIterator",
    "__version__",
    "compact",
    "connect",
    "log_to_stderr",
    "status_codes",
]

__version__: Final[str]

def status_codes() -> dict[int, str]: ...
def connect(
    endpoints: Sequence[str],
    *,
    apikey: str | None,
    tls: bool | None,
    require_tls: bool,
    ca_bundle: bytes | None,
    identity: tuple[bytes, bytes] | None,
    proxies: tuple[str, str, str, str],
    concurrency_limit: int,
    memory_limit: int,
    connect_timeout_s: float,
    retry_for_s: float,
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
class TableIterator:
    def next(self) -> Awaitable[pa.Table | None]: ...
    def close(self) -> None: ...

@final
class ChangeIterator:
    def next(self) -> Awaitable[list[tuple[int, int]] | None]: ...
    def close(self) -> None: ...

@final
class Inserting:
    def next(self) -> Awaitable[int | list[int]]: ...
    def stop(self) -> Awaitable[int]: ...
    def close(self) -> None: ...

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
    @property
    def memory_limit(self) -> int: ...
    @memory_limit.setter
    def memory_limit(self, value: int) -> None: ...
    @property
    def deadline(self) -> float | None: ...
    @deadline.setter
    def deadline(self, value: float | None) -> None: ...
    @property
    def timeout(self) -> float | None: ...
    @timeout.setter
    def timeout(self, value: float | None) -> None: ...
    def with_own_time_limits(self) -> Client: ...
    def traced(self, headers: Sequence[tuple[str, str]]) -> Client: ...
    @property
    def retries(self) -> int: ...
    def stats(self) -> tuple[dict[str, tuple[int, int, int, int]], dict[str, int]]: ...
    def blocking(self) -> Client: ...
    def asynchronous(self) -> Client: ...
    def close(self) -> None: ...
    def info(self) -> Awaitable[dict[str, Any]]: ...
    def create(
        self, uuid: UUID, collection: str, tags: dict[str, str], annotations: dict[str, str | None]
    ) -> Awaitable[None]: ...
    def update(
        self,
        uuid: UUID,
        expected: int,
        *,
        collection: str | None,
        tags: dict[str, str],
        annotations: dict[str, str | None],
        removed: Sequence[str],
    ) -> Awaitable[StreamInfo]: ...
    def obliterate(self, uuid: UUID) -> Awaitable[None]: ...
    def sql_query(self, query: str, params: Sequence[str]) -> Awaitable[list[bytes]]: ...
    def stream_info(
        self, uuids: Sequence[UUID]
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
        self, uuids: Sequence[UUID]
    ) -> Awaitable[list[int]]: ...
    def insert(
        self, data: Sequence[tuple[UUID, Any]], merge: str
    ) -> Awaitable[list[int]]: ...
    def inserting(self, data: Sequence[tuple[UUID, Any]], merge: str) -> Inserting: ...
    def flush(
        self, uuids: Sequence[UUID]
    ) -> Awaitable[list[int]]: ...
    def delete(self, uuid: UUID, start: int, end: int) -> Awaitable[int]: ...
    def raw_values(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        schema: pa.Schema | None,
    ) -> Awaitable[list[pa.Table]]: ...
    def joined_values(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        period_ns: int | None,
    ) -> Awaitable[pa.Table]: ...
    def aligned_windows(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        point_width: int,
        schema: pa.Schema | None,
    ) -> Awaitable[list[pa.Table]]: ...
    def precise_windows(
        self,
        streams: Sequence[tuple[UUID, int]],
        start: int,
        end: int,
        width_ns: int,
        schema: pa.Schema | None,
    ) -> Awaitable[list[pa.Table]]: ...
    def nearest(
        self,
        streams: Sequence[tuple[UUID, int]],
        time: int,
        backward: bool,
    ) -> Awaitable[list[tuple[int, float, int] | None]]: ...
    def raw_values_iter(
        self, stream: tuple[UUID, int], start: int, end: int, schema: pa.Schema | None
    ) -> Awaitable[TableIterator]: ...
    def aligned_windows_iter(
        self,
        stream: tuple[UUID, int],
        start: int,
        end: int,
        point_width: int,
        schema: pa.Schema | None,
    ) -> Awaitable[TableIterator]: ...
    def precise_windows_iter(
        self,
        stream: tuple[UUID, int],
        start: int,
        end: int,
        width_ns: int,
        schema: pa.Schema | None,
    ) -> Awaitable[TableIterator]: ...
    def changes(
        self,
        streams: Sequence[tuple[UUID, int, int]],
        resolution: int,
    ) -> Awaitable[list[list[tuple[int, int]]]]: ...
    def changes_iter(
        self, stream: tuple[UUID, int, int], resolution: int
    ) -> Awaitable[ChangeIterator]: ...
    def versions_at_time(
        self, uuids: Sequence[UUID], time: int
    ) -> Awaitable[list[int]]: ...
    def stream_retention(self, uuid: UUID) -> Awaitable[tuple[int | None, int | None]]: ...
    def set_stream_retention(self, uuid: UUID, keep_ns: int | None) -> Awaitable[None]: ...
    def collection_retention(self, collection: str) -> Awaitable[tuple[int | None, bool]]: ...
    def set_collection_retention(
        self, collection: str, keep_ns: int | None, overrides: bool
    ) -> Awaitable[None]: ...
    def list_records(
        self, kind: Literal["device", "unit"]
    ) -> Awaitable[list[tuple[int, str, str]]]: ...
    def get_record(
        self, kind: Literal["device", "unit"], record_id: int
    ) -> Awaitable[tuple[int, str, str]]: ...
    def create_record(
        self, kind: Literal["device", "unit"], name: str, fields: str
    ) -> Awaitable[tuple[int, str, str]]: ...
    def update_record(
        self, kind: Literal["device", "unit"], record_id: int, name: str | None, fields: str
    ) -> Awaitable[tuple[int, str, str]]: ...
    def delete_record(self, kind: Literal["device", "unit"], record_id: int) -> Awaitable[None]: ...

@final
class Server:
    @staticmethod
    def start(
        *,
        directory: str | None,
        host: str,
        port: int,
        api_keys: Sequence[str],
        key_file: str | None,
        anonymous: str | None,
        tls: tuple[str, str] | None,
        relaxed: bool,
        salvage: bool,
        arrow: bool,
        metrics: str | None,
        memory_limit: int | None,
        fault: tuple[str, float, Sequence[str], int | None] | None,
        sql: tuple[int, int],
    ) -> Server: ...
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def metrics(self) -> str | None: ...
    @property
    def missing(self) -> list[str]: ...
    @property
    def is_running(self) -> bool: ...
    def reload(self) -> None: ...
    def set_fault(self, fault: tuple[str, float, Sequence[str], int | None] | None) -> None: ...
    def go_away(self) -> None: ...
    def interrupt(self, down: float) -> None: ...
    def stop(self) -> None: ...

def compact(
    directory: str,
    forget_older_than: float | None,
    progress: Callable[[int, int, int], object],
) -> tuple[int, int, int, int, int, int]: ...
def log_to_stderr(level: str, as_json: bool) -> None: ...
