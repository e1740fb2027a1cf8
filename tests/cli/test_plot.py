"""`plot`: a picture in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.image as mpimg
import pytest

Run = Callable[..., Any]

mpl.use("agg")


def test_streams_become_a_picture(run: Run, tmp_path: Path):
    file = tmp_path / "both.png"
    result = run("plot", "lab/L1MAG", "lab/L2MAG", "--output", str(file), "--width", "800")
    assert (result.exit_code, result.stderr) == (0, "")
    assert mpimg.imread(file).shape[1] == 800


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("lab/L1MAG", "--output", "picture.nothing"), "picture.nothing"),
        (("lab/L1MAG", "--output", "missing/picture.png"), "No such file"),
        (("lab/L1MAG", "--output", "x.png", "--width", "1"), "width"),
        (("lab/nothing", "--output", "x.png"), "no stream `lab/nothing`"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(run: Run, arguments: tuple[str, ...], text: str):
    result = run("plot", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1
