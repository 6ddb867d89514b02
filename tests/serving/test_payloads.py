"""Every body is either rows or a refusal that says what is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BadBody, BadRequest, TidemillError, TooLarge
from tidemill.serving import payloads
from tidemill.serving.payloads import read

cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@given(st.lists(st.dictionaries(st.text(), cells), min_size=1, max_size=5))
def test_rows_arrive_as_they_were_sent(rows: list[dict[str, Any]]) -> None:
    for ascii_only in (True, False):
        body = json.dumps({"rows": rows}, ensure_ascii=ascii_only).encode(errors="surrogatepass")
        assert read(body, "predict").rows == rows
    assert read(json.dumps({"row": rows[0]}).encode(), "predict").rows == rows[:1]


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,rows1e9.-\\u tuelfanNI', max_size=60).map(str.encode))
def test_no_body_ends_in_another_kind_of_error(body: bytes) -> None:
    try:
        payload = read(body, "explain")
    except TidemillError as error:
        assert error.status in (400, 413, 422) and error.remedy and len(error.message) < 500
    else:
        assert payload.rows and all(isinstance(row, dict) for row in payload.rows)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "JSON_INVALID", "expecting value at character 0"),
        (b"{", "JSON_INVALID", "character 1"),
        (b"\xff\xfe{", "JSON_INVALID", "not UTF-8 at byte 0"),
        (b'{"row": {"a": NaN}}', "JSON_INVALID", "NaN is no JSON number"),
        (b'{"row": {"a": -Infinity}}', "JSON_INVALID", "-Infinity is no JSON number"),
        (b'{"row": {"a": 1, "a": 2}}', "JSON_DUPLICATE_KEY", "'a' stands twice"),
        (b'{"row": {}, "row": {}}', "JSON_DUPLICATE_KEY", "'row' stands twice"),
        (b'{"row": {"a": ' + b"1" * 5000 + b"}}", "JSON_INVALID", "a number is too long"),
        (b"[" * 100_000, "JSON_TOO_DEEP", "nested too deeply"),
        (b'{"a":' * 100_000, "JSON_TOO_DEEP", "nested too deeply"),
        (b"[]", "BAD_BODY", "The body is a list"),
        (b"null", "BAD_BODY", "The body is null"),
        (b"7", "BAD_BODY", "The body is a number"),
        (b'{"rows": [{}], "target": "x"}', "BAD_BODY", "'target'"),
        (b'{"rows": [{}], "model": "x"}', "BAD_BODY", "'model'"),
        (b"{}", "NO_ROWS", "needs rows or row"),
        (b'{"rows": [{}], "row": {}}', "NO_ROWS", "needs rows or row"),
        (b'{"rows": []}', "NO_ROWS", "no row"),
        (b'{"rows": {}}', "NO_ROWS", "no row"),
        (b'{"rows": [{}, 3]}', "BAD_ROW", r"rows\[1\] is a number"),
        (b'{"row": [1]}', "BAD_ROW", r"rows\[0\] is a list"),
        (b'{"row": true}', "BAD_ROW", r"rows\[0\] is true or false"),
    ],
)
def test_a_body_that_cannot_be_read_is_told_why(body: bytes, code: str, words: str) -> None:
    with pytest.raises((BadBody, BadRequest), match=words) as caught:
        read(body, "predict")
    assert caught.value.code == code and caught.value.remedy


def test_only_explain_takes_a_target() -> None:
    assert read(b'{"row": {}, "target": "a"}', "explain").target == "a"
    assert read(b'{"row": {}, "target": null}', "explain").target is None
    with pytest.raises(BadBody, match="target is a number"):
        read(b'{"row": {}, "target": 1}', "explain")


def test_only_predict_takes_levels() -> None:
    assert read(b'{"row": {}, "interval": 0.9}', "predict") == payloads.Payload([{}], None, 0.9, None)
    assert read(b'{"row": {}, "set": 0.8}', "predict") == payloads.Payload([{}], None, None, 0.8)
    assert read(b'{"row": {}, "set": null, "interval": null}', "predict") == payloads.Payload([{}])
    for name in ("interval", "set"):
        for wrong in (b'"0.9"', b"true", b"[0.9]", b"{}"):
            with pytest.raises(BadBody, match=f"{name} is ") as caught:
                read(b'{"row": {}, "' + name.encode() + b'": ' + wrong + b"}", "predict")
            assert caught.value.code == "BAD_LEVEL" and f'"{name}": 0.9' in caught.value.remedy
        with pytest.raises(BadBody, match=f"'{name}' beside"):
            read(b'{"row": {}, "' + name.encode() + b'": 0.9}', "explain")


def test_bodies_and_rows_have_limits() -> None:
    with pytest.raises(TooLarge, match=f"{payloads.MAX_BODY_BYTES} are read"):
        read(b" " * (payloads.MAX_BODY_BYTES + 1), "predict")
    for verb, limit in (("predict", payloads.MAX_ROWS), ("explain", payloads.MAX_ROWS_EXPLAINED)):
        assert len(read(json.dumps({"rows": [{}] * limit}).encode(), verb).rows) == limit
        with pytest.raises(TooLarge, match=f"{limit} are read at once"):
            read(json.dumps({"rows": [{}] * (limit + 1)}).encode(), verb)
