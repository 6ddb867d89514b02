"""What may be kept of requests to a version, when data and recipe come again with another [monitor]."""

from __future__ import annotations

from typing import Any

from tidemill.core.registry import Item, Registry


def settle(registry: Registry, model: str, version: int, monitor: Item | None) -> None:
    """Give an existing version, and the alias where it stands there, the settings of its newest upload.

    They are no part of what makes a version, so that a column marked private needs no training to become private.
    """
    if monitor is None:
        return
    pk, values = f"MODEL#{model}", dict[str, Any]({":monitor": monitor})
    set_it = "SET monitor = :monitor"
    changed = registry.table.update(pk, f"VERSION#{version:06d}", set_it, values, condition="attribute_exists(pk)")
    for place in ((), ("challenger",), ("watch", "instead")):  # wherever the version can answer from
        names = {f"#{at}": name for at, name in enumerate(place)}  # `instead` is a word of DynamoDB's own
        within = "".join(f"{name}." for name in names)
        registry.table.update(
            pk,
            "ALIAS#champion",
            f"SET {within}monitor = :monitor",
            {**values, ":version": version},
            condition=f"{within}version = :version",
            **({"names": names} if names else {}),
        )
    if changed is not None:
        registry._journal_version(changed)
    _journal_alias(registry, model, version)


def _journal_alias(registry: Registry, model: str, version: int) -> None:
    alias = registry.alias(model)
    if alias is not None and registry.journal is not None:
        registry.journal.write_json(f"registry/models/{model}/aliases/{alias['rev']:06d}.json", alias)
