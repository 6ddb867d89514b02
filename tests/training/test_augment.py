"""Pictures are bent as far as they are told, and not at all where they are told nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.augment import Bend, bent, beside, uniform

ONES = np.ones(6, np.float32)


@pytest.fixture(scope="module")
def pictures() -> Any:
    """Six smooth pictures of 12 by 10 pixels in two channels."""
    y, x = np.mgrid[:12, :10] / 10
    made = [np.stack([np.sin(3 * y + at) + x, np.cos(2 * x * at) - y], -1) for at in range(6)]
    return jnp.asarray(np.stack(made), jnp.float32)


def key(number: int) -> Any:
    return jnp.uint32(number)


def test_nothing_is_changed_by_default(pictures: Any) -> None:
    found, share_b = bent(key(1), Bend(), pictures, ONES)
    assert np.allclose(found, pictures, atol=1e-6)
    assert np.array_equal(share_b, ONES)


def test_a_certain_flip_mirrors_every_picture(pictures: Any) -> None:
    found, _ = bent(key(2), Bend(flip=1.0), pictures, ONES)
    assert np.allclose(found, pictures[:, :, ::-1], atol=1e-6)


def test_half_the_pictures_are_flipped_at_a_chance_of_a_half() -> None:
    many = jnp.asarray(np.random.default_rng(0).normal(size=(400, 4, 4, 1)), jnp.float32)
    found, _ = bent(key(3), Bend(flip=0.5), many, np.ones(400, np.float32))
    flipped = np.abs(np.asarray(found) - np.asarray(many)).max((1, 2, 3)) > 1e-6
    assert 150 < flipped.sum() < 250


def test_bending_moves_pixels_within_the_range_of_the_picture(pictures: Any) -> None:
    found, _ = bent(key(4), Bend(affine=1.0), pictures, ONES)
    assert np.abs(np.asarray(found - pictures)).max() > 0.05
    low, high = pictures.min((1, 2)), pictures.max((1, 2))
    assert (found.min((1, 2)) >= low - 1e-5).all() and (found.max((1, 2)) <= high + 1e-5).all()


def test_a_plain_picture_stays_plain() -> None:
    plain = jnp.full((3, 8, 8, 1), 0.7, jnp.float32)
    found, _ = bent(key(5), Bend(affine=1.0, flip=0.5), plain, ONES[:3])
    assert np.allclose(found, 0.7, atol=1e-6)


def test_mixing_takes_from_the_neighbour_what_its_label_gets(pictures: Any) -> None:
    found, share_b = bent(key(6), Bend(mixup=1.0), pictures, ONES)
    assert ((share_b >= 0.5) & (share_b <= 1.0)).all() and share_b.min() < 0.95
    share = np.asarray(share_b)[:, None, None, None]
    assert np.allclose(found, share * pictures + (1 - share) * beside(pictures), atol=1e-5)


def test_nothing_is_mixed_with_padding(pictures: Any) -> None:
    weights = np.array([1, 1, 1, 1, 0, 0], np.float32)
    _, share_b = bent(key(7), Bend(mixup=1.0), pictures, weights)
    padded = np.asarray(beside(weights)) == 0
    assert (np.asarray(share_b)[padded] == 1).all() and (np.asarray(share_b)[~padded] < 1).any()


def test_another_key_bends_otherwise_and_the_same_alike(pictures: Any) -> None:
    one, again, other = (bent(key(at), Bend(affine=1.0), pictures, ONES)[0] for at in (8, 8, 9))
    assert np.array_equal(one, again) and not np.allclose(one, other)


def test_draws_are_even() -> None:
    draws = np.asarray(jax.jit(uniform, static_argnums=1)(key(10), (100, 100)))
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(np.histogram(draws, 10)[0] / 1000 - 1).max() < 0.15
