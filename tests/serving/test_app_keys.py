"""API keys: random, recognisable, stored as a hash, and with the rights of their role only."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BadRequest
from tidemill.core.keys import PREFIX, allows, hash_of, id_of, looks_like_key, new_key, opens


def test_a_key_is_random_recognisable_and_not_in_its_item() -> None:
    made = [new_key("predict", "test") for _ in range(50)]
    assert len({key.secret for key in made}) == 50
    for key in made:
        assert key.secret.startswith(PREFIX)
        assert len(key.secret) >= len(PREFIX) + 32
        assert looks_like_key(key.secret)
        assert key.digest == hash_of(key.secret)
        assert key.item["id"] == id_of(key.digest) == key.digest[:8]
        assert key.secret not in json.dumps(key.item)
        assert key.digest not in json.dumps(key.item)
        assert key.item["revoked"] is False


@pytest.mark.parametrize(
    ("role", "name"), [("root", "a"), ("", "a"), ("predict", ""), ("predict", "a\nb"), ("operate", "x" * 65)]
)
def test_a_wrong_role_or_name_is_refused(role: str, name: str) -> None:
    with pytest.raises(BadRequest):
        new_key(role, name)


@pytest.mark.parametrize(
    ("role", "needed", "may"),
    [
        ("operate", "operate", True),
        ("operate", "predict", True),
        ("predict", "predict", True),
        ("predict", "operate", False),
        ("root", "predict", False),
        ("", "predict", False),
    ],
)
def test_operate_may_everything_and_predict_its_own(role: str, needed: str, may: bool) -> None:
    assert allows(role, needed) is may  # type: ignore[arg-type]


@given(st.text(max_size=200))
def test_no_other_text_looks_like_a_key(text: str) -> None:
    assert not looks_like_key(text) or (text.startswith(PREFIX) and text.isascii())


def test_a_key_opens_for_its_days_and_no_longer() -> None:
    for_good, for_a_day = new_key("predict", "test"), new_key("predict", "test", days=1)
    assert opens(for_good.item) and opens(for_a_day.item)
    assert not opens(None) and not opens({**for_good.item, "revoked": True})
    assert not opens({**for_a_day.item, "until": "2026-01-01T00:00:00.000Z"})
    assert not opens(new_key("predict", "test", days=0).item)
