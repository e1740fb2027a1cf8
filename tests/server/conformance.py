"""Runs the suites of the older open client against this server, with keys on.

They are nobody's here: they ship inside the wheel of `btrdb`, which has an environment of its own.
Its integration suite runs with that client, and then with `pingthings.btrdb` in its place; so do
those of its unit tests that need nothing of its inside. At last both clients make the same calls.
Usage: conformance.py PYTHON-WITH-BTRDB
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROFILE = "conformance"
ALONE = ("--rootdir", ".", "-c", os.devnull)  # without the settings of this project
ROOT = Path(__file__).resolve().parents[2]


def pingthings(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pingthings", *arguments]


def run(python: str, arguments: list[str], environ: dict[str, str]) -> int:
    """Returns the exit code of a run of pytest."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfX", *arguments]
    folder = Path(environ["HOME"])
    return subprocess.run(command, check=False, cwd=folder, env=environ, timeout=600).returncode


def main(python: str) -> int:
    """Returns the exit code of the first suite that fails, or 0."""
    where = subprocess.run(
        [python, "-c", "import btrdb, pathlib; print(pathlib.Path(btrdb.__file__).parents[1])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = folder / "keys"
        key = subprocess.run(
            pingthings("key", "add", str(keys), "--name", "suite", "--role", "admin"),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        serving = subprocess.Popen(
            pingthings("serve", str(folder / "data"), "--port", "0", "--keys", str(keys)),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert serving.stdout is not None
        try:
            match = re.match(r"listening on (\S+),", serving.stdout.readline())
            assert match is not None, "the server did not start"
            profile = folder / ".predictivegrid"
            profile.mkdir()
            (profile / "credentials.yaml").write_text(
                f"{PROFILE}:\n  btrdb:\n    endpoints: {match[1]}\n    api_key: {key}\n",
                encoding="utf-8",
            )
            environ = os.environ | {
                "HOME": name,
                "BTRDB_INTEGRATION_TEST_PROFILE": PROFILE,
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            aliased = environ | {
                "BTRDB_WHEEL": where,
                "PYTHONPATH": os.pathsep.join(
                    [str(ROOT / "python"), str(ROOT / "tests/migration")]
                ),
            }
            plugin = ["-p", "over_pingthings"]
            # Beside them lies a folder `btrdb`, which must not be taken for the package.
            suites = {"btrdb_integration": folder / "integration", "btrdb": folder / "unit"}
            for source, suite in suites.items():
                shutil.copytree(Path(where) / "tests" / source, suite)
            integration, unit = suites.values()
            suite_code = (
                run(python, [str(integration)], environ)
                or run(python, [*plugin, str(integration)], aliased)
                or run(python, [*plugin, str(unit)], aliased)
                or run(python, [str(ROOT / "tests/migration/side_by_side.py"), *ALONE], aliased)
            )
        finally:
            serving.terminate()
            server_code = serving.wait(60)
    return suite_code or server_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
