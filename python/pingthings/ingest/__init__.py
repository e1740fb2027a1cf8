"""Stores points in streams: a buffered writer, and importers that use it.

`recording` stores COMTRADE recordings, `feed` the data of a synchrophasor sender (C37.118), and
`folder` folders of long tables. `import pingthings` does not import this package.
"""

from pingthings.ingest.streams import Wanted, ensure
from pingthings.ingest.writer import Counts, Rejected, Writer, WriterFailed

__all__ = ["Counts", "Rejected", "Wanted", "Writer", "WriterFailed", "ensure"]
