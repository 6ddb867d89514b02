"""Where this deployment keeps its things: read once from the environment that template.yaml sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tidemill.core.errors import TidemillError


class MissingSetting(TidemillError):
    """The process runs outside its template."""

    code, status, title = "MISSING_SETTING", 500, "A setting is missing"


@dataclass(frozen=True)
class Settings:
    """The names of buckets, table, bus, jobs, topic and clocks; empty where a function has no right to one."""

    data_bucket: str = ""
    artifacts_bucket: str = ""
    table: str = ""
    bus: str = ""
    queue_url: str = ""
    job_queue: str = ""
    job_definition: str = ""
    topic: str = ""
    schedule_group: str = ""
    scheduler_role: str = ""  # ARNs, as EventBridge Scheduler asks for them
    schedule_dead_letters: str = ""
    monitor_queue: str = ""
    retrain_queue: str = ""
    retrain_queue_url: str = ""
    on_demand_queue: str = ""
    nodes: str = ""  # the name of the queue and of the definition of jobs on several machines
    preprocess_queue_url: str = ""
    train_queue_url: str = ""
    promote_queue_url: str = ""
    score_queue_url: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the TIDEMILL_* variables; raises MissingSetting when the two that everyone needs are not there."""
        for name in ("TIDEMILL_ARTIFACTS_BUCKET", "TIDEMILL_TABLE"):
            if not environment.get(name):
                raise MissingSetting(f"{name} is not set.", remedy="template.yaml sets it for functions and jobs.")
        return cls(
            data_bucket=environment.get("TIDEMILL_DATA_BUCKET", ""),
            artifacts_bucket=environment["TIDEMILL_ARTIFACTS_BUCKET"],
            table=environment["TIDEMILL_TABLE"],
            bus=environment.get("TIDEMILL_BUS", ""),
            queue_url=environment.get("TIDEMILL_QUEUE_URL", ""),
            job_queue=environment.get("TIDEMILL_JOB_QUEUE", ""),
            job_definition=environment.get("TIDEMILL_JOB_DEFINITION", ""),
            topic=environment.get("TIDEMILL_TOPIC", ""),
            schedule_group=environment.get("TIDEMILL_SCHEDULE_GROUP", ""),
            scheduler_role=environment.get("TIDEMILL_SCHEDULER_ROLE_ARN", ""),
            schedule_dead_letters=environment.get("TIDEMILL_SCHEDULE_DEAD_LETTERS_ARN", ""),
            monitor_queue=environment.get("TIDEMILL_MONITOR_QUEUE_ARN", ""),
            retrain_queue=environment.get("TIDEMILL_RETRAIN_QUEUE_ARN", ""),
            retrain_queue_url=environment.get("TIDEMILL_RETRAIN_QUEUE_URL", ""),
            on_demand_queue=environment.get("TIDEMILL_ON_DEMAND_QUEUE", ""),
            nodes=environment.get("TIDEMILL_NODES", ""),
            preprocess_queue_url=environment.get("TIDEMILL_PREPROCESS_QUEUE_URL", ""),
            train_queue_url=environment.get("TIDEMILL_TRAIN_QUEUE_URL", ""),
            promote_queue_url=environment.get("TIDEMILL_PROMOTE_QUEUE_URL", ""),
            score_queue_url=environment.get("TIDEMILL_SCORE_QUEUE_URL", ""),
        )
