"""Pictures, compared by their pixels with those that are committed."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.image import imread
from numpy.typing import NDArray

# A letter's edge may fall on another pixel with another build; a line may not be elsewhere.
MOST_DIFFERENT = 0.01
_A_DIFFERENCE = 0.25


def difference(ours: bytes, theirs: bytes) -> float:
    """The part of the pixels in which two PNG pictures of one size differ; 1 if the sizes do."""
    drawn, wanted = _pixels(ours), _pixels(theirs)
    if drawn.shape != wanted.shape:
        return 1.0
    return float((np.abs(drawn - wanted).max(axis=2) > _A_DIFFERENCE).mean())


def _pixels(picture: bytes) -> NDArray[np.float64]:
    file: Any = BytesIO(picture)
    found: NDArray[np.float64] = imread(file)[..., :3]
    return found
