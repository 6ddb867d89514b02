"""tidemill.toml: what is not right is refused with what would be, and what is right survives being written down."""

from __future__ import annotations

import dataclasses
import json
import math
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BadSpec
from tidemill.core.ingest import fingerprint
from tidemill.core.spec import Spec

SECTIONS = {item.name: get_type_hints(get_type_hints(Spec)[item.name]) for item in dataclasses.fields(Spec)}
HINTS = {(section, key): hint for section, hints in SECTIONS.items() for key, hint in hints.items()}
CHOICES = {at: get_args(hint) for at, hint in HINTS.items() if get_origin(hint) is Literal}
OPTIONAL = [at for at, hint in HINTS.items() if isinstance(hint, UnionType)]
PLAIN = {at: next(iter({*get_args(hint)} - {NoneType}), hint) for at, hint in HINTS.items() if at not in CHOICES}
NUMBERS = [at for at, kind in PLAIN.items() if kind in (int, float)]
FLOATS = [at for at, kind in PLAIN.items() if kind is float]
WRONG = {
    ("train", "family"): "forest",
    ("train", "optimizer"): "rmsprop",
    ("train", "schedule"): "linear",
    ("train", "loss"): "hinge",
    ("train", "class_weights"): "rare",
}


def refused(section: str, key: str, value: Any) -> BadSpec:
    """The error that a value meets."""
    with pytest.raises(BadSpec) as caught:
        Spec.from_json({section: {key: value}})
    return caught.value


@pytest.mark.parametrize(("section", "key"), WRONG)
def test_an_unknown_name_is_refused_with_those_that_are_known(section: str, key: str) -> None:
    error = refused(section, key, WRONG[section, key])
    assert f"[{section}] {key}" in error.message
    assert repr(WRONG[section, key]) in error.message
    assert all(repr(right) in error.remedy for right in CHOICES[section, key])


@pytest.mark.parametrize(("section", "key"), CHOICES)
@pytest.mark.parametrize("wrong", ["", "Auto", 1, True, None, ["auto"], {"auto": 1}])
def test_a_choice_is_one_of_its_names_and_nothing_else(section: str, key: str, wrong: Any) -> None:
    error = refused(section, key, wrong)
    assert repr(wrong) in error.message
    assert all(repr(right) in error.remedy for right in CHOICES[section, key])
    for right in CHOICES[section, key]:
        assert getattr(getattr(Spec.from_json({section: {key: right}}), section), key) == right


@pytest.mark.parametrize(("section", "key"), NUMBERS)
def test_every_number_has_a_range_and_is_held_to_it(section: str, key: str) -> None:
    kind = PLAIN[section, key]
    for wrong in (kind(-1), kind(10**13)):
        error = refused(section, key, wrong)
        assert f"[{section}] {key} is {wrong}" in error.message
        assert "between" in error.remedy


@pytest.mark.parametrize(("section", "key"), FLOATS)
@pytest.mark.parametrize("written", ["inf", "-inf", "nan", "1e999"])
def test_infinite_numbers_and_not_a_number_are_refused(section: str, key: str, written: str) -> None:
    with pytest.raises(BadSpec, match=rf"\[{section}\] {key} is -?(inf|nan)") as caught:
        Spec.from_toml(f"[{section}]\n{key} = {written}")
    assert caught.value.remedy


@pytest.mark.parametrize(("section", "key"), NUMBERS)
@pytest.mark.parametrize("wrong", [True, "3", [1], "", {"a": 1}])
def test_a_number_is_a_number(section: str, key: str, wrong: Any) -> None:
    assert PLAIN[section, key].__name__ in refused(section, key, wrong).remedy


@pytest.mark.parametrize(("section", "key"), [at for at in NUMBERS if PLAIN[at] is int])
def test_counts_are_whole(section: str, key: str) -> None:
    assert "int" in refused(section, key, 1.5).remedy


def test_whole_numbers_are_right_where_fractions_are() -> None:
    spec = Spec.from_toml("[train]\nlearning_rate = 1\n[decision]\nfalse_positive = 5")
    assert (spec.train.learning_rate, spec.decision.false_positive) == (1.0, 5.0)
    assert isinstance(spec.train.learning_rate, float)


@pytest.mark.parametrize(("section", "key"), OPTIONAL)
def test_what_is_left_out_stays_left_out_and_what_is_given_stays_given(section: str, key: str) -> None:
    assert getattr(getattr(Spec(), section), key) is None
    given = Spec.from_json({section: {key: PLAIN[section, key](1) if key != "dropout" else 0.5}})
    for spec in (Spec(), Spec.from_json({section: {key: None}}), given):
        assert Spec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert given != Spec()


@pytest.mark.parametrize(("section", "key"), [at for at in NUMBERS if at not in OPTIONAL])
def test_nothing_else_may_be_none(section: str, key: str) -> None:
    assert PLAIN[section, key].__name__ in refused(section, key, None).remedy


values = {
    ("train", "learning_rate"): st.none() | st.floats(1e-6, 1),
    ("train", "l1"): st.none() | st.floats(0, 1),
    ("train", "width"): st.none() | st.integers(1, 512),
    ("train", "momentum"): st.floats(0, 0.99),
    ("split", "seed"): st.integers(0, 1000),
    ("search", "blend"): st.booleans(),
    ("decision", "false_negative"): st.none() | st.floats(0, 1e6),
    ("decision", "positive"): st.text(max_size=9),
    ("data", "drop"): st.lists(st.text(max_size=5), max_size=3),
    **{at: st.sampled_from(names) for at, names in CHOICES.items()},
}


@given(st.fixed_dictionaries({}, optional=values))
def test_a_specification_survives_json(chosen: dict[tuple[str, str], Any]) -> None:
    given: dict[str, dict[str, Any]] = {}
    for (section, key), value in chosen.items():
        given.setdefault(section, {})[key] = value
    spec = Spec.from_json(given)
    again = Spec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))
    assert again == spec
    assert hash(again) == hash(spec)
    for section, body in given.items():
        for key, value in body.items():
            kept = spec.to_json()[section][key]
            assert kept == value or math.isclose(kept, value)


@pytest.mark.parametrize("name", ["../other", "Lite0", "a/b", "-a", "a" * 64, "a b"])
def test_a_backbone_has_a_name_that_can_be_a_folder(name: str) -> None:
    error = refused("train", "backbone", name)
    assert "[train] backbone" in error.message
    assert "lower-case" in error.remedy
    assert Spec.from_json({"train": {"backbone": "lite-0"}}).train.backbone == "lite-0"


RECIPES = [
    {"train": {"family": "cnn"}},
    {"train": {"backbone": "lite0"}},
    {"augment": {"flip": 0.1}},
    {"augment": {"flip": 0.0}},
    {"search": {"folds": 2}},
    {"decision": {"positive": "yes"}},
]


def test_every_recipe_makes_a_version_of_its_own_and_who_serves_it_does_not() -> None:
    found = {fingerprint("d-1", Spec.from_json(recipe)) for recipe in ({}, *RECIPES)}
    assert len(found) == 1 + len(RECIPES)
    assert fingerprint("d-1", Spec.from_json({"promote": {"auto": False}})) == fingerprint("d-1", Spec())
    assert fingerprint("d-1", Spec.from_json({"job": {"nodes": 4}})) == fingerprint("d-1", Spec())
    assert fingerprint("d-2", Spec()) not in found


def test_unknown_keys_and_sections_are_refused_with_the_known_ones() -> None:
    for section, keys in SECTIONS.items():
        remedy = refused(section, "lerning_rate", 1).remedy
        assert all(key in remedy for key in keys)
    with pytest.raises(BadSpec, match=r"\[trian\]") as caught:
        Spec.from_toml("[trian]")
    assert all(section in caught.value.remedy for section in SECTIONS)


@pytest.mark.parametrize("text", ["[train", "train = 3", "[train]\nepochs = ", "[train]\nepochs = 1\nepochs = 2", "\0"])
def test_what_is_not_a_table_of_tables_is_refused(text: str) -> None:
    with pytest.raises(BadSpec) as caught:
        Spec.from_toml(text)
    assert caught.value.remedy


def test_an_empty_file_is_the_defaults() -> None:
    assert Spec.from_toml("") == Spec.from_json({}) == Spec()
    Spec.from_json(Spec().to_json())


@pytest.mark.parametrize(
    "text",
    [
        "[train]\nlearning_rate = 1" + "0" * 400,
        "[train]\nepochs = 1" + "0" * 5000,
        "[train]\nfamily = " + "[" * 3000,
        "[split]\nvalidation = 0.5\ntest = 0.5",
    ],
    ids=["a float of 400 digits", "an integer of 5000 digits", "nesting", "nothing left to train on"],
)
def test_hostile_or_hopeless_texts_are_bad_specifications(text: str) -> None:
    with pytest.raises(BadSpec):
        Spec.from_toml(text)
