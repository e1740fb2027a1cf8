"""Runs the integration suite of the older open client against this server, with keys on.

The suite is nobody's here: it ships inside the wheel of `btrdb`, which has an environment of its
own. Usage: conformance.py PYTHON-WITH-BTRDB
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


def pingthings(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pingthings", *arguments]


def main(python: str) -> int:
    """Returns the exit code of the suite."""
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
            # Beside it lies a folder `btrdb`, which must not be taken for the package.
            suite = folder / "btrdb_integration"
            shutil.copytree(Path(where) / "tests" / suite.name, suite)
            command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rxX", str(suite)]
            environ = os.environ | {
                "HOME": name,
                "BTRDB_INTEGRATION_TEST_PROFILE": PROFILE,
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            suite_code = subprocess.run(
                command, check=False, cwd=folder, env=environ, timeout=600
            ).returncode
        finally:
            serving.terminate()
            server_code = serving.wait(60)
    return suite_code or server_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
