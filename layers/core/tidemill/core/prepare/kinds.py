"""Decide what each column is: a number, a date, a category, or something to leave out, and say so."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tidemill.core.limits import limit
from tidemill.core.prepare import dates
from tidemill.core.prepare.evidence import DATE_NAME, Evidence
from tidemill.core.prepare.hashing import Sketch
from tidemill.core.readers.chunks import Warned

NUMBER, CATEGORY, DATETIME, TEXT = "number", "category", "datetime", "text"
FEATURE, TARGET, DROPPED = "feature", "target", "dropped"
_ID_NAME = re.compile(
    r"(?:^|[_\-. ])(?:id|ids|uuid|guid|index|idx|key|rowid|rownum|row|no|nr|serial|unnamed: ?\d+)$"
    r"|^column_\d+$|[a-z]I[Dd]$|(?:编号|序号|学号|工号|单号|主键)$",
    re.IGNORECASE,
)
_FEW_BAD, _MANY_BAD = 0.05, 0.2  # the share of cells that may not fit a kind lies between these, whatever is asked
_CODE = re.compile(r"[A-Z]{2,3}")
_SURELY_ID = re.compile(r"(?:^|[_\-. ])(?:id|uuid|guid)$|[a-z]I[Dd]$")


@dataclass(frozen=True)
class Plan:
    """How one column is read: its kind and role, and what its reading needs to know."""

    name: str
    kind: str
    role: str = FEATURE
    reason: str | None = None
    comma_decimal: bool = False
    order: str = ""
    unit: str = ""
    na_is_value: bool = False
    missing_words: frozenset[str] = frozenset()
    out_of_range_is_missing: bool = False
    private: bool = False


def dropped(plan: Plan, reason: str) -> Plan:
    """The same column, left out."""
    return replace(plan, role=DROPPED, reason=reason)


def decide(found: Evidence, bad_fraction: float, warnings: list[Warned]) -> Plan:
    """What a column is, from all its cells; what a person would want to know goes to `warnings`."""
    bad_fraction = min(max(bad_fraction, _FEW_BAD), _MANY_BAD)
    number = _as_number(found, bad_fraction, warnings)
    date = None if number and not DATE_NAME.search(found.name) else _as_date(found, bad_fraction, warnings)
    plan = date or number or as_category(found, bad_fraction, warnings)
    return _left_out(plan, found, warnings)


def _as_number(found: Evidence, bad_fraction: float, warnings: list[Warned]) -> Plan | None:
    if not found.numbers:
        return None
    comma_decimal = _comma_decimal(found)
    wrong = ("comma_groups",) if comma_decimal else ("comma_decimal", "point_groups")
    fitting = found.numbers - sum(found.styles[style] for style in wrong)
    words = _missing_words(found, fitting)
    present = found.present - sum(found.junk[word] for word in words)
    if fitting < (1 - bad_fraction) * present - 1e-9:
        return None
    if _is_code(found):
        warnings.append(
            Warned(
                "COLUMN_CODES",
                f"{found.name!r} holds codes (leading zeros, or more digits than a number can keep);"
                " it is read as a category.",
                found.name,
            )
        )
        return None
    outside = found.not_finite + found.out_of_range
    lenient = outside > bad_fraction * found.rows
    _warn_number(found, words, lenient, comma_decimal, warnings)
    unit = min(found.units, key=lambda unit: (-found.units[unit], unit), default="")
    return Plan(
        found.name,
        NUMBER,
        comma_decimal=comma_decimal,
        unit=unit,
        missing_words=frozenset(words),
        out_of_range_is_missing=lenient,
    )


def _comma_decimal(found: Evidence) -> bool:
    comma = found.styles["comma_decimal"] + found.styles["point_groups"]
    return comma > found.styles["comma_groups"] and comma > 0


def _missing_words(found: Evidence, fitting: int) -> list[str]:
    """Words in a column of numbers that stand for "no value": few different ones, each seen several times."""
    repeated = [word for word, count in found.junk.items() if count >= 3]
    if not repeated or len(repeated) > 3 or len(repeated) < 0.5 * len(found.junk) or fitting < 0.8 * found.present:
        return []
    return repeated


def _is_code(found: Evidence) -> bool:
    fixed = found.shortest == found.longest > 1
    zeros = found.leading_zeros > (0 if fixed else 0.01 * found.numbers)
    return zeros or found.big > 0.05 * found.numbers


def _warn_number(found: Evidence, words: list[str], lenient: bool, comma: bool, warnings: list[Warned]) -> None:
    name = found.name
    if words:
        shown = ", ".join(repr(word[:40]) for word in sorted(words))
        warnings.append(Warned("VALUE_READ_AS_MISSING", f"{shown} in the numbers of {name!r} counts as missing.", name))
    if lenient:
        code = "VALUE_NOT_FINITE" if found.not_finite >= found.out_of_range else "VALUE_OUT_OF_RANGE"
        count = found.not_finite + found.out_of_range
        warnings.append(
            Warned(code, f"{count:,} values of {name!r} are infinite or too large; they are missing.", name)
        )
    if found.units:
        units = ", ".join(sorted(found.units))
        warnings.append(Warned("COLUMN_UNIT", f"{name!r} is read as numbers without its unit ({units}).", name))
    if comma:
        warnings.append(Warned("COLUMN_DECIMAL_COMMA", f"The commas in {name!r} are decimal commas.", name))


def _as_date(found: Evidence, bad_fraction: float, warnings: list[Warned]) -> Plan | None:
    if not found.shaped or found.shaped < (1 - bad_fraction) * found.present:
        return None
    order, valid = max(found.orders.items(), key=lambda item: (item[1], item[0]), default=("", 0))
    if valid < (1 - bad_fraction) * found.present:
        impossible = found.shaped - valid
        warnings.append(
            Warned(
                "VALUE_TYPE",
                f"{found.name!r} looks like dates, but {impossible:,} of {found.present:,} are"
                " impossible; it is read as a category.",
                found.name,
                "Repair the dates and upload again.",
            )
        )
        return None
    rivals = [found.orders[other] for other in (dates.DMY, dates.MDY)]
    if order in (dates.DMY, dates.MDY) and found.orders[dates.YMD] < valid:
        code = "DATE_ORDER_AMBIGUOUS" if rivals[0] == rivals[1] else "DATE_ORDER"
        order = dates.DMY if rivals[0] == rivals[1] else order
        warnings.append(
            Warned(
                code,
                f"The dates in {found.name!r} are read as {order}.",
                found.name,
                "Write dates as 2024-12-31 to leave no doubt.",
            )
        )
    return Plan(found.name, DATETIME, order=order)


def as_category(found: Evidence, bad_fraction: float, warnings: list[Warned]) -> Plan:
    """The column as a category, with what a person would want to know of it."""
    share = found.numbers / found.present if found.present else 0.0
    if found.words and 0.2 <= share < 1 - bad_fraction:
        warnings.append(
            Warned(
                "COLUMN_MIXED",
                f"{found.name!r} mixes {found.numbers:,} numbers with {found.words:,} words; it is read as a category.",
                found.name,
            )
        )
    codes = sum(bool(_CODE.fullmatch(text)) for text in found.examples)
    na_is_value = found.perhaps["NA"] > 0 and bool(found.examples) and codes > 0.8 * len(found.examples)
    kept = {word: count for word, count in found.perhaps.items() if word.casefold() != "na" or na_is_value}
    lost = found.perhaps.total() - sum(kept.values())
    if kept:
        shown = ", ".join(f"{word!r} ({count:,} times)" for word, count in sorted(kept.items()))
        warnings.append(
            Warned(
                "VALUE_NULL_WORD",
                f"{shown} in {found.name!r} is kept as a value, not read as missing.",
                found.name,
                "Leave the cell empty where the value is missing.",
            )
        )
    if lost:
        warnings.append(
            Warned("VALUE_READ_AS_MISSING", f"'NA' in {found.name!r} ({lost:,} times) is read as missing.", found.name)
        )
    return Plan(found.name, CATEGORY, na_is_value=na_is_value)


def _left_out(plan: Plan, found: Evidence, warnings: list[Warned]) -> Plan:
    """The plan, or the column dropped with the reason and a warning."""
    filled = found.rows - found.missing - (0 if plan.kind == CATEGORY else found.perhaps.total())
    distinct = found.distinct + (len(found.perhaps) if plan.kind == CATEGORY else 0)
    reason, message = None, ""
    if found.present == 0:
        reason, message, code = "empty", "has no value at all", "COLUMN_ALL_NULL"
    elif distinct == 1 and filled == found.rows:
        reason, message, code = "constant", "has the same value in every row", "COLUMN_CONSTANT"
    elif plan.kind == CATEGORY and _is_text(found):
        reason, message, code = "text", "holds free text, which is not learned from beside other columns", "COLUMN_TEXT"
    elif _is_identifier(plan, found):
        reason, message, code = (
            "identifier",
            "is an identifier: it names rows and does not describe them",
            "COLUMN_IDENTIFIER",
        )
    if reason is None:
        return plan
    remedy = f'Set [data] text = "{plan.name}" to learn from it alone.' if reason == "text" else ""
    warnings.append(Warned(code, f"{plan.name!r} {message}; it is left out.", plan.name, remedy))
    return dropped(plan, reason)


def _is_text(found: Evidence) -> bool:
    length, words = found.letters / found.present, found.spaces / found.present + 1
    return (length > 40 or words >= 5) and found.distinct > 0.3 * found.present and found.distinct > 20


def _is_identifier(plan: Plan, found: Evidence) -> bool:
    distinct, present = found.distinct, found.present
    unique = distinct >= (0.99 if distinct < Sketch.K else 0.95) * present
    if plan.kind == CATEGORY:
        mixed = found.words and 0.2 * present <= found.numbers <= 0.8 * present
        nearly = distinct >= 0.9 * present and distinct > 20
        return (nearly and not mixed) or distinct > limit("distinct_levels")
    if plan.kind != NUMBER or found.integers < found.numbers:
        return False
    if _SURELY_ID.search(plan.name) and distinct > max(100, 0.05 * present):
        return True
    consecutive = unique and found.greatest - found.least + 1 <= 1.01 * present
    return (unique and _ID_NAME.search(plan.name) is not None) or (consecutive and present >= 1_000)
