"""The journal of the registry: what it says last is what the table says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tidemill.core.ledger import Ledger


class Journal:
    """A bucket that keeps what was written last, and may stand still before it does."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def write_json(self, key: str, value: Any) -> None:
        self.kept[key] = value


def test_a_writer_that_stood_still_between_table_and_journal_has_not_the_last_word() -> None:
    journal: Any = Journal()
    ledger = Ledger("table", journal, SimpleNamespace(Table=lambda name: None))
    ledger._journal_last(
        "runs/r.json", {"state": "RUNNING", "lease_until": 1}, lambda: {"state": "READY", "progress": {}}
    )
    assert journal.kept == {"registry/runs/r.json": {"state": "READY"}}
