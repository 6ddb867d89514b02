"""The worked examples: their specifications on made-up tables of the same columns, and the commands that they name."""

from __future__ import annotations

import io
import json
import pickle
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import pytest
from tests.examples import fetch, standins

from tidemill.cli.main import main
from tidemill.core.features import Program
from tidemill.core.prepare import prepare, read_schema
from tidemill.core.spec import Spec
from tidemill.training.fit import fit_bundle

HERE = Path(__file__).parent
TABLES: dict[str, Callable[[Path], Path]] = {"marketing": standins.charity, "recruiting": standins.resume}


@dataclass(frozen=True)
class Made:
    """An example taken through preparation and training."""

    spec: Spec
    schema: dict[str, Any]
    program: Program
    card: dict[str, Any]

    @property
    def roles(self) -> dict[str, str]:
        """What became of every column."""
        return {column["name"]: column["role"] for column in self.schema["columns"]}


def spec_of(name: str) -> Spec:
    return Spec.from_toml((HERE / name / "tidemill.toml").read_text())


@pytest.fixture(scope="module", params=TABLES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One of the two, with a search as small as one can be."""
    folder, spec = tmp_path_factory.mktemp(request.param), spec_of(request.param)
    table = TABLES[request.param](folder / "table.csv")
    prepare(table, table.name, spec, folder / "dataset", model=request.param)
    quick = replace(
        spec,
        train=replace(spec.train, family="linear", epochs=3),
        search=replace(spec.search, configurations=2, folds=1),
    )
    fit_bundle(folder / "dataset", quick, folder / "bundle")
    program = Program.from_json(json.loads((folder / "bundle/features.json").read_text()))
    card = json.loads((folder / "bundle/card.json").read_text())
    return Made(spec, read_schema(folder / "dataset"), program, card)


def test_the_card_tells_what_following_the_costs_was_worth(made: Made) -> None:
    told, costs = made.card["outputs"]["measured"]["decision"], made.spec.decision
    assert told["threshold"] == pytest.approx(costs.false_positive / (costs.false_positive + costs.false_negative))
    assert told["saving"]["low"] <= told["saving"]["value"] <= told["saving"]["high"]
    assert len(told["curve"]["cost"]) == len(told["curve"]["threshold"])


def test_the_card_tells_how_much_every_column_matters(made: Made) -> None:
    assert {item["column"] for item in made.card["importance"]} == set(made.program.columns)


def test_the_card_shows_what_the_columns_that_matter_most_do(made: Made) -> None:
    shown = [item["column"] for item in made.card["dependence"]]
    order = [item["column"] for item in made.card["importance"]]
    assert shown and shown == [column for column in order if column in shown]
    assert all(len(item["points"]) >= 2 for item in made.card["dependence"])


def test_no_column_that_is_named_in_drop_is_looked_at(made: Made) -> None:
    assert made.spec.data.drop
    for name in (*made.spec.data.drop, *made.spec.data.id):
        assert made.roles[name] != "feature"
        assert name not in made.program.columns


def test_groups_are_scored_although_the_model_does_not_see_them(made: Made) -> None:
    assert [part["column"] for part in made.card["groups"]] == list(made.spec.data.groups)
    for part in made.card["groups"]:
        assert part["threshold"] == made.card["outputs"]["rules"]["decision"]["threshold"]
        assert sum(group["rows"] for group in part["groups"]) == made.card["split"]["rows"]
        assert any(group["metrics"]["roc_auc"]["low"] is not None for group in part["groups"] if group["metrics"])


def test_the_audit_hides_from_the_model_what_it_scores_by_group() -> None:
    data = spec_of("recruiting").data
    assert set(data.groups) and set(data.groups) < set(data.drop)


def lines_of(name: str) -> list[str]:
    """The commands of an example: every line of every bash block."""
    blocks = re.findall(r"^```bash\n(.*?)^```", (HERE / name / "README.md").read_text(), flags=re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A line of `tidemill` as click reads it, without running it: the command and its parameters."""
    command, path = main, []
    while isinstance(command, click.Group):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    return " ".join(path), command.make_context(path[-1], words).params


@pytest.mark.parametrize("name", TABLES)
def test_the_commands_of_an_example_exist_and_take_what_they_are_given(name: str, root: Path) -> None:
    used = []
    for line in lines_of(name):
        tool, *words = shlex.split(line)
        if tool == "make":
            assert re.search(rf"^{words[0]}:", (root / "Makefile").read_text(), flags=re.M), line
            continue
        assert tool == "tidemill", line
        command, given = parsed(words)
        used.append(command)
        if command == "push":
            assert (root / given["spec"]) == HERE / name / "tidemill.toml"
            assert given["file"].stem in fetch.TABLES
    assert used[:2] == ["up", "push"] and "card" in used and {"predict", "explain"} & set(used)


def test_the_row_of_an_example_is_one_that_its_model_takes(made: Made) -> None:
    name = "recruiting" if made.spec.data.groups else "marketing"
    rows = [given["row"] for line in lines_of(name) if (given := _given(line)).get("row")]
    assert rows
    for row in rows:
        assert set(json.loads(row)) == set(made.program.columns)
        assert made.program.x_of_rows([json.loads(row)]).shape == (1, len(made.program.names))


def _given(line: str) -> dict[str, Any]:
    tool, *words = shlex.split(line)
    return parsed(words)[1] if tool == "tidemill" else {}


class Shouts:
    """Runs a function of its file's choice when it is read."""

    def __reduce__(self) -> Any:
        return (print, ("read",))


def test_a_table_that_names_anything_but_a_table_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        fetch.Reader(io.BytesIO(pickle.dumps({"frame": Shouts()}))).load()
    assert capsys.readouterr().out == ""


def test_what_is_written_can_be_read_again_and_nothing_stays_nothing(tmp_path: Path) -> None:
    columns = {"rownames": [1, 2], "a": [0.25, float("nan")], "b": ["x, y", None]}
    assert fetch.write(columns, tmp_path / "t.csv") == 2
    assert (tmp_path / "t.csv").read_text() == 'a,b\n0.25,"x, y"\n,\n'
