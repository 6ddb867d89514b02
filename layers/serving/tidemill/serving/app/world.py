"""What the control plane talks to. Anything with these methods will do, so tests need no cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tidemill.core.storage import Storage

Item = dict[str, Any]
Door = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Registry(Protocol):
    """The part of core.registry.Registry that the API uses."""

    table: Any  # a core.table.Table, for what has a module of its own
    journal: Any

    def models(self) -> list[Item]: ...
    def model(self, model: str) -> Item: ...
    def runs(self, model: str) -> list[Item]: ...
    def run(self, model: str, run: str) -> Item: ...
    def versions(self, model: str) -> list[Item]: ...
    def version(self, model: str, version: int) -> Item: ...
    def alias(self, model: str) -> Item | None: ...
    def promote(self, model: str, version: int, *, by: str, why: str, pin: bool = True) -> Item: ...
    def rollback(self, model: str, *, by: str, why: str, leaving: int | None = None) -> Item: ...
    def moves(self, model: str) -> list[Item]: ...
    def challenge(self, model: str, version: int, *, share: float, shadow: bool, by: str, why: str) -> Item: ...
    def stop_challenger(self, model: str, *, by: str, why: str) -> Item: ...
    def key(self, digest: str) -> Item | None: ...


class Scorings(Protocol):
    """The part of core.scorings.Scorings that the API uses."""

    def of(self, model: str) -> list[Item]: ...
    def get(self, model: str, scoring: str) -> Item: ...


@dataclass(frozen=True)
class World:
    """The clients and names one app works with."""

    registry: Registry
    data: Storage  # the bucket that uploads go to
    artifacts: Storage  # the bucket of bundles and datasets
    logs: Any  # a boto3 CloudWatch Logs client
    door: Door  # the Predict function's own code
    scorings: Scorings
    wake: Callable[[Item], None]  # sends one message to Retrain
    batch: Any = None  # a boto3 Batch client; None: nothing can be said of why a job waits
