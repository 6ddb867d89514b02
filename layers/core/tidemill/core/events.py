"""What happened, told to whoever listens on the stack's event bus: past tense, the resource first."""

from __future__ import annotations

import json
from typing import Any, Literal

from tidemill.core import clients
from tidemill.core.errors import Unavailable

SOURCE = "tidemill"
Name = Literal[
    "DatasetReady",
    "DatasetRejected",
    "DatasetSuperseded",
    "VersionRegistered",
    "ModelChallenged",
    "ModelPromoted",
    "ModelRefused",
    "ModelRolledBack",
    "HealthBroken",
    "CanaryEnded",
    "RunFailed",
    "RunInterrupted",
    "DriftDetected",
    "ScoringFinished",
    "ScoringRejected",
    "ScoringFailed",
]


class Bus:
    """One event bus. `client` is a boto3 EventBridge client; one is made where none is given."""

    def __init__(self, name: str, client: Any = None) -> None:
        self.name = name
        self.client = client if client is not None else clients.client("events")

    def tell(self, name: Name, detail: dict[str, Any]) -> None:
        """Put one event; raises Unavailable when the bus did not take it, so that the caller's message comes back."""
        answer = self.client.put_events(
            Entries=[{"EventBusName": self.name, "Source": SOURCE, "DetailType": name, "Detail": json.dumps(detail)}]
        )
        if answer.get("FailedEntryCount"):
            raise Unavailable(f"The event bus {self.name} refused {name}: {answer['Entries'][0]}", remedy="Try again.")
