"""What every reason code means and what to do about it, in English and in Chinese: `reasons.toml`, read once."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("reasons.toml")


@dataclass(frozen=True)
class Reason:
    """One code: where it comes up, what is the matter, what to do."""

    code: str
    area: str
    sentence: str
    remedy: str
    sentence_zh: str
    remedy_zh: str


@cache
def reasons() -> dict[str, Reason]:
    """Every reason by its code, in the order of the file."""
    told = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {code: Reason(code, area, *words) for area, codes in told.items() for code, words in codes.items()}
