"""Small calls with `grpc.aio` and generated messages, nothing else: the least a client can do."""

from __future__ import annotations

import asyncio
import time
import warnings
from uuid import UUID

warnings.simplefilter("ignore")

import grpc  # noqa: E402
from btrdb.grpcinterface import btrdb_pb2, btrdb_pb2_grpc  # noqa: E402
from stopwatch import Job, Work, main  # noqa: E402


def concurrent_calls(job: Job) -> Work:
    async def run() -> dict[str, float]:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{job['port']}") as channel:
            stub = btrdb_pb2_grpc.BTrDBStub(channel)
            uuid = UUID(int=0).bytes
            request = btrdb_pb2.StreamInfoParams(uuid=uuid, omitDescriptor=True)
            await stub.StreamInfo(request)

            async def caller() -> None:
                for _ in range(job["requests"] // job["at_once"]):
                    request = btrdb_pb2.StreamInfoParams(uuid=uuid, omitDescriptor=True)
                    answer = await stub.StreamInfo(request)
                    assert answer.versionMajor == 1

            begin, spent = time.perf_counter(), time.process_time()
            await asyncio.gather(*(caller() for _ in range(job["at_once"])))
            return {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - spent}

    return lambda: asyncio.run(run())


if __name__ == "__main__":
    main({"concurrent_calls": concurrent_calls})
