"""Which version answers whom: the same key the same version, the share that was asked for, and no other folder."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BadBundle
from tidemill.serving.routing import CHALLENGER, CHAMPION, PREVIOUS, fraction, route

LIMITS = {"min_requests": 50, "max_error_rate": 0.02, "max_latency_ratio": 2.0}


def pointed(version: int, model: str = "m") -> dict[str, Any]:
    return {"version": version, "bundle": f"bundles/{model}/r-{version}/"}


def alias(**more: Any) -> dict[str, Any]:
    return {**pointed(1), "rev": 7, **more}


def challenger(share: float = 0.1, **more: Any) -> dict[str, Any]:
    told = {"share": share, "shadow": False, "live": True, "rev": 7, "limits": LIMITS}
    return {**pointed(2), **told, **more}


@given(st.text(max_size=40))
def test_a_key_gets_the_same_version_every_time_and_more_share_takes_none_away(key: str) -> None:
    small = route("m", alias(challenger=challenger(0.1)), key).first
    assert small == route("m", alias(challenger=challenger(0.1, rev=9)), key).first
    if small.alias == CHALLENGER:
        assert route("m", alias(challenger=challenger(0.3)), key).first == small


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_challenger_gets_its_share_of_the_keys(share: float) -> None:
    keys = [f"request-{n}" for n in range(10_000)]
    found = [route("m", alias(challenger=challenger(share)), key).first.alias for key in keys]
    assert found.count(CHALLENGER) / len(keys) == pytest.approx(share, abs=0.015)


def test_models_divide_their_keys_differently() -> None:
    together = sum(fraction("a", f"k{n}") < 0.1 and fraction("b", f"k{n}") < 0.1 for n in range(10_000))
    assert together < 200  # a hundred by chance; a thousand, were they the same


def test_what_the_challenger_fails_the_champion_answers() -> None:
    found = route("m", alias(challenger=challenger(1.0)), "k")
    assert (found.first.version, found.instead and found.instead.version, found.shadow) == (2, 1, None)


def test_in_shadow_the_champion_answers_everybody() -> None:
    for key in map(str, range(100)):
        found = route("m", alias(challenger=challenger(1.0, shadow=True)), key)
        assert found.first.alias == CHAMPION and found.shadow and found.shadow.version == 2


def test_a_challenger_that_was_stopped_answers_nobody() -> None:
    found = route("m", alias(challenger=challenger(1.0, live=False)), "k")
    assert (found.first.version, found.instead, found.shadow, found.watch) == (1, None, None, None)


def test_a_fresh_champion_is_watched_until_its_time_is_over() -> None:
    watched = alias(watch={"rev": 7, "until": 100, "limits": LIMITS, "instead": pointed(3)})
    found = route("m", watched, "k", now=99.0)
    assert found.watch and (found.watch.alias, found.watch.version, found.watch.rev) == (CHAMPION, 1, 7)
    assert found.instead and (found.instead.alias, found.instead.version) == (PREVIOUS, 3)
    assert route("m", watched, "k", now=101.0).watch is None


@pytest.mark.parametrize(
    "item", [alias(bundle="bundles/other/r/"), alias(challenger=challenger(bundle="elsewhere")), {"version": 1}]
)
def test_an_alias_that_points_elsewhere_is_not_followed(item: dict[str, Any]) -> None:
    with pytest.raises(BadBundle):
        route("m", item, "k")
