"""Features of frozen nets are computed once for every content of a row, whoever asks, and in whatever company."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from tidemill.training import frozen


class Texts(NamedTuple):
    """Rows of two arrays, the second filled up with zeros."""

    a_n: Any
    b_nt: Any


class Net:
    """A net whose features are sums; it counts the rows it is asked for."""

    asked: list[int]

    def __init__(self) -> None:
        self.asked = []


def summed(net: Net, x_n: Any) -> Any:
    net.asked.append(len(x_n))
    return np.stack([x_n.sum(1), x_n.max(1)], 1).astype(np.float32)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    monkeypatch.setattr(frozen, "frozen_of", lambda net: summed)
    return Net()


def test_every_content_is_computed_once_and_rows_come_back_in_order(net: Net) -> None:
    x_nf = np.array([[1, 2], [3, 4], [1, 2], [5, 6]])
    assert np.array_equal(frozen.read(net, x_nf), summed(Net(), x_nf))
    assert np.array_equal(frozen.read(net, x_nf[::-1]), summed(Net(), x_nf[::-1]))
    assert np.array_equal(frozen.read(net, np.array([[3, 4], [7, 8]])), [[7, 4], [15, 8]])
    assert sum(net.asked) == 4


def test_how_far_it_is_is_told_between_blocks(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "ASKED", 3)
    x_nf = np.arange(16).reshape(8, 2)
    frozen.read(net, x_nf[:1])
    assert list(frozen.fill(net, x_nf)) == [4, 7, 8]
    assert list(frozen.fill(net, x_nf)) == []


def test_zeros_behind_a_row_are_no_content_and_zeros_before_it_are() -> None:
    short = Texts(np.array([1, 1]), np.array([[4, 0], [0, 4]]))
    wide = Texts(np.array([1, 1]), np.array([[4, 0, 0, 0], [0, 4, 0, 0]]))
    assert frozen.keys_of(short) == frozen.keys_of(wide)
    assert len(set(frozen.keys_of(short))) == 2
    assert frozen.keys_of(short)[0] != frozen.keys_of(Texts(np.array([2]), np.array([[4, 0]])))[0]


def test_nets_that_learn_read_the_rows_themselves() -> None:
    x_nf = np.ones((2, 2))
    assert frozen.read(Net(), x_nf) is x_nf


def test_blocks_of_one_shape_give_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "TOGETHER", 4)
    shapes = []

    def compute(x_b: Any) -> Any:
        shapes.append(x_b.shape)
        return x_b * 2.0

    x_nf = np.arange(18.0).reshape(9, 2)
    assert np.array_equal(frozen.in_blocks(compute, x_nf), x_nf * 2)
    assert set(shapes) == {(4, 2)} and len(shapes) == 3
