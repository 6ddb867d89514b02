"""Find a text file's encoding: by its byte order mark, by being valid UTF-8, else by a guess that is reported."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tidemill.core.errors import BadTable

SAMPLE_BYTES = 256 * 1024  # of lines with bytes above 127: enough to tell alphabets apart
_CONTROL = frozenset(range(32)) - {9, 10, 12, 13, 27}
_HIGH_LINE = re.compile(rb"[^\r\n]*[\x80-\xff][^\r\n]*")
_SURROGATE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class Encoding:
    """A text file's encoding: its Python codec, how it was found, and whether some rows do not decode."""

    codec: str
    how: str  # "bom", "valid" or "guessed"
    broken: bool = False


def check_text(head: bytes) -> None:
    """Raise BadTable where the first bytes of a file are not text in an encoding that is read here."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise BadTable("The file is UTF-32.", code="ENCODING_UNSUPPORTED", remedy="Save it as UTF-8.")
    if not head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return
    zeros = head.count(0)
    if 0.2 * len(head) < zeros < 0.8 * len(head) and max(head[0::2].count(0), head[1::2].count(0)) > 0.9 * zeros:
        raise BadTable(
            "Every second byte is NUL: the file looks like UTF-16 without a byte order mark.",
            code="ENCODING_UNKNOWN",
            remedy="Save it as UTF-8.",
        )
    controls = sum(head.count(byte) for byte in _CONTROL)
    if controls > 0.02 * len(head):
        raise BadTable(
            f"{controls:,} of the first {len(head):,} bytes are control characters: this is not text.",
            code="NOT_TEXT",
            remedy="Upload a table as CSV, JSON Lines or Parquet.",
        )


def detect(head: bytes, content: Iterable[bytes]) -> Encoding:
    """The encoding of a whole text file, which is read once for it."""
    if head.startswith(codecs.BOM_UTF8):
        return Encoding("utf-8-sig", "bom", _count_utf8(content).invalid > 0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Encoding("utf-16", "bom")
    found = _count_utf8(content)
    if not found.invalid:
        return Encoding("utf-8", "valid")
    if found.valid > found.invalid:
        return Encoding("utf-8", "valid", broken=True)
    codec = guess(found.sample)
    return Encoding(codec, "guessed", broken=True)


def decoded(content: Iterable[bytes], encoding: Encoding) -> Iterator[str]:
    """The text of a file block by block; bytes that do not decode become lone surrogates, to be set aside by row."""
    errors = "surrogateescape" if encoding.broken else "strict"
    decoder = codecs.getincrementaldecoder(encoding.codec)(errors)
    try:
        for block in content:
            if text := decoder.decode(block):
                yield text
        if text := decoder.decode(b"", final=True):
            yield text
    except UnicodeDecodeError as error:
        raise BadTable(
            f"The file is not valid {encoding.codec}.", code="ENCODING_BROKEN", remedy="Save it as UTF-8."
        ) from error


def undecoded(text: str) -> bool:
    """Whether a text holds bytes that did not decode."""
    return not text.isascii() and _SURROGATE.search(text) is not None


@dataclass
class _Count:
    valid: int = 0
    invalid: int = 0
    sample: bytes = b""


def _count_utf8(content: Iterable[bytes]) -> _Count:
    count = _Count()
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for block in content:
        text = decoder.decode(block)
        if text.isascii():
            continue
        above = len(text) - len(text.encode("ascii", "ignore"))
        wrong = len(_SURROGATE.findall(text)) if _SURROGATE.search(text) else 0
        count.valid, count.invalid = count.valid + above - wrong, count.invalid + wrong
        if wrong and len(count.sample) < SAMPLE_BYTES:
            count.sample = (count.sample + b"\n".join(_HIGH_LINE.findall(block)))[:SAMPLE_BYTES]
    count.invalid += len(decoder.decode(b"", final=True))
    return count


def guess(sample: bytes) -> str:
    """The likeliest of GB18030, Big5 and Windows-1252 for bytes that are not UTF-8."""
    scores = {"gb18030": _east_asian(sample, 0xB0, 0xD7, 0xA1), "big5": _east_asian(sample, 0xA4, 0xC6, 0x40)}
    best = max(scores, key=lambda name: scores[name])
    return best if scores[best] > 0.6 else "cp1252"


def _east_asian(sample: bytes, low: int, high: int, trail: int) -> float:
    """The share of two-byte characters among the frequent ones of an encoding (its first level of characters)."""
    pairs = common = 0
    position = 0
    while position < len(sample):
        first = sample[position]
        if first < 0x80:
            position += 1
            continue
        second = sample[position + 1] if position + 1 < len(sample) else 0
        pairs += 1
        if low <= first <= high and (trail <= second <= 0x7E or 0xA1 <= second <= 0xFE):
            common += 1
        elif 0xA1 <= first <= 0xA3 and second >= 0x40:  # punctuation in both: no evidence
            pairs -= 1
        position += 2 if second >= 0x40 else 1
    return common / pairs if pairs else 0.0
