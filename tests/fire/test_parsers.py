"""Every parser that reads a stranger's bytes ends in a value or a refusal: a short walk of what `make fuzz` does."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from tests.fuzz.parsers import PARSERS, check
from tests.fuzz.seeds import seeds

pytestmark = [pytest.mark.fire, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]
CASES = 400
SLOWEST_S = 30
TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b'"',
    b"\n",
    b"{",
    b"[",
    b"9" * 400,
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"--mark--",
    b"..",
)


def mutated(chance: random.Random, known: list[bytes]) -> bytes:
    """A seed with a few bytes flipped, cut, doubled, or exchanged with another's."""
    data = bytearray(chance.choice(known))
    for _ in range(chance.randint(1, 6)):
        at, size = chance.randrange(len(data) + 1), chance.randint(1, 16)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = chance.choice(TOKENS)
            case 3:
                data[at:at] = data[at : at + size] * chance.randint(1, 20)
            case _:
                other = chance.choice(known)
                cut = chance.randrange(len(other) + 1)
                data[at : at + size] = other[cut : cut + size]
    return bytes(data)


@pytest.mark.parametrize("parser", PARSERS)
def test_a_parser_reads_or_refuses_whatever_it_is_given(parser: str, fire: Any) -> None:
    chance, known, codes = random.Random(20260101), seeds(parser), set()
    with fire("fuzzers", parser, count=CASES + len(known)):
        for seed in known:
            check(parser, seed)
        for _ in range(CASES):
            data, began = mutated(chance, known), time.monotonic()
            codes.add(check(parser, data))
            assert time.monotonic() - began < SLOWEST_S
    assert parser == "text" or len(codes) > 1, "every case ended alike: what was tried never got far"


def test_a_parser_that_lets_an_error_through_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness has teeth: an exception of another class, or a refusal that says nothing, is a finding."""
    monkeypatch.setitem(PARSERS, "csv", lambda data: data[1_000_000])
    with pytest.raises(IndexError):
        check("csv", b"a,b\n")
