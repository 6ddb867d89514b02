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
    at: str = ""  # the operation at whose calls it shows; empty: any


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
    Mutant(
        "every epoch writes to one place",
        f"{JOB}:_prefix",
        "if epoch > 1",
        "if False",
        loop.TWO,
        ONCE,
        ("pause",),
        at="PutObject",
    ),
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
        at="PutObject",
    ),
    Mutant(
        "what was decided is not journalled again",
        f"{PROMOTION}:decide",
        "registry.keep_decision(run)",
        "None",
        loop.TWO,
        ONCE,
        ("before", "after"),
        at="UpdateItem",
    ),
    Mutant(
        "an overwritten file is read as the newer one",
        "tidemill.core.ingest:_fetch",
        'if upload.etag and read["etag"] != upload.etag:',
        "if False:",
        loop.GONE,
    ),
    Mutant(
        "a rejected file is not told of",
        "tidemill.core.ingest:ingest",
        'elif run["state"] in TOLD:',
        "elif False:",
        loop.TWO,
    ),
    Mutant(
        "what was decided is not told again",
        f"{PROMOTION}:decide",
        "registry.keep_decision(run)",
        "return run",
        loop.TWO,
        ONCE,
        ("before", "after"),
        at="UpdateItem",
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
