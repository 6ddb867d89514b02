"""The table of settings says what the specification does: every key, value, range and default, and a reason."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import pytest

from tidemill.core.errors import BadSpec
from tidemill.core.spec import Spec
from tidemill.training.card.settings import settings, told

DOCUMENT = Path(__file__).parent.parent / "layers" / "training" / "SETTINGS.md"
HINTS = {
    (section, key): hint for section, kind in get_type_hints(Spec).items() for key, hint in get_type_hints(kind).items()
}
PLAIN = {at: next((kind for kind in get_args(hint) if kind is not NoneType), hint) for at, hint in HINTS.items()}
RANGE = re.compile(r"(whole number|number), (\S+) to (\S+)")


class Row(NamedTuple):
    """A line of the tables."""

    section: str
    key: str
    value: str
    default: str
    why: str


def rows() -> Iterator[Row]:
    """Every line of every table."""
    section = ""
    for line in DOCUMENT.read_text().splitlines():
        if heading := re.match(r"## \[(\w+)\]", line):
            section = heading[1]
        elif line.startswith("| `"):
            key, *cells = (cell.strip() for cell in line.strip("|").split(" | "))
            yield Row(section, key.strip("`"), *cells)


ROWS = {(row.section, row.key): row for row in rows()}
RANGED = [at for at, kind in PLAIN.items() if kind in (int, float)]


def test_every_setting_stands_in_the_tables_once_in_the_order_of_the_specification() -> None:
    assert [(row.section, row.key) for row in rows()] == list(HINTS)


@pytest.mark.parametrize(("section", "key"), HINTS)
def test_a_default_is_that_of_the_specification(section: str, key: str) -> None:
    value = Spec().to_json()[section][key]
    said = told(section, value) if value is None else f"`{json.dumps(value)}`"
    assert ROWS[section, key].default == said


@pytest.mark.parametrize(("section", "key"), [at for at in HINTS if at not in RANGED])
def test_the_values_are_those_the_specification_takes(section: str, key: str) -> None:
    hint, value = HINTS[section, key], ROWS[section, key].value
    if get_origin(hint) is Literal:
        assert value == " ".join(f'`"{name}"`' for name in get_args(hint))
    else:
        assert value == {str: "text", bool: "`true` `false`"}.get(hint, "list of texts")


@pytest.mark.parametrize(("section", "key"), RANGED)
def test_a_range_ends_where_the_specification_ends_it(section: str, key: str) -> None:
    kind: Any = PLAIN[section, key]
    said = RANGE.fullmatch(ROWS[section, key].value)
    assert said and said[1] == ("whole number" if kind is int else "number")
    low, high = kind(said[2]), kind(said[3])
    below, above = (low - 1, high + 1) if kind is int else (math.nextafter(low, -1), math.nextafter(high, math.inf))
    for right in (low, high):
        assert getattr(getattr(Spec.from_json({section: {key: right}}), section), key) == right
    for wrong in (below, above):
        with pytest.raises(BadSpec):
            Spec.from_json({section: {key: wrong}})


@pytest.mark.parametrize(("section", "key"), HINTS)
def test_every_setting_has_a_reason_and_a_meaning_on_the_card(section: str, key: str) -> None:
    meanings = {item["key"]: item["meaning"] for item in settings(Spec())}
    assert len(ROWS[section, key].why) > 20
    assert meanings[f"{section}.{key}"]


def test_what_was_left_out_is_shown_as_searched_or_not_given_and_never_as_chosen() -> None:
    shown = {item["key"]: item for item in settings(Spec())}
    assert shown["train.learning_rate"]["value"] == shown["train.learning_rate"]["default"] == "searched"
    assert shown["decision.false_positive"]["value"] == "not given"
    assert not any(item["changed"] or item["value"] is None for item in shown.values())
    chosen = {item["key"]: item for item in settings(Spec.from_json({"train": {"learning_rate": 0.1}}))}
    assert [key for key, item in chosen.items() if item["changed"]] == ["train.learning_rate"]
    assert (chosen["train.learning_rate"]["value"], chosen["train.learning_rate"]["default"]) == (0.1, "searched")


def test_the_example_is_a_specification_that_changes_most_of_what_it_names() -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), flags=re.M | re.S)
    assert len(blocks) == 1
    spec = Spec.from_toml(blocks[0])
    changed = sum(spec.to_json()[section][key] != Spec().to_json()[section][key] for section, key in HINTS)
    assert changed == len(re.findall(r"^\w+ = ", blocks[0], flags=re.M))
    assert {field.name for field in dataclasses.fields(Spec)} >= set(re.findall(r"^\[(\w+)\]", blocks[0], flags=re.M))
