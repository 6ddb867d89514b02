"""Dropout drops the share asked for, keeps the mean, and gives the same numbers the same mask."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.dropout import dropper, fold

ONES = jnp.ones((512, 64))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_the_share_dropped_is_the_rate_and_the_mean_stays(rate: float) -> None:
    kept = np.asarray(dropper(jnp.uint32(7), rate)(ONES))
    assert (kept == 0).mean() == pytest.approx(rate, abs=0.01)
    assert kept.mean() == pytest.approx(1.0, abs=0.02)


def test_equal_keys_drop_alike_and_layers_differ() -> None:
    first, second = dropper(jnp.uint32(7), 0.5), dropper(jnp.uint32(7), 0.5)
    layers = [np.asarray(first(ONES)), np.asarray(first(ONES))]
    assert np.array_equal(layers[0], second(ONES))
    assert np.array_equal(layers[1], second(ONES))
    assert abs(np.corrcoef(layers[0].ravel(), layers[1].ravel())[0, 1]) < 0.02


def test_masks_of_neighbouring_keys_units_and_rows_are_independent() -> None:
    masks = [np.asarray(dropper(fold(jnp.uint32(3), number), 0.5)(ONES)) for number in range(20)]
    together = np.corrcoef(np.stack([mask.ravel() for mask in masks]))
    assert np.abs(together - np.eye(20)).max() < 0.03
    assert np.abs(np.corrcoef(masks[0].T) - np.eye(64)).max() < 0.25
    rows = masks[0].reshape(-1, 64)
    assert abs(np.corrcoef(rows[:-1].ravel(), rows[1:].ravel())[0, 1]) < 0.02


def test_folding_is_injective_on_small_numbers() -> None:
    keys = np.asarray(fold(jnp.uint32(1), jnp.arange(100_000)))
    assert len(np.unique(keys)) == 100_000


def test_members_of_a_population_drop_what_they_drop_alone() -> None:
    """A lone member's masks come out of a condition, which a population's do not have."""
    x, rates = np.ones((64, 33), np.float32), np.array([0.0, 0.2, 0.5], np.float32)
    together = jax.vmap(lambda rate: dropper(np.uint32(5), rate)(x))(rates)
    for at, rate in enumerate(rates):
        np.testing.assert_array_equal(together[at], dropper(np.uint32(5), rate)(x))
    np.testing.assert_array_equal(together[0], x)
