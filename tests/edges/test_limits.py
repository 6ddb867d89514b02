"""Every limit holds at its value and refuses one past it; a limit without an edge here fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.edges import archives, requests, scoring, tables, times

from tidemill.core.limits import LIMITS, limit

EDGES = {**tables.EDGES, **archives.EDGES, **requests.EDGES, **scoring.EDGES, **times.EDGES}


def test_every_edge_is_of_a_limit() -> None:
    assert set(EDGES) - set(LIMITS) == set()


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_holds_at_its_value_and_not_one_past_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = EDGES[name]
    for other, value in {**edge.others, **({name: edge.small} if edge.small else {})}.items():
        monkeypatch.setitem(LIMITS, other, replace(LIMITS[other], value=value))
    said = []
    for amount in (limit(name), limit(name) + edge.step):
        folder = tmp_path / str(amount)
        folder.mkdir()
        said.append(edge.attempt(amount, folder))
    assert said == [edge.at, edge.past]
