"""`python -m pingthings.btrdb report FILE...`: what changes for a program of the older client."""

from __future__ import annotations

import argparse
import sys

from pingthings.btrdb.difference import differences, report
from pingthings.timeseries.exceptions import BTRDBValueError


def main() -> int:
    """Prints the lines that differ, or without files every difference; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pingthings.btrdb",
        description="Tells where programs written for btrdb 5 get other results here.",
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("report", help="list the lines that are concerned")
    command.add_argument("files", nargs="*", help="scripts or notebooks; none lists everything")
    files: list[str] = parser.parse_args().files
    if not files:
        for each in differences():
            sys.stdout.write(f"{', '.join(each.names)}\n  before: {each.before}\n")
            sys.stdout.write(f"  now: {each.here}\n")
    code = 0
    for file in files:
        try:
            for line in report(file):
                sys.stdout.write(f"{line}\n")
        except (BTRDBValueError, OSError) as error:
            sys.stderr.write(f"{error}\n")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
