"""Schedules start, fall and end where they say, warm up in a line, and take traced numbers."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BadSpec
from tidemill.core.spec import Train
from tidemill.training.schedules import SCHEDULES, factor

NAMES = list(SCHEDULES)
LONGEST = 20_000
LAWS = settings(max_examples=60, deadline=None)


@partial(jax.jit, static_argnums=0)
def everywhere(name: str, steps: Any, warmup: Any) -> Any:
    """The factor at LONGEST steps, in one program for all lengths."""
    return jax.vmap(lambda at: factor(name, at, steps, warmup))(jnp.arange(LONGEST + 1))


def whole(name: str, steps: int, warmup: float = 0.0) -> Any:
    """The factor at every step and at the end."""
    return np.asarray(everywhere(name, steps, warmup))[: steps + 1]


def test_a_constant_is_one_everywhere() -> None:
    assert (whole("constant", 50) == 1.0).all()


def test_a_cosine_falls_from_one_over_a_half_to_nothing() -> None:
    values = whole("cosine", 200)
    assert values[[0, 50, 100, 150, 200]] == pytest.approx([1.0, 0.85355, 0.5, 0.14645, 0.0], abs=1e-5)


def test_a_cosine_is_that_of_optax() -> None:
    theirs = optax.cosine_decay_schedule(1.0, 80)
    assert np.allclose(whole("cosine", 80), [float(theirs(at)) for at in range(81)], atol=1e-6)


@pytest.mark.parametrize("steps", [20, 60, 100, 1000, 20_000])
def test_steps_fall_to_a_tenth_at_60_and_again_at_85_percent(steps: int) -> None:
    values = whole("step", steps)
    first, second = steps * 60 // 100, steps * 85 // 100
    assert (values[:first] == 1.0).all()
    assert np.allclose(values[first:second], 0.1)
    assert np.allclose(values[second:], 0.01)


@pytest.mark.parametrize("name", NAMES)
def test_warming_up_is_a_line_that_reaches_the_schedules_start(name: str) -> None:
    values = whole(name, 100, 0.2)
    assert np.allclose(np.diff(values[:21]), 1 / 21, atol=1e-6)
    assert values[0] == pytest.approx(1 / 21)
    assert values[20] == pytest.approx(1.0)
    assert np.allclose(values[20:], whole(name, 80), atol=1e-6)


@pytest.mark.parametrize("name", ["constant", "cosine"])
def test_no_step_jumps(name: str) -> None:
    for warmup in (0.0, 0.05, 0.333):
        assert np.abs(np.diff(whole(name, 1000, warmup))).max() < 0.025


@LAWS
@given(st.sampled_from(NAMES), st.integers(1, LONGEST // 2), st.floats(0, 0.9), st.floats(0, 2))
def test_a_factor_is_between_nothing_and_one_before_and_past_the_end(
    name: str, steps: int, warmup: float, at: float
) -> None:
    value = float(everywhere(name, steps, warmup)[int(at * steps)])
    assert 0.0 <= value <= 1.0
    assert value > 0.0 or at > 0.9


@LAWS
@given(st.sampled_from(NAMES), st.integers(2, 400), st.floats(0, 0.9))
def test_a_factor_rises_once_and_never_again(name: str, steps: int, warmup: float) -> None:
    values = whole(name, steps, warmup)
    top = int(values.argmax())
    assert (np.diff(values[: top + 1]) >= 0).all()
    assert (np.diff(values[top:]) <= 1e-6).all()


@pytest.mark.parametrize("name", NAMES)
def test_members_with_other_lengths_and_warm_ups_share_a_program(name: str) -> None:
    steps, warmups = jnp.asarray([10, 100, 1000]), jnp.asarray([0.0, 0.1, 0.5])
    together = jax.jit(jax.vmap(lambda at, of, warm: factor(name, at, of, warm)))
    alone = [float(factor(name, 7, of, warm)) for of, warm in zip(steps, warmups, strict=True)]
    assert np.allclose(together(jnp.full(3, 7), steps, warmups), alone, atol=1e-6)


def test_the_names_are_those_of_the_specification() -> None:
    assert list(get_args(get_type_hints(Train)["schedule"])) == NAMES


def test_an_unknown_name_is_refused_with_the_right_ones() -> None:
    with pytest.raises(BadSpec, match="'linear'") as caught:
        factor("linear", 0, 1, 0.0)
    assert all(repr(name) in caught.value.remedy for name in NAMES)
