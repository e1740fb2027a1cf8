"""How clients, streams and sets look, in a terminal and in a notebook."""

from typing import Any
from uuid import UUID, uuid4

import pingthings.timeseries as pt
import pytest


def kind(client: Any) -> str:
    return "Async" if isinstance(client, pt.AsyncClient) else ""


def html(shown: Any) -> str:
    text: str = getattr(shown, "target", shown)._repr_html_()
    return text


async def test_client(client: pt.AsyncClient, endpoint: str):
    assert repr(client) == f"<{kind(client)}Client {endpoint} connected>"
    shown = html(client)
    assert f"<caption>{kind(client)}Client</caption>" in shown
    assert f"<th>endpoint</th><td>{endpoint}</td>" in shown
    assert "<th>state</th><td>connected</td>" in shown
    assert "profile" not in shown
    await client.close()
    assert "<th>state</th><td>closed</td>" in html(client)


async def test_stream(client: pt.AsyncClient, collection: str):
    with_unit = await client.create(uuid4(), collection, {"name": "L1MAG", "unit": "volts"})
    without = await client.create(uuid4(), collection, {"name": "L1ANG"})
    bare = client.stream_from_uuid(UUID(int=5))
    name = f"{kind(client)}Stream"
    assert repr(with_unit) == f"<{name} {collection}/L1MAG [volts] {with_unit.uuid}>"
    assert repr(without) == f"<{name} {collection}/L1ANG {without.uuid}>"
    assert repr(bare) == f"<{name} {UUID(int=5)}>"


async def test_set(client: pt.AsyncClient, collection: str):
    ids = []
    for number in range(12):
        tags = {"name": f"name{number}", "unit": "volts"}
        ids.append((await client.create(uuid4(), collection, tags)).uuid)
    streams = await client.streamset_from_uuids(ids)
    lines = repr(streams).splitlines()
    assert lines[0] == f"<{kind(client)}StreamSet of 12 streams>"
    assert lines[1] == f"  {collection}  name0  volts  {ids[0]}"
    assert len(lines) == 12
    assert lines[-1] == "  ... and 2 more"
    assert repr(streams[:1]).startswith(f"<{kind(client)}StreamSet of 1 stream>\n")
    assert repr(streams[:0]) == f"<{kind(client)}StreamSet of 0 streams>"
    assert html(streams).count("<tr>") == 11
    assert "... and 2 more" in html(streams)


async def test_html_is_escaped(client: pt.AsyncClient, collection: str):
    tags = {"name": "<script>alert('&')</script>", "unit": "<b>", "ingress": "<i>"}
    stream = await client.create(uuid4(), collection, tags)
    streams = await client.streamset_from_uuids([stream.uuid])
    for text in (html(stream), html(streams)):
        assert "<script>" not in text
        assert "<b>" not in text
        assert "<td>ingress=&lt;i&gt;</td>" in text
        assert "&lt;script&gt;" in text
        assert str(stream.uuid) in text


@pytest.mark.parametrize("kind", [pt.AsyncStreamSet, pt.StreamSet])
def test_empty_set(kind: type):
    assert repr(kind([])) == f"<{kind.__name__} of 0 streams>"
