"""Archives: hostile paths, links, bombs, lies, and honest ones with odd members."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator

from PIL import Image
from tests.fire.corpus.case import GOOD, PARTLY, REFUSED, Made


def cases() -> Iterator[Made]:
    """The files of this kind."""
    for name, expected, reason, content in [*_paths(), *_bombs(), *_members(), *_tars()]:
        yield Made(f"zip/{name}", expected, reason, content)


def png(seed: int, side: int = 32) -> bytes:
    """A picture of one colour."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), (seed * 9 % 256, seed * 23 % 256, 40)).save(out, "PNG")
    return out.getvalue()


def pictures(pattern: str = "{kind}/{n}.png") -> dict[str, bytes]:
    """Twelve pictures of each of two classes."""
    return {
        pattern.format(kind=kind, n=n): png(12 * at + n) for at, kind in enumerate(("cat", "dog")) for n in range(12)
    }


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **attributes: int) -> bytes:
    """A zip; a member's name may have an attribute (of Unix, in the upper half)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.compress_type, info.external_attr = method, attributes.get(name, 0o600 << 16)
            packed.writestr(info, content)
    return out.getvalue()


Row = tuple[str, str, str, bytes]


def _paths() -> Iterator[Row]:
    some = pictures()
    yield "000_control_images.zip", GOOD, "OK", zipped(some)
    yield "001_slip_dotdot.zip", REFUSED, "ARCHIVE_PATH", zipped({**some, "../../../../tmp/evil.png": png(1)})
    yield "002_slip_absolute.zip", REFUSED, "ARCHIVE_PATH", zipped({**some, "/etc/cron.d/evil": b"x"})
    linked = zipped({**some, "cat/link.png": b"/etc/passwd"}, **{"cat/link.png": 0o120777 << 16})
    yield "004_symlink.zip", REFUSED, "ARCHIVE_LINK", linked
    yield "024_deep_path.zip", REFUSED, "ARCHIVE_PATH", zipped({**some, "a/" * 2_000 + "x.png": png(1)})
    yield "016_no_folders.zip", REFUSED, "LABELS_MISSING", zipped(pictures("{kind}_{n}.png"))
    yield "900_slip_backslash.zip", REFUSED, "ARCHIVE_PATH", zipped({**some, "..\\..\\evil.png": png(1)})
    yield "901_drive.zip", REFUSED, "ARCHIVE_PATH", zipped({**some, "C:/evil.png": png(1)})


def _bombs() -> Iterator[Row]:
    inner = zipped({"zeros": bytes(10 << 20)})
    for _ in range(2):
        inner = zipped({f"l{n}.zip": inner for n in range(10)})
    lying = bytearray(zipped({"cat/a.csv": bytes(5 << 20)}))
    real, claim = (5 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")
    while (at := lying.find(real)) >= 0:
        lying[at : at + 4] = claim
    yield "006_nested_bomb.zip", REFUSED, "EXPANSION_RATIO", inner
    yield "008_size_lie.zip", REFUSED, "ARCHIVE_CORRUPT", bytes(lying)
    yield "009_70k_members.zip", REFUSED, "TOO_MANY_MEMBERS", zipped({f"cat/{n}.txt": b"" for n in range(70_000)}, 0)


def _members() -> Iterator[Row]:
    some, notes = pictures(), {f"notes/{n}.txt": f"a note {n}".encode() for n in range(12)}
    good = zipped(some)
    locked = bytearray(zipped({"cat/a.png": png(1)}, 0))
    locked[6] |= 1
    locked[lying_flag(locked)] |= 1
    doubled = bytearray(zipped({**some, "cat/X.png": png(30)}).replace(b"cat/X.png", b"cat/0.png"))
    yield "005_nested.zip", PARTLY, "MEMBER_NESTED_ARCHIVE", zipped({**some, "more.zip": good})
    yield "010_truncated.zip", REFUSED, "ARCHIVE_CORRUPT", good[:-300]
    yield "012_duplicate_names.zip", REFUSED, "ARCHIVE_DUPLICATE_MEMBER", bytes(doubled)
    yield "013_encrypted.zip", REFUSED, "ARCHIVE_ENCRYPTED", bytes(locked)
    junk = {"__MACOSX/cat/._0.png": b"x", "cat/.DS_Store": b"x", "Thumbs.db": b"xxxx"}
    yield "014_macos_junk.zip", GOOD, "OK", zipped({**some, **junk})
    yield "017_empty_class.zip", PARTLY, "CLASS_TOO_SMALL", zipped({**some, "bird/": b""})
    yield "018_mixed_modalities.zip", REFUSED, "MODALITY_AMBIGUOUS", zipped({**some, **notes})
    yield (
        "020_bidi_name.zip",
        PARTLY,
        "MEMBER_NAME",
        zipped({**some, "cat/\u202egnp.exe": png(1), "cat/a\nb.png": png(2)}),
    )
    program = b"MZ\x90\x00" + bytes(198)
    yield "021_exe_member.zip", PARTLY, "MEMBER_TYPE_MISMATCH", zipped({**some, "cat/setup.png": program})
    yield "022_empty.zip", REFUSED, "EMPTY_FILE", zipped({})
    yield "028_lzma_method.zip", REFUSED, "ARCHIVE_METHOD", zipped(some, zipfile.ZIP_LZMA)


def lying_flag(content: bytearray) -> int:
    """Where the flags of the first entry of a zip's directory stand."""
    return content.find(b"PK\x01\x02") + 8


def _tars() -> Iterator[Row]:
    yield (
        "025_tar_symlink_dir.tar.gz",
        REFUSED,
        "ARCHIVE_LINK",
        _tar("w:gz", [("cat/l", tarfile.SYMTYPE), ("cat/l/passwd", tarfile.REGTYPE)]),
    )
    kinds = [("cat/dev", tarfile.CHRTYPE), ("cat/fifo", tarfile.FIFOTYPE), ("cat/hard", tarfile.LNKTYPE)]
    yield "026_tar_devices.tar", REFUSED, "ARCHIVE_LINK", _tar("w", kinds)


def _tar(mode: str, members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload]
        for name, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
            packed.addfile(info, io.BytesIO(b""))
    return out.getvalue()
