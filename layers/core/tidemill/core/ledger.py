"""The registry as it is read: models, runs, versions and aliases of one table, and the journal beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidemill.core.errors import NotFound, UnknownModel
from tidemill.core.history import CHAMPION
from tidemill.core.storage import Storage
from tidemill.core.table import Item, Table, without_keys

NEW = "attribute_not_exists(pk)"
WRITERS = 50  # tries against other writers before giving up; each waits a little longer

PASSING = ("progress", "lease_until", "tries")  # of an item: what no journal needs


class Ledger:
    """What stands in the table. `table` is its name; `journal` the artefacts bucket (None: no journal)."""

    def __init__(self, table: str, journal: Storage | None = None, resource: Any = None) -> None:
        self.table = Table(table, resource)
        self.journal = journal

    def models(self) -> list[Item]:
        """Every model with its champion and its newest run, by name."""
        return [self.model(item["sk"]) for item in self.table.query("MODELS")]

    def model(self, model: str) -> Item:
        """One model: created, task, target, versions (count), champion (or None), last_run; raises UnknownModel."""
        meta = self.table.get(f"MODEL#{model}", "META")
        if meta is None:
            remedy = "Upload data for it, or look at the list of models."
            raise UnknownModel(f"There is no model {model!r}.", remedy=remedy, model=model)
        runs = self.runs(model)
        last = runs[0] if runs else None
        return {**meta, "versions": meta.get("head", 0), "champion": self.alias(model), "last_run": last}

    def runs(self, model: str) -> list[Item]:
        """A model's runs, the newest upload first."""
        runs = [without_keys(item) for item in self.table.query(f"MODEL#{model}", "RUN#")]
        return sorted(runs, key=lambda run: str(run["order"]), reverse=True)

    def run(self, model: str, run: str) -> Item:
        """One run; raises NotFound (UNKNOWN_RUN)."""
        item = self.table.get(f"MODEL#{model}", f"RUN#{run}")
        if item is None:
            text = f"Model {model!r} has no run {run!r}."
            raise NotFound(text, code="UNKNOWN_RUN", remedy="List the model's runs.", model=model)
        return item

    def versions(self, model: str) -> list[Item]:
        """A model's versions, the newest first."""
        return [without_keys(item) for item in self.table.query(f"MODEL#{model}", "VERSION#")[::-1]]

    def version(self, model: str, version: int) -> Item:
        """One version; raises NotFound (UNKNOWN_VERSION)."""
        item = self.table.get(f"MODEL#{model}", f"VERSION#{version:06d}")
        if item is None:
            text = f"Model {model!r} has no version {version}."
            raise NotFound(text, code="UNKNOWN_VERSION", remedy="List the model's versions.", model=model)
        return item

    def alias(self, model: str) -> Item | None:
        """What the alias `champion` points at, with the challenger beside it; or None."""
        return self.table.get(f"MODEL#{model}", f"ALIAS#{CHAMPION}")

    def moves(self, model: str) -> list[Item]:
        """Every move of the aliases, the newest first; core.history tells what each was."""
        return [without_keys(item) for item in self.table.query(f"MODEL#{model}", "MOVE#")[::-1]]

    def version_of(self, model: str, fingerprint: str) -> int | None:
        """The version made from this data, recipe and code, if there is one."""
        item = self.table.get(f"MODEL#{model}", f"FINGERPRINT#{fingerprint}")
        return None if item is None else int(item["version"])

    def _journal(self, name: str, value: Item) -> None:
        if self.journal is not None:
            self.journal.write_json(f"registry/{name}", value)

    def _journal_last(self, name: str, item: Item, read: Callable[[], Item]) -> None:
        """Journal an item, and again until it is what the table says.

        Otherwise a process that stood still between table and journal would have the last word there.
        """
        for _ in range(WRITERS if self.journal is not None else 0):
            kept = _lasting(item)
            self._journal(name, kept)
            item = read()
            if _lasting(item) == kept:
                return


def _lasting(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in PASSING}
