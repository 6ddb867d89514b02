"""The control plane in memory: a registry and buckets that are dictionaries, and a client that calls the app itself."""

from __future__ import annotations

import asyncio
import copy
import functools
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import ClientError
from fastapi import FastAPI

from tidemill.core.clock import now
from tidemill.core.errors import Conflict, NoChampion, NotFound, UnknownModel
from tidemill.core.keys import new_key
from tidemill.core.settings import Settings
from tidemill.serving.app import build

Item = dict[str, Any]
DATA, ARTIFACTS = "data-bucket", "artifacts-bucket"
LOCAL_PREFIX = "/_aws/execute-api/abc123"  # the local stack serves the API below a path


class MemoryScorings:
    """The methods of core.scorings.Scorings that the control plane uses."""

    def __init__(self) -> None:
        self.items: dict[str, list[Item]] = {}

    def of(self, model: str) -> list[Item]:
        return list(self.items.get(model, []))

    def get(self, model: str, scoring: str) -> Item:
        for item in self.of(model):
            if item["scoring"] == scoring:
                return item
        text = f"Model {model!r} has no scoring {scoring!r}."
        raise NotFound(text, code="UNKNOWN_SCORING", remedy="List the model's scorings.", model=model)


class MemoryTable:
    """The methods of core.table.Table that the control plane uses."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], Item] = {}

    def get(self, pk: str, sk: str) -> Item | None:
        item = self.items.get((pk, sk))
        return None if item is None else {name: value for name, value in item.items() if name not in ("pk", "sk")}

    def query(self, pk: str, prefix: str = "") -> list[Item]:
        return [
            {"pk": at, "sk": sk, **item}
            for (at, sk), item in sorted(self.items.items())
            if at == pk and sk.startswith(prefix)
        ]

    def put(self, item: Item) -> None:
        self.items[item["pk"], item["sk"]] = item

    def put_all(self, items: list[Item]) -> None:
        for item in items:
            self.put(item)


class MemoryRegistry:
    """The methods of core.registry.Registry that the control plane and the command use."""

    journal = None

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.rows: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, Item] = {}

    def add(self, model: str, **fields: Any) -> Item:
        return self.rows.setdefault(
            model, {"model": model, "runs": [], "versions": [], "alias": None, "moves": [], **fields}
        )

    def models(self) -> list[Item]:
        return [self.model(name) for name in sorted(self.rows)]

    def model(self, model: str) -> Item:
        if model not in self.rows:
            raise UnknownModel(f"There is no model {model!r}.", remedy="Upload data for it.", model=model)
        row = self.rows[model]
        last = row["runs"][0] if row["runs"] else None
        head = {"model": model, "task": row.get("task"), "target": row.get("target"), "head": len(row["versions"])}
        return {**head, "versions": len(row["versions"]), "champion": row["alias"], "last_run": last}

    def runs(self, model: str) -> list[Item]:
        return list(self.rows.get(model, {}).get("runs", []))

    def run(self, model: str, run: str) -> Item:
        for item in self.runs(model):
            if item["run"] == run:
                return item
        raise NotFound(f"Model {model!r} has no run {run!r}.", code="UNKNOWN_RUN", remedy="List the model's runs.")

    def versions(self, model: str) -> list[Item]:
        return list(self.rows.get(model, {}).get("versions", []))[::-1]

    def version(self, model: str, version: int) -> Item:
        for item in self.versions(model):
            if item["version"] == version:
                return item
        raise NotFound(f"Model {model!r} has no version {version}.", code="UNKNOWN_VERSION", remedy="List them.")

    def alias(self, model: str) -> Item | None:
        alias: Item | None = self.rows.get(model, {}).get("alias")
        return alias

    def promote(self, model: str, version: int, *, by: str, why: str, pin: bool = True) -> Item:
        target, seen = self.version(model, version), self.alias(model)
        alias = {"model": model, "version": version, "run": target["run"], "pinned": pin, "by": by, "why": why}
        alias |= {"at": now(), "previous": seen["version"] if seen else None, "moved": "champion"}
        return self._stands(model, alias)

    def _stands(self, model: str, alias: Item) -> Item:
        row = self.rows[model]
        row["alias"] = {**alias, "rev": len(row["moves"]) + 1}
        row["moves"].insert(0, row["alias"])
        return dict(row["alias"])

    def moves(self, model: str) -> list[Item]:
        return list(self.rows.get(model, {}).get("moves", []))

    def challenge(self, model: str, version: int, *, share: float, shadow: bool, by: str, why: str) -> Item:
        self.model(model)
        alias, target = self.alias(model), self.version(model, version)
        if alias is None:
            raise NoChampion(f"Model {model!r} has no champion to challenge.", remedy="Promote one.")
        made = {"version": version, "run": target["run"], "share": share, "shadow": shadow, "by": by, "why": why}
        return self._stands(model, {**alias, "moved": "challenger", "challenger": {**made, "live": True, "at": now()}})

    def stop_challenger(self, model: str, *, by: str, why: str) -> Item:
        self.model(model)
        alias = self.alias(model)
        if alias is None or "challenger" not in alias:
            raise Conflict(f"Model {model!r} has no challenger.", code="NO_CHALLENGER", remedy="Start one.")
        ended = {**alias["challenger"], "live": False, "by": by, "why": why, "at": now()}
        return self._stands(model, {**alias, "moved": "challenger", "challenger": ended})

    def rollback(self, model: str, *, by: str, why: str, leaving: int | None = None) -> Item:
        self.model(model)
        alias = self.alias(model)
        if not alias or alias["previous"] is None:
            raise Conflict(
                f"Model {model!r} has no earlier version.", code="NOTHING_TO_ROLL_BACK", remedy="Promote one."
            )
        return self.promote(model, alias["previous"], by=by, why=why)

    def key(self, digest: str) -> Item | None:
        return self.secrets.get(digest)

    def keys(self) -> list[Item]:
        return list(self.secrets.values())

    def put_key(self, digest: str, item: Item) -> None:
        self.secrets[digest] = item

    def revoke_key(self, key_id: str) -> Item:
        for item in self.secrets.values():
            if item["id"] == key_id:
                item["revoked"] = True
                return item
        raise NotFound(f"There is no key {key_id!r}.", code="UNKNOWN_KEY", remedy="List the keys.")


class Stream(io.BytesIO):
    """A body as boto3 gives it."""

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        return iter(lambda: self.read(size), b"")


class MemoryS3:
    """Objects in a dictionary; presigned forms are made by the real client, which needs no network for that."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, **put: Any) -> Item:
        if put.get("IfNoneMatch") == "*" and (put["Bucket"], put["Key"]) in self.objects:
            raise ClientError({"Error": {"Code": "PreconditionFailed", "Message": ""}}, "PutObject")
        body = put["Body"] if isinstance(put["Body"], bytes) else put["Body"].read()
        self.objects[put["Bucket"], put["Key"]] = body
        return {}

    def get_object(self, **get: Any) -> Item:
        try:
            return {"Body": Stream(self.objects[get["Bucket"], get["Key"]])}
        except KeyError:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject") from None

    def list_objects_v2(self, **asked: Any) -> Item:
        keys = sorted(key for bucket, key in self.objects if bucket == asked["Bucket"])
        found = [key for key in keys if key.startswith(asked["Prefix"])][: asked.get("MaxKeys", 1000)]
        sizes = {key: len(self.objects[asked["Bucket"], key]) for key in found}
        return {"Contents": [{"Key": key, "Size": sizes[key], "LastModified": datetime.now(UTC)} for key in found]}

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **asked: [getattr(self, operation)(**asked)])

    def generate_presigned_post(self, *args: Any, **more: Any) -> Any:
        return real_s3().generate_presigned_post(*args, **more)

    def generate_presigned_url(self, *args: Any, **more: Any) -> Any:
        return real_s3().generate_presigned_url(*args, **more)


@functools.cache
def real_s3() -> Any:
    """A real S3 client with keys that open nothing."""
    return boto3.client(
        "s3",
        region_name="eu-central-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="not-a-secret",
        endpoint_url="http://127.0.0.1:1",
        config=Config(s3={"addressing_style": "path"}),
    )


class MemoryLogs:
    """Log streams as lists of events."""

    def __init__(self) -> None:
        self.streams: dict[str, list[Item]] = {}

    def get_log_events(self, **get: Any) -> Item:
        if get["logStreamName"] not in self.streams:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": ""}}, "GetLogEvents")
        found = [event for event in self.streams[get["logStreamName"]] if event["timestamp"] >= get["startTime"]]
        return {"events": found[: get["limit"]]}


class InProcess(httpx.BaseTransport):
    """A transport that hands each request to an ASGI app in this process; `outside` answers other hosts."""

    def __init__(self, app: Any, outside: Any = None) -> None:
        self.inner = httpx.ASGITransport(app, raise_app_exceptions=True)
        self.outside = outside

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.outside is not None and request.url.host != "plane":
            answer: httpx.Response = self.outside(request)
            return answer
        return asyncio.run(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().removeprefix(LOCAL_PREFIX)
        url = request.url.copy_with(raw_path=path.encode())
        bare = httpx.Request(request.method, url, headers=request.headers, content=request.read())
        answer = await self.inner.handle_async_request(bare)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@dataclass
class Plane:
    """One control plane: its parts, its keys and the events its Predict function was given."""

    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    scorings: MemoryScorings = field(default_factory=MemoryScorings)
    s3: MemoryS3 = field(default_factory=MemoryS3)
    logs: MemoryLogs = field(default_factory=MemoryLogs)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    answer: Item = field(default_factory=dict)
    woken: list[Item] = field(default_factory=list)  # messages to Retrain
    batch: Any = None

    def __post_init__(self) -> None:
        self.keys = {role: self._key(role) for role in ("predict", "operate")}
        settings = Settings(data_bucket=DATA, artifacts_bucket=ARTIFACTS, table="table")
        clients = {"s3": self.s3, "logs": self.logs}
        self.app: FastAPI = build(
            self.registry,
            scored=self.scorings,
            **clients,
            settings=settings,
            door=self._door,
            wake=self.woken.append,
            batch=self.batch,
        )

    def _key(self, role: str) -> str:
        key = new_key(role, f"test {role}")
        self.registry.put_key(key.digest, key.item)
        return key.secret

    def _door(self, event: Mapping[str, Any]) -> Item:
        self.events.append(event)
        return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(self.answer)}

    def client(self, role: str | None = "operate") -> httpx.Client:
        headers = {"x-api-key": self.keys[role]} if role else {}
        return httpx.Client(base_url="http://plane", headers=headers, transport=InProcess(self.app))

    def artefact(self, key: str, value: Any) -> None:
        body = value if isinstance(value, str) else json.dumps(value)
        self.s3.put_object(Bucket=ARTIFACTS, Key=key, Body=body.encode())


CONTEXT = SimpleNamespace(aws_request_id="request-1", function_name="api", memory_limit_in_mb=512)


def _tested(name: str, p: float) -> Item:
    numbers = {"rows": 300, "statistic": 0.2, "p": p, "psi": 0.1, "missing": [0.0, 0.01], "missing_p": 0.5}
    told = {"new_levels": [], "new_rows": 0, "shape": {}, "drifted": p < 1e-3, "missing_drifted": False}
    return {"name": name, "kind": "number", "test": "Kolmogorov-Smirnov", **numbers, **told}


REPORT: Item = {
    **{"format": 1, "model": "income", "version": 2, "at": "2026-01-05T10:00:00.000Z", "time": "2026-01-05T100000000Z"},
    **{"since": "2026-01-04T10:00:00.000Z", "until": "2026-01-05T09:59:50.000Z", "drifted": ["hours"], "bound": 0.005},
    "words": "Changed beyond chance in 300 rows from 2026-01-04T10:00 to 2026-01-05T10:00 UTC: hours.",
    "columns": [_tested("age", 0.4), _tested("hours", 1e-9)],
    "scores": [_tested("score of >50K", 0.2)],
    "performance": {
        "measure": "accuracy",
        "then": {"value": 0.85, "low": 0.82, "high": 0.88, "rows": 450},
        **{"estimated": {"value": 0.81, "low": 0.77, "high": 0.85}, "real": None, "note": "Taken at their word."},
    },
    "quality": ["2 of 300 requests were refused: SCHEMA_MISMATCH (2)."],
}


def with_income(plane: Plane) -> Plane:
    """A plane that has a model `income` with two versions, the second in service, a rejected run and a scoring."""
    request = {"bucket": DATA, "key": "requests/income/u9/people.csv"}
    plane.scorings.items["income"] = [{"scoring": "s-one", "model": "income", "state": "RECEIVED", "request": request}]
    row = plane.registry.add("income", task="binary", target="income")
    for number, run in ((1, "r-one"), (2, "r-two")):
        row["runs"].insert(0, _run(run, number, f"u{number}"))
        row["versions"].append(_version(run, number))
        plane.artefact(f"bundles/income/{run}/metrics.json", METRICS)
        plane.artefact(f"bundles/income/{run}/card.html", f"<!doctype html><title>income {number}</title>")
        plane.artefact(f"bundles/income/{run}/card.json", {"model": "income", "version": number, "bad": float("nan")})
    plane.artefact("bundles/income/r-two/search.json", SEARCH)
    plane.artefact(
        "bundles/income/r-two/labels.json", {"task": "binary", "target": "income", "labels": ["<=50K", ">50K"]}
    )
    plane.artefact(f"reports/income/{REPORT['time']}.json", REPORT)
    plane.artefact(f"reports/income/{REPORT['time']}.html", "<!doctype html><title>report</title>")
    plane.registry.table.items["MODEL#income", f"REPORT#{REPORT['time']}"] = {**REPORT, "rows": 300}
    plane.registry.table.items["MODEL#income", "MONITOR"] = {"report": REPORT["time"]}
    row["runs"].insert(0, copy.deepcopy(REJECTED))
    plane.artefact("datasets/income/d-1/schema.json", SCHEMA)
    plane.registry.promote("income", 1, by="gate", why="first", pin=False)
    plane.registry.promote("income", 2, by="gate", why="better", pin=False)
    plane.logs.streams["job/r-two"] = [{"timestamp": 1000 + step, "message": f"epoch {step}"} for step in range(5)]
    plane.answer = {"model": "income", "version": 2, "predictions": [PREDICTION]}
    return plane


def _run(run: str, number: int, upload: str) -> Item:
    clock = f"2026-01-0{number}T10:00:"
    return {
        "run": run,
        "model": "income",
        "state": "READY",
        "order": f"{clock}00.000Z#0",
        "upload": {
            "bucket": DATA,
            "key": f"uploads/income/{upload}/adult.csv",
            "size_bytes": 1000,
            "time": f"{clock}00Z",
        },
        "dataset": "d-1",
        "log_stream": f"job/{run}",
        "version": number,
        "lease_until": 1,
        "epoch": 1,
        "holder": "job-1",
        "progress": {"stage": "register", "step": 10, "steps": 10, "message": "done", "at": f"{clock}19Z"},
        "times": {
            "received": f"{clock}01.000Z",
            "prepared": f"{clock}05.000Z",
            "submitted": f"{clock}06.000Z",
            "running": f"{clock}09.500Z",
            "ended": f"{clock}20.000Z",
        },
        "decision": {
            "promoted": True,
            "code": "PROMOTED",
            "message": "Better than version 1.",
            "at": f"{clock}22.000Z",
        },
    }


REJECTED: Item = {
    "run": "r-bad",
    "model": "income",
    "state": "REJECTED",
    "order": "2026-01-03",
    "upload": {"bucket": DATA, "key": "uploads/income/u3/bad.csv", "size_bytes": 10, "time": "2026-01-03T10:00:00Z"},
    "reason": {
        "code": "TOO_MANY_BAD_ROWS",
        "message": "40 of 100 rows cannot be read.",
        "remedy": "Correct the rows the report names.",
        "where": "s3://artifacts-bucket/rejections/income/r-bad.json",
    },
    "times": {"received": "2026-01-03T10:00:00Z", "ended": "2026-01-03T10:00:02Z"},
}


def _version(run: str, number: int) -> Item:
    primary = {"name": "log_loss", "value": 0.35, "low": 0.33, "high": 0.37, "baseline": 0.55}
    return {
        **{"version": number, "model": "income", "run": run, "dataset": "d-1", "fingerprint": f"f{number}"},
        **{"bundle": f"bundles/income/{run}/", "primary": primary, "created": f"2026-01-0{number}T10:00:20Z"},
        "predict_ms": 0.5,
    }


PREDICTION = {"label": "<=50K", "probabilities": {"<=50K": 0.9, ">50K": 0.1}}
METRICS: Item = {
    "task": "binary",
    "split": "test",
    "rows": 450,
    "primary": "log_loss",
    "metrics": {
        "log_loss": {
            "value": 0.35,
            "low": 0.33,
            "high": 0.37,
            "baseline": 0.55,
            "better": "lower",
            "label": "log loss",
        },
        "accuracy": {
            "value": 0.84,
            "low": 0.81,
            "high": 0.87,
            "baseline": 0.76,
            "better": "higher",
            "label": "accuracy",
        },
    },
    "warnings": [],
}
SEARCH: Item = {
    "format": 1,
    "winner": "tabm-1 and linear-1 together reach 0.31, tabm-1 alone 0.32.",
    "score": "validation log loss",
    "folds": 1,
    "trials": [
        {
            **{"id": "tabm-1", "family": "tabm", "settings": {"learning_rate": 0.002, "dropout": 0.1, "epochs": 24}},
            **{"rungs": [{"epochs": 8, "loss": 0.41}, {"epochs": 24, "loss": 0.32}], "loss": 0.32},
            **{"state": "blended", "share": 0.75},
            "curve": [{"epoch": at, "train_loss": 0.5 / at, "validation_loss": 0.3 + 0.4 / at} for at in range(1, 25)],
        },
        {
            **{"id": "linear-1", "family": "linear", "settings": {"learning_rate": 0.01, "epochs": 24}},
            **{"rungs": [{"epochs": 8, "loss": 0.4}], "loss": 0.36, "state": "blended", "share": 0.25, "curve": []},
        },
        {
            **{"id": "tabm-2", "family": "tabm", "settings": {"learning_rate": 0.03, "dropout": 0.0, "epochs": 24}},
            **{"rungs": [{"epochs": 8, "loss": 0.9}], "loss": None, "state": "stopped", "share": None},
            "curve": [{"epoch": 1, "train_loss": 2.0, "validation_loss": 1.9}],
        },
    ],
    "blend": [{"id": "tabm-1", "share": 0.75}, {"id": "linear-1", "share": 0.25}],
    "compilations": 2,
}
SCHEMA: Item = {
    "format": 1,
    "target": "income",
    "columns": [
        {"name": "age", "kind": "number", "role": "feature", "min": 17.0, "max": 90.0, "mean": 38.6},
        {"name": "workclass", "kind": "category", "role": "feature", "levels": ["Private", "State-gov"]},
        {"name": "hired", "kind": "datetime", "role": "feature"},
        {"name": "income", "kind": "category", "role": "target", "levels": ["<=50K", ">50K"]},
    ],
}
