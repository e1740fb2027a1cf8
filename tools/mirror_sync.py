"""Writes the mirrored regions of each file of `client` from the file of its name in `async_client`.

A region `# <mirrored from AsyncX as _attribute>` ... `# </mirrored>` gets every public method and
property of `AsyncX` that the synchronous class does not write by hand outside the region: the same
signature and docstring without `await` and the prefix `Async`, and a body that runs the coroutine.
A method whose line ends in `# async only` is left out.

    python tools/mirror_sync.py           writes the regions
    python tools/mirror_sync.py --check   fails if they are not current
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "pingthings" / "timeseries"
SOURCES, TARGETS = PACKAGE / "async_client", PACKAGE / "client"
CLASSES = ("client.py", "stream.py", "streamset.py")
REGION = re.compile(
    r"(?P<open>    # <mirrored from (?P<source>\w+) as (?P<attribute>\w+)>\n)"
    r"(?P<text>.*?)"
    r"(?P<close>    # </mirrored>\n)",
    re.DOTALL,
)
ASYNC_ONLY = "# async only"

Method = ast.FunctionDef | ast.AsyncFunctionDef


def synchronous(text: str) -> str:
    """Text of the asynchronous side, as the synchronous side says it."""
    text = re.sub(r"\bAsync(Client|StreamSet|Stream)\b", r"\1", text)
    text = re.sub(r"\basync (with|for)\b", r"\1", text)
    text = re.sub(r"\(await ((?:[^()]|\([^()]*\))+?\))\)(?=\[)", r"\1", text)
    text = re.sub(r"\bAsyncIterator\b", "Iterator", text)
    return re.sub(r"\bawait ", "", text)


def methods_of(tree: ast.Module, name: str) -> list[Method]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    sys.exit(f"mirror_sync: there is no class {name} in the file")


def arguments(method: Method) -> str:
    """The call's arguments, handed on by position and by keyword as they are declared."""
    spec = method.args
    handed = [arg.arg for arg in (*spec.posonlyargs, *spec.args)][1:]
    handed += [f"{arg.arg}={arg.arg}" for arg in spec.kwonlyargs]
    return ", ".join(handed)


def body(method: Method, attribute: str) -> str:  # noqa: PLR0911 - one for each kind
    names = {ast.unparse(decorator) for decorator in method.decorator_list}
    target = f"self.{attribute}.{method.name}"
    if any(name.endswith(".setter") for name in names):
        return f"{target} = {method.args.args[1].arg}"
    if "property" in names:
        return f"return {target}"
    returns = ast.unparse(method.returns) if method.returns else "None"
    call = f"{target}({arguments(method)})"
    if returns.startswith("AsyncIterator"):
        return f"return self._loop.iterate({call})"
    if isinstance(method, ast.AsyncFunctionDef):
        call = f"self._loop.run({call})"
    match returns:
        case "Self":
            return f"{call}\n        return self"
        case "None":
            return call
        case "AsyncStream":
            return f"return self._wrap_stream({call})"
        case "AsyncStreamSet":
            return f"return self._wrap_set({call})"
        case _:
            return f"return {call}"


def mirrored(method: Method, lines: list[str], attribute: str) -> str:
    first = method.decorator_list[0].lineno if method.decorator_list else method.lineno
    has_docstring = ast.get_docstring(method) is not None
    end = method.body[0].end_lineno if has_docstring else method.body[0].lineno - 1
    text = "".join(lines[first - 1 : end])
    text = re.sub(r"^(\s*)async def ", r"\1def ", text, flags=re.MULTILINE)
    return f"{synchronous(text)}        {body(method, attribute)}\n"


def region(match: re.Match[str], source: str, target: str) -> str:
    lines = source.splitlines(keepends=True)
    twin = match["source"].removeprefix("Async")
    by_hand = {method.name for method in methods_of(ast.parse(REGION.sub("", target)), twin)}
    written = [
        mirrored(method, lines, match["attribute"])
        for method in methods_of(ast.parse(source), match["source"])
        if not method.name.startswith("_")
        and method.name not in by_hand
        and ASYNC_ONLY not in lines[method.lineno - 1]
    ]
    return "\n".join([match["open"], *written, match["close"]])


def formatted(text: str, file: Path) -> str:
    ruff = Path(sys.executable).parent / "ruff"
    done = subprocess.run(
        [ruff, "format", "--stdin-filename", file, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def current(file: Path) -> str:
    """The text that a file of the synchronous side should have."""
    source, target = (SOURCES / file.name).read_text("utf-8"), file.read_text("utf-8")
    if not REGION.search(target):
        sys.exit(f"mirror_sync: {file.relative_to(PACKAGE)} has no region")
    return formatted(REGION.sub(lambda match: region(match, source, target), target), file)


def main() -> None:
    """Writes or checks the regions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="fail if a region is not current")
    check = parser.parse_args().check
    for file in (TARGETS / name for name in CLASSES):
        text = current(file)
        if text == file.read_text("utf-8"):
            continue
        if check:
            sys.exit(f"mirror_sync: {file.relative_to(PACKAGE)} is not current; run `make fix`")
        file.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
