"""A correction of probabilities helps where it can, and is not made where the rows cannot tell it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core import calibration as module
from tidemill.core.calibration import Calibration, calibration_floor, expected_calibration_error, fit, logits
from tidemill.core.errors import BadBundle
from tidemill.core.metrics import log_loss

Array = np.ndarray[Any, Any]


def softmax(z_nk: Array) -> Array:
    e_nk = np.exp(z_nk - z_nk.max(1, keepdims=True))
    return e_nk / e_nk.sum(1, keepdims=True)


def drawn(p_nk: Array, seed: int) -> Array:
    """Labels that come as often as the probabilities say."""
    u_n = np.random.default_rng(seed).random(len(p_nk))
    return np.minimum((p_nk.cumsum(1) < u_n[:, None]).sum(1), p_nk.shape[1] - 1)


def case(rows: int, k: int, seed: int) -> tuple[Array, Array]:
    """True probabilities and labels drawn from them."""
    p_nk = softmax(np.random.default_rng(seed).normal(0, 1.5, (rows, k)))
    return p_nk, drawn(p_nk, seed + 1)


def loss(y_n: Array, p_nk: Array) -> float:
    return float(log_loss(y_n, p_nk, np.ones((1, len(y_n))))[0])


@given(
    rows=st.integers(1, 400),
    k=st.integers(2, 5),
    seed=st.integers(0, 10_000),
    steep=st.floats(0.05, 20),
    shift=st.floats(-4, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_fit_is_never_worse_than_none_on_its_own_rows(
    rows: int, k: int, seed: int, steep: float, shift: float
) -> None:
    p_nk, y_n = case(rows, k, seed)
    said_nk = softmax(steep * np.log(p_nk) + shift * np.arange(k)).astype(np.float32)
    found = fit(y_n, said_nk)
    after_nk = found.apply(said_nk)
    assert loss(y_n, after_nk) <= loss(y_n, said_nk)
    assert np.allclose(after_nk.sum(1), 1) and (after_nk >= 0).all()
    assert Calibration.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_platt_undoes_a_known_distortion_of_two_classes() -> None:
    p_nk, y_n = case(40_000, 2, 1)
    z_n = 2.5 * logits(p_nk) + 1.0
    found = fit(y_n, softmax(np.stack([0 * z_n, z_n], 1)))
    assert found.method == "platt"
    assert found.a == pytest.approx(1 / 2.5, abs=0.02) and found.b == pytest.approx(-1 / 2.5, abs=0.04)


def test_a_temperature_undoes_overconfidence_over_many_classes() -> None:
    p_nk, y_n = case(20_000, 4, 2)
    said_nk = softmax(3 * np.log(p_nk))
    found = fit(y_n, said_nk)
    assert found.method == "temperature" and found.a == pytest.approx(1 / 3, abs=0.02)
    assert expected_calibration_error(y_n, said_nk) > 0.1
    after_nk = found.apply(said_nk)
    assert expected_calibration_error(y_n, after_nk) < calibration_floor(after_nk) + 0.01


@pytest.mark.parametrize("k", [2, 3])
def test_the_order_of_rows_and_the_answered_label_of_many_classes_stay(k: int) -> None:
    p_nk, y_n = case(5_000, k, 3)
    said_nk = softmax(0.4 * np.log(p_nk))
    found = fit(y_n, said_nk)
    after_nk = found.apply(said_nk)
    assert found.method != "none"
    if k == 2:
        assert (np.argsort(after_nk[:, 1], kind="stable") == np.argsort(logits(said_nk), kind="stable")).all()
    else:
        assert (after_nk.argmax(1) == said_nk.argmax(1)).all()


def test_honest_probabilities_are_left_alone_most_of_the_time() -> None:
    touched = [fit(y_n, p_nk).method != "none" for p_nk, y_n in (case(1_000, 2, seed) for seed in range(100))]
    assert sum(touched) <= 25  # twice the gain is chi-squared with 2 degrees: more than 4 in 13.5 % of the cases


def test_rows_that_cannot_tell_get_no_correction() -> None:
    p_nk, y_n = case(500, 2, 4)
    apart_nk = softmax(np.stack([0 * y_n, np.where(y_n == 1, 0.3, -0.3)], 1))
    few_n = np.where(np.arange(500) < module.FEW - 1, 1, 0)
    assert fit(y_n, apart_nk) == Calibration()
    assert fit(np.zeros(500, int), p_nk**2 / (p_nk**2).sum(1, keepdims=True)) == Calibration()
    assert fit(few_n, p_nk) == Calibration()
    assert fit(y_n[:0], p_nk[:0]) == Calibration()
    assert fit(y_n, np.full((500, 2), 0.5), np.zeros(500)) == Calibration()


def test_a_model_that_ranks_backwards_is_not_turned_round() -> None:
    p_nk, y_n = case(2_000, 2, 5)
    assert fit(y_n, p_nk[:, ::-1]).method == "none"


def test_a_row_of_weight_two_is_two_rows() -> None:
    p_nk, y_n = case(2_000, 2, 6)
    said_nk = softmax(3 * np.log(p_nk))
    twice_n = np.arange(2_000) % 3 == 0
    weighted = fit(y_n, said_nk, 1.0 + twice_n)
    repeated = fit(np.r_[y_n, y_n[twice_n]], np.r_[said_nk, said_nk[twice_n]])
    # Platt's smoothing counts rows of all weights together, so the two are close and not equal
    assert weighted.a == pytest.approx(repeated.a, rel=5e-3) and weighted.b == pytest.approx(repeated.b, abs=5e-3)


def test_probabilities_of_nought_and_one_stay_numbers() -> None:
    p_nk = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    for found in (Calibration("platt", 3.0, -1.0), Calibration("temperature", 0.5)):
        assert np.isfinite(found.apply(p_nk)).all()
    assert (Calibration().apply(p_nk) == p_nk).all()


def test_the_error_of_a_calibrated_model_is_the_floor() -> None:
    for rows, most in ((300, 0.1), (3_000, 0.03)):
        p_nk, _ = case(rows, 2, 7)
        errors = [expected_calibration_error(drawn(p_nk, seed), p_nk) for seed in range(60)]
        floor = calibration_floor(p_nk)
        assert floor == pytest.approx(float(np.mean(errors)), rel=0.15) and floor < most
        assert calibration_floor(p_nk, seed=3) == calibration_floor(p_nk, seed=3)


def test_a_constant_answer_is_off_by_its_distance_to_the_share() -> None:
    p_nk, y_n = np.tile([0.3, 0.7], (150, 1)), np.arange(150) % 2
    assert expected_calibration_error(y_n, p_nk, bins=1) == pytest.approx(0.2)
    assert expected_calibration_error(y_n, np.eye(2)[y_n]) == 0
    assert expected_calibration_error(y_n[:3], p_nk[:3]) > 0


@pytest.mark.parametrize("value", [{}, {"method": "magic", "a": 1, "b": 0}, {"method": "platt", "a": None, "b": 0}])
def test_what_is_no_calibration_is_refused(value: dict[str, Any]) -> None:
    with pytest.raises(BadBundle, match="no calibration"):
        Calibration.from_json(value)
