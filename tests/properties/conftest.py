from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import uuid4

import pingthings.timeseries as pt
import pytest
from properties.model import Stream
from properties.strategies import Step

Replay = Callable[[list[Step]], tuple[pt.Stream, Stream]]


@pytest.fixture(scope="session")
def replay(endpoint: str, apikey: str) -> Iterator[Replay]:
    """Does what a history says, to a new stream and to the model of one."""
    with pt.connect(endpoint, apikey=apikey) as client:

        def run(history: list[Step]) -> tuple[pt.Stream, Stream]:
            stream = client.create(uuid4(), "tests/properties", {"name": str(uuid4())})
            model = Stream()
            for step in history:
                stream.insert(step.points, step.merge)
                model.insert(step.points, step.merge)
                if step.flush:
                    stream.flush()
                    model.flush()
            return stream, model

        yield run
