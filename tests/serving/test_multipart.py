"""Forms arrive byte by byte as they were sent, and a broken one is told why."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BadRequest, TidemillError, TooLarge
from tidemill.serving.multipart import Part, parts


def form(fields: dict[str, str], files: list[tuple[str, tuple[str, bytes]]]) -> tuple[bytes, str]:
    """A form as another program makes it."""
    request = httpx.Request("POST", "http://x", data=fields, files=files)
    return request.read(), request.headers["content-type"]


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=4), st.text('aé"\\;=好 ', max_size=12))
def test_every_file_arrives_with_every_byte(contents: list[bytes], target: str) -> None:
    body, kind = form({"target": target}, [("picture", (f"{n}.png", data)) for n, data in enumerate(contents)])
    found = parts(body, kind)
    assert [part.content for part in found if part.name == "picture"] == contents
    assert Part("target", target.encode()) in found


@pytest.mark.parametrize("content", [b"", b"\r\n", b"\r\n--", b"--b--\r\n", b"\x00\r\n\r\n\xff", b"\r\n--bb\r\n"])
def test_what_looks_like_a_boundary_is_content(content: bytes) -> None:
    head = b'--b-1\r\ncontent-disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    body = head + content + b"\r\n--b-1--\r\n"
    assert parts(body, "multipart/form-data; boundary=b-1") == [Part("picture", content)]


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Disposition: form-data; name="picture"',
        b"content-disposition: form-data; name=picture",
        b'CONTENT-DISPOSITION: form-data; filename="name=x"; name="picture"\r\ncontent-type: image/png',
        b'content-type: image/png\r\ncontent-disposition:form-data;name="pic\\ture"',
    ],
)
def test_the_name_is_found_however_it_is_written(head: bytes) -> None:
    body = b"preamble\r\n--b\r\n" + head + b"\r\n\r\nx\r\n--b--epilogue"
    assert parts(body, 'multipart/form-data; charset=utf-8; boundary="b"') == [Part("picture", b"x")]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "multipart/form-data", "names no boundary"),
        (b"", "multipart/form-data; boundary=", "names no boundary"),
        (b"", "multipart/form-data; boundary=" + "b" * 71, "names no boundary|ends before"),
        (b"", "multipart/form-data; boundary=b", "ends before its last boundary"),
        (b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\nx', "multipart/form-data; boundary=b", "ends before"),
        (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b", "has no name"),
        (b"--b\r\ncontent-type: image/png\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=b", "has no name"),
        (b"--b\r\nno end of headers\r\n--b--", "multipart/form-data; boundary=b", "no end of its headers"),
        (
            b"--b\r\na: " + b"x" * 9_000 + b"\r\n\r\nx\r\n--b--",
            "multipart/form-data; boundary=b",
            "no end of its headers",
        ),
    ],
)
def test_a_broken_form_is_told_why(body: bytes, kind: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words) as caught:
        parts(body, kind)
    assert caught.value.code == "FORM_INVALID" and "curl" in caught.value.remedy


def test_a_form_of_very_many_parts_is_refused() -> None:
    body = b'--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n\r\n' * 5_000 + b"--b--"
    with pytest.raises(TooLarge, match="more than 80 parts"):
        parts(body, "multipart/form-data; boundary=b")


@given(st.binary(max_size=200) | st.text('-b\r\n:;="', max_size=80).map(str.encode))
def test_no_form_ends_in_another_kind_of_error(body: bytes) -> None:
    for sent in (body, b"--b\r\n" + body, b"--b\r\ncontent-disposition: form-data; name=" + body + b"\r\n--b--"):
        try:
            parts(sent, "multipart/form-data; boundary=b")
        except TidemillError as error:
            assert error.status in (400, 413)
