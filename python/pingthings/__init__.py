"""Time series of the power grid: a client for PredictiveGrid and BTrDB servers.

`import pingthings as pt` and `import pingthings.timeseries as pt` both give `pt.connect`,
`pt.AsyncClient` and `pt.utils`.
"""

from pingthings.interpreter import require_gil, require_main

require_gil()
require_main()

from pingthings import timeseries  # noqa: E402 - it is what must not be imported elsewhere
from pingthings.timeseries import AsyncClient, Client, connect, utils  # noqa: E402

__all__ = ["AsyncClient", "Client", "__version__", "connect", "timeseries", "utils"]

__version__ = timeseries.__version__
