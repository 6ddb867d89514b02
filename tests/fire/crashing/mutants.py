"""The product with one guard taken out: each is a line of code that somebody could think is not needed."""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import pytest
from tests.fire.crashing import loop
from tests.fire.crashing.enumeration import Script
from tests.fire.crashing.mill import Orders

ONCE, DOUBLED, REVERSED = Orders(), Orders("doubled"), Orders("once", "reversed")
TWICE = Orders("once", "twice")


@dataclass(frozen=True)
class Mutant:
    """A guard: where it stands, what is there, what is there instead, and the runs that need it."""

    name: str
    where: str  # module:function or module:Class.method
    old: str
    new: str
    script: Script
    orders: Orders = ONCE
    kinds: tuple[str, ...] = ("before", "after", "repeat", "pause")


REGISTRY, ALIASES = "tidemill.core.registry:Registry", "tidemill.core.aliases:Aliases"
PROMOTION, JOB = "tidemill.serving.promotion", "tidemill.training.job"
MUTANTS = (
    Mutant("an upload received twice starts anew", f"{REGISTRY}.receive", "put_new(", "put(", loop.TWO, DOUBLED),
    Mutant(
        "any state may follow any",
        f"{REGISTRY}.advance",
        "f\"#state IN ({', '.join(prior)})\"",
        '":state = :state" + "".join(f" AND {name} = {name}" for name in prior)',
        loop.TWO,
        DOUBLED,
    ),
    Mutant(
        "a job takes a run that another holds",
        f"{REGISTRY}.lease",
        "OR lease_until < :now)",
        "OR lease_until > :one)",
        loop.TWO,
        TWICE,
        ("pause",),
    ),
    Mutant(
        "two versions of the same",
        "tidemill.core.registry:_registration",
        '{"Put": {"Item": by_fingerprint, "ConditionExpression": NEW}}',
        '{"Put": {"Item": by_fingerprint}}',
        loop.SAME,
        ONCE,
        ("pause",),
    ),
    Mutant(
        "the job asks nobody whether there is a version", f"{JOB}:_make", "existing is not None", "False", loop.SAME
    ),
    Mutant(
        "a refused registration counts as lost",
        f"{REGISTRY}._settled",
        'current["state"] == "READY"',
        "False",
        loop.TWO,
        ONCE,
        ("repeat",),
    ),
    Mutant(
        "a refused move counts as lost",
        f"{ALIASES}._write",
        "written is not None and",
        "False and",
        loop.PINNED,
        ONCE,
        ("repeat",),
    ),
    Mutant(
        "an older upload may be promoted",
        f"{PROMOTION}:_not_its_turn",
        'alias["order"] > run["order"]',
        "False",
        loop.TWO,
        REVERSED,
    ),
    Mutant("a pin is only a wish", f"{PROMOTION}:_not_its_turn", 'if alias["pinned"]:', "if False:", loop.PINNED),
    Mutant(
        "the manifest is believed",
        f"{PROMOTION}:_judged",
        "artifacts.read_folder(version",
        "artifacts.read_json(version",
        loop.TWO,
    ),
    Mutant(
        "files may come after their manifest",
        "tidemill.core.storage:Storage.write_folder",
        "[*named, manifest.NAME]",
        "[manifest.NAME, *named]",
        loop.TWO,
    ),
    Mutant("every epoch writes to one place", f"{JOB}:_prefix", "if epoch > 1", "if False", loop.TWO, ONCE, ("pause",)),
    Mutant(
        "the decision is told before it is made",
        f"{PROMOTION}:decide",
        "registry.decide(model, run_id, version, decision)",
        "None",
        loop.TWO,
    ),
    Mutant(
        "the journal has its last word whenever",
        "tidemill.core.ledger:Ledger._journal_last",
        "WRITERS if",
        "1 if",
        loop.TWO,
        ONCE,
        ("pause",),
    ),
    Mutant(
        "what was decided is not journalled again",
        f"{PROMOTION}:decide",
        'registry.journal_decision(model, run_id, int(run["version"]))',
        "None",
        loop.TWO,
        ONCE,
        ("before", "after"),
    ),
    Mutant(
        "a run that is ready is not told of", "tidemill.core.submit:submit", '"decision" not in run', "False", loop.SAME
    ),
    Mutant(
        "a data set that stands is told of once",
        "tidemill.core.ingest:ingest",
        'if run["state"] == "PREPARED":',
        "if False:",
        loop.TWO,
    ),
    Mutant(
        "a rejected file is not told of",
        "tidemill.core.ingest:ingest",
        'elif run["state"] == "REJECTED":',
        "elif False:",
        loop.TWO,
    ),
    Mutant(
        "a file that Retrain sent is sent again",
        "tidemill.core.retraining:_write_once",
        ', IfNoneMatch="*"',
        "",
        loop.AGAIN,
        DOUBLED,
        ("before", "after", "repeat", "pause"),
    ),
    Mutant(
        "a scoring takes whichever version serves",
        "tidemill.core.scorings:Scorings.receive",
        "put_new(",
        "put(",
        loop.PINNED,
        DOUBLED,
    ),
    Mutant(
        "a rollback said twice is two",
        f"{ALIASES}.rollback",
        'leaving is not None and alias["version"] != leaving',
        "False",
        loop.PINNED,
        ONCE,
        ("after",),
    ),
)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The product with this one guard taken out."""
    module_name, _, path = mutant.where.partition(":")
    owner: Any = importlib.import_module(module_name)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    really: FunctionType = owner.__dict__[name]
    source = textwrap.dedent(inspect.getsource(really))
    assert source.count(mutant.old) == 1, f"{mutant.where} has {mutant.old!r} {source.count(mutant.old)} times"
    made: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(mutant.old, mutant.new)
    exec(compile(code, f"<{mutant.name}>", "exec"), really.__globals__, made)  # noqa: S102 - our own source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, made[name])
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get(name) is really:
                patch.setattr(module, name, made[name])
        yield
