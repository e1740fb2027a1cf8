"""Reads much at once with little memory, and says how much it took.

Run as `python reading.py endpoint uuid reads memory_limit`; prints bytes and rows as JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from uuid import UUID

import pingthings.timeseries as pt


def peak() -> int:
    """The most memory that was resident until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def main(endpoint: str, uuid: UUID, reads: int, memory_limit: int) -> None:
    client = await pt.AsyncClient.connect(
        endpoint=endpoint, concurrency_limit=1_000, memory_limit=memory_limit
    )
    async with client:
        stream = client.stream_from_uuid(uuid)

        async def rows() -> int:
            # The table is gone when this returns.
            return (await stream.raw_values(0, 1 << 40)).num_rows

        whole = await rows()
        before = peak()
        found = await asyncio.gather(*(rows() for _ in range(reads)))
        took = peak() - before
    sys.stdout.write(json.dumps({"took": took, "reads": found.count(whole), "rows": whole}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
