"""Looks into a wheel or an sdist before anybody installs it.

A wheel holds the package, one extension module and the licence, and nothing else; on Linux it runs
on every system since glibc 2.17, or musl 1.2. An sdist holds all that its build reads.
Usage: contents.py FILE
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

PACKAGE = Path(__file__).resolve().parents[2] / "python"
MEGABYTE = 1_000_000
LARGEST_WHEEL = 25 * MEGABYTE
LARGEST_SDIST = 2 * MEGABYTE
TAGS = re.compile(
    r"cp311-abi3-(manylinux2014_\w+\.manylinux_2_17_\w+|musllinux_1_2_\w+|macosx_\d+_\d+_\w+"
    r"|win_amd64|win_arm64)"
)
LIBC = re.compile(r"((?:many|musl)linux)_(\d+)_(\d+)_")
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
EXTENSIONS = {"pyo3_client.abi3.so", "pyo3_client.pyd"}


def sources() -> set[str]:
    """The files of the package, as they are named in a wheel."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.suffix in {".py", ".pyi"} or path.name == "py.typed"
    }


def check_wheel(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL, "the wheel is too large"
    distribution, version, tag = wheel.stem.split("-", 2)
    assert distribution == "pingthings"
    assert TAGS.fullmatch(tag), f"`{tag}` is none of the tags that are released"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        metadata = {name for name in names if name.startswith(f"pingthings-{version}.dist-info/")}
        extensions = {name for name in names if PurePosixPath(name).name in EXTENSIONS}
        (extension,) = extensions
        size = archive.getinfo(extension).file_size
        binary = archive.read(extension)
    assert names - metadata - extensions == sources()
    inner = {name.partition("/")[2] for name in metadata}
    assert {name for name in inner if not name.startswith("sboms/")} == METADATA
    packed, unpacked = wheel.stat().st_size / MEGABYTE, size / MEGABYTE
    print(f"{wheel.name}: {packed:.1f} MB, its module {unpacked:.1f} MB unpacked")
    if "linux" in tag:
        check_elf(wheel, binary)


def check_elf(wheel: Path, binary: bytes) -> None:
    """The module is stripped, and needs nothing that the tag of its wheel does not promise."""
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415 - comes with auditwheel

    sections = {section.name for section in ELFFile(io.BytesIO(binary)).iter_sections()}
    assert not {name for name in sections if name == ".symtab" or name.startswith(".debug")}
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(wheel)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    audited = json.loads(done.stdout)
    (promised,) = set(LIBC.findall(wheel.stem))
    (needed,) = LIBC.findall(audited["overall_tag"])
    assert needed[0] == promised[0]
    assert [int(number) for number in needed[1:]] <= [int(number) for number in promised[1:]]
    assert not audited["external_libs"], "something has to be installed beside it"
    print(f"audited as {audited['overall_tag']}, needs no other library")


def check_sdist(sdist: Path) -> None:
    assert sdist.stat().st_size < LARGEST_SDIST, "the sdist is too large"
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "pyproject.toml", "PKG-INFO"}
    assert wanted | {f"python/{name}" for name in sources()} <= names
    strange = {name for name in names - wanted if name.partition("/")[0] not in {"python", "rust"}}
    assert not strange
    assert not {name for name in names if name.endswith((".so", ".pyd", ".pyc"))}
    print(f"{sdist.name}: {sdist.stat().st_size / MEGABYTE:.1f} MB, {len(names)} files")


if __name__ == "__main__":
    file = Path(sys.argv[1])
    (check_wheel if file.suffix == ".whl" else check_sdist)(file)
