"""Ways into streams: a buffered writer, and what is built on it.

`recording` stores COMTRADE recordings, `feed` what a sender of synchrophasors sends (C37.118),
`folder` folders of long tables. Nothing of this is imported by `import pingthings`.
"""

from pingthings.ingest.streams import Wanted, ensure
from pingthings.ingest.writer import Counts, Rejected, Writer, WriterFailed

__all__ = ["Counts", "Rejected", "Wanted", "Writer", "WriterFailed", "ensure"]
