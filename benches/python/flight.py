"""The same tables through Arrow Flight, and the server for that."""

from __future__ import annotations

import json
import sys
from typing import Any

import pyarrow as pa
from pyarrow import flight
from recording import table
from stopwatch import Job, Work, main

INSERT_ROWS = 50_000


class Tables(flight.FlightServerBase):
    """Answers with batches made beforehand; drops what it is sent."""

    def __init__(self) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self.made: dict[bytes, Any] = {}

    def do_get(self, _context: Any, ticket: Any) -> Any:
        if ticket.ticket not in self.made:
            wanted = json.loads(ticket.ticket)
            data = table(wanted["rows"])
            self.made[ticket.ticket] = data.schema, data.to_batches(wanted["batch"])
        schema, batches = self.made[ticket.ticket]
        return flight.GeneratorStream(schema, iter(batches))

    def do_put(self, _context: Any, _descriptor: Any, reader: Any, _writer: Any) -> None:
        for _ in reader:
            pass


def raw(job: Job) -> Work:
    client = flight.connect(f"grpc://127.0.0.1:{job['flight']}")
    ticket = flight.Ticket(json.dumps({"rows": job["rows"], "batch": job["batch"]}))
    return lambda: client.do_get(ticket).read_all()


def insert(job: Job) -> Work:
    client = flight.connect(f"grpc://127.0.0.1:{job['flight']}")
    data = table(job["points"])

    def work() -> dict[str, float]:
        descriptor = flight.FlightDescriptor.for_path("bench")
        writer, _reader = client.do_put(descriptor, data.schema)
        reader: Any = _reader  # the stubs give it another type
        writer.write_table(data, max_chunksize=INSERT_ROWS)
        writer.done_writing()
        reader.read()  # until the server is through
        writer.close()
        return {"points": data.num_rows}

    return work


def serve() -> None:
    """Serves until standard input ends."""
    server = Tables()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        pa.set_cpu_count(1)
        serve()
    else:
        main({"raw": raw, "insert": insert})
