"""Installs a wheel or an sdist into an environment that has nothing else, and uses it there.

Twice: with what it depends on, and with extras. Usage: install.py FILE ENVIRONMENT [EXTRAS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SMOKE = Path(__file__).resolve().with_name("smoke.py")
EXTRAS = "pandas,plot,polars"


def main(file: Path, environment: Path, extras: str = EXTRAS) -> None:
    venv.create(environment, clear=True, with_pip=True)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    with tempfile.TemporaryDirectory() as folder:  # no source can be imported from there
        for wanted in (str(file), f"pingthings[{extras}]"):  # the second finds the first
            print(f"pip install {wanted}", flush=True)
            run([python, "-m", "pip", "install", "--quiet", wanted], folder)
            run([python, "-m", "pip", "check"], folder)
            run([python, "-I", "-W", "error", str(SMOKE)], folder)


def run(command: list[str], folder: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, cwd=folder, env=environ, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve(), *sys.argv[3:])
