"""What is no manifest is said to be none, whatever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.core import manifest
from tidemill.core.errors import BadBundle


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"null", b'{"files": 3}', b'{"files": [1]}', b'{"files": [{"name": "a"}]}', b"\xff\xfe",
     b'{"files": [{"name": "a", "size_bytes": "x", "sha256": ""}]}'],
)  # fmt: skip
def test_what_lists_no_files_is_a_bad_bundle_named_by_its_place(content: bytes) -> None:
    with pytest.raises(BadBundle, match=r"here has no readable MANIFEST\.json"):
        manifest.parsed(content, "here")


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    written = manifest.write(tmp_path, "bundle", model="m")
    assert manifest.read(tmp_path) == written == manifest.check(tmp_path)
