"""The edges of archives, and of the pictures and texts in them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from tests.core.pictures import class_folders, zipped
from tests.edges.edge import Edge, code_of
from tests.edges.tables import dataset, told

from tidemill.core.readers.archive import open_archive
from tidemill.core.readers.members import list_members
from tidemill.core.readers.picture import read_picture

MOODS = ("good", "bad")


def listed(members: dict[str, bytes], folder: Path) -> str:
    """What is said of the names in an archive."""
    path = folder / "upload"
    path.write_bytes(zipped(members))

    def listing() -> None:
        archive = open_archive(path, "upload.zip")
        assert archive is not None
        list_members(archive.entries())

    return code_of(listing)


def directory(size: int, folder: Path) -> str:
    """Three members whose entries in the directory, 46 bytes and a name each, have so many bytes."""
    names = size - 3 * 46
    return listed({"a": b"x", "b": b"x", "c" * (names - 2): b"x"}, folder)


def path(size: int, folder: Path) -> str:
    """A member whose path has so many characters."""
    return listed({"a" * 99 + "/" + "/".join(["b" * 99] * 9) + "/" + "c" * (size - 1_000): b"x"}, folder)


def texts(folder_of: str = "{mood}/{at}.txt") -> dict[str, bytes]:
    """Texts in folders of two classes."""
    return {
        folder_of.format(mood=MOODS[at % 2], at=at): f"A {MOODS[at % 2]} story about {at}".encode() for at in range(60)
    }


def text_file(size: int, folder: Path) -> str:
    """One text of so many bytes among others."""
    made = zipped({**texts(), "good/4.txt": b"word " * (size // 5) + b"x" * (size % 5)})
    return told(dataset(made, folder, "texts.zip"))


def labels_file(size: int, folder: Path) -> str:
    """A table of labels of so many bytes beside texts in one folder."""
    lines = "\n".join(["file,label", *(f"all/{at}.txt,{MOODS[at % 2]}" for at in range(60))]).encode()
    made = {**texts("all/{at}.txt"), "labels.csv": lines.ljust(size, b"\n")}
    return code_of(lambda: dataset(zipped(made), folder, "texts.zip"))


def png(width: int, height: int) -> bytes:
    """A black picture."""
    sink = io.BytesIO()
    Image.new("L", (width, height)).save(sink, "PNG")
    return sink.getvalue()


def pixels(count: int, folder: Path) -> str:
    return code_of(lambda: read_picture(png(count, 1)))


def filled(size: int, folder: Path) -> str:
    """A picture with so many bytes; what stands behind its end is not read."""
    return code_of(lambda: read_picture(png(9, 9).ljust(size)))


def side(size: int, folder: Path) -> str:
    """A picture of this width, as it is stored."""
    kept = read_picture(png(size, 16)).pixels_hwc.shape[1]
    return "" if kept == size else f"scaled to {kept}"


EDGES = {
    "members": Edge(lambda n, at: listed({f"m{k}": b"" for k in range(n)}, at), "TOO_MANY_MEMBERS", small=30),
    "archive_directory": Edge(directory, "TOO_MANY_MEMBERS", small=300),
    "member_path": Edge(path, "ARCHIVE_PATH"),
    "member_depth": Edge(lambda n, at: listed({"/".join(["d"] * n): b"x"}, at), "ARCHIVE_PATH"),
    "labels_file": Edge(labels_file, "LABELS_MISSING", small=2_000),
    "text_file": Edge(text_file, "ROW_FIELD_TOO_LONG", small=2_000),
    "picture_bytes": Edge(filled, "IMAGE_TOO_LARGE", small=900),
    "picture_pixels": Edge(pixels, "IMAGE_TOO_MANY_PIXELS", small=600, others={"picture_aspect": 1_000}),
    "picture_aspect": Edge(lambda n, at: code_of(lambda: read_picture(png(3 * n, 3))), "IMAGE_ASPECT"),
    "picture_side": Edge(side, "scaled to 512"),
    "good_pictures": Edge(
        lambda n, at: code_of(lambda: dataset(zipped(class_folders(n)), at, "p.zip")), "TOO_FEW_ROWS", step=-1
    ),
}
