"""Whatever the way in, the same rows and options come out, and every refusal says what would be right."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from tests.serving.modality_factory import picture

from tidemill.core.errors import BadBody, BadRequest, TidemillError, TooLarge, UnsupportedMedia
from tidemill.core.limits import limit
from tidemill.serving.bodies import read
from tidemill.serving.payloads import Payload

PHOTO = picture("left")
EMPTY = b"--b\r\ncontent-disposition: form-data; name=a\r\n\r\n\r\n--b--"


def sent(body: bytes, kind: str, query: str = "", verb: str = "predict") -> Payload:
    return read(body, {"content-type": kind}, query, verb)


def form(fields: dict[str, str], *files: tuple[str, bytes], query: str = "", verb: str = "predict") -> Payload:
    request = httpx.Request("POST", "http://x", data=fields, files=[(name, ("a.png", data)) for name, data in files])
    return sent(request.read(), request.headers["content-type"], query, verb)


def test_json_is_read_as_before() -> None:
    body = json.dumps({"rows": [{"picture": "aGk="}, {"key": "inbox/m/x.png"}], "set": 0.9}).encode()
    assert sent(body, "application/json; charset=utf-8") == Payload(
        [{"picture": "aGk="}, {"key": "inbox/m/x.png"}], set=0.9
    )


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "IMAGE/webp", "image/x-ms-bmp; q=1"])
def test_a_body_of_an_image_type_is_one_picture(kind: str) -> None:
    assert sent(PHOTO, kind) == Payload([{"picture": PHOTO}], sent="picture")


def test_a_body_of_plain_text_is_one_text() -> None:
    text = "这部电影 good"
    assert sent(text.encode(), "text/plain; charset=utf-8") == Payload([{"text": text}], sent="text")
    assert sent(b"\xef\xbb\xbfx", "text/plain") == Payload([{"text": "x"}], sent="text")
    with pytest.raises(BadRequest, match="not UTF-8 at byte 1"):
        sent(b"a\xff", "text/plain")


def test_a_form_holds_pictures_and_options() -> None:
    found = form({"set": "0.9"}, ("picture", PHOTO), ("picture", b"second"))
    assert found == Payload([{"picture": PHOTO}, {"picture": b"second"}], set=0.9, sent="picture")
    assert form({"target": "left"}, ("picture", PHOTO), verb="explain").target == "left"
    assert form({"text": "fine"}, ("text", b"other")).rows == [{"text": "fine"}, {"text": "other"}]


def test_the_query_holds_options_where_the_body_cannot() -> None:
    assert sent(PHOTO, "image/png", "interval=0.8") == Payload([{"picture": PHOTO}], interval=0.8, sent="picture")
    assert sent(b"x", "text/plain", "target=%E5%A5%BD", "explain").target == "好"
    assert form({}, ("picture", PHOTO), query="set=0.5").set == 0.5
    body = b'{"rows": [{"a": 1}]}'
    assert sent(body, "application/json", "set=0.5&anything=1") == Payload([{"a": 1}]), "JSON says it all itself"


@pytest.mark.parametrize(
    ("body", "kind", "query", "error", "code"),
    [
        (b"x", "", "", UnsupportedMedia, "UNSUPPORTED_MEDIA_TYPE"),
        (b"x", "text/csv", "", UnsupportedMedia, "UNSUPPORTED_MEDIA_TYPE"),
        (b"x", "application/x-www-form-urlencoded", "", UnsupportedMedia, "UNSUPPORTED_MEDIA_TYPE"),
        (b"x", "imagejpeg", "", UnsupportedMedia, "UNSUPPORTED_MEDIA_TYPE"),
        (PHOTO, "image/png", "target=left", BadBody, "BAD_BODY"),
        (PHOTO, "image/png", "set=wide", BadBody, "BAD_LEVEL"),
        (PHOTO, "image/png", "set=nan", BadBody, "BAD_LEVEL"),
        (PHOTO, "image/png", "&".join(["set=0.9"] * 30), BadRequest, "BAD_QUERY"),
        (EMPTY, "multipart/form-data; boundary=b", "", BadBody, "NO_ROWS"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_code(
    body: bytes, kind: str, query: str, error: type[TidemillError], code: str
) -> None:
    with pytest.raises(error) as caught:
        sent(body, kind, query)
    assert caught.value.code == code and caught.value.remedy


def test_a_form_of_both_kinds_is_refused() -> None:
    with pytest.raises(BadBody, match="'picture' and 'text'"):
        form({"text": "x"}, ("picture", PHOTO))


@pytest.mark.parametrize("kind", ["image/jpeg", "multipart/form-data; boundary=b", "text/plain"])
def test_a_body_too_large_names_the_way_round(kind: str) -> None:
    with pytest.raises(TooLarge, match="4194304 are read") as caught:
        sent(bytes(limit("request_binary") + 1), kind)
    assert '"purpose": "predict"' in caught.value.remedy and "POST /uploads" in caught.value.remedy
    with pytest.raises(TooLarge) as caught:
        sent(bytes(limit("request") + 1), "application/json")
    assert '"purpose": "predict"' in caught.value.remedy


def test_a_picture_within_the_limit_fits_a_lambda_as_base64() -> None:
    """A function takes 6 MB of event, the headers included."""
    most: Any = limit("request_binary")
    assert most * 4 / 3 + 200_000 < 6_000_000 and limit("request") + 200_000 < 6_000_000
