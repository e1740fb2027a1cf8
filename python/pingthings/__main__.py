"""`python -m pingthings` is the command `pingthings`."""

import sys

from pingthings.cli import main

if __name__ == "__main__":
    sys.exit(main())
