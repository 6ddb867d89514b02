"""Local AWS Batch: the API that boto3's batch client speaks, on the local stack's own port.

Requests come here when they are signed for the service `batch`. Signature and policy are checked by MiniStack's own
evaluator, with the resources AWS checks, so a role that may not submit on AWS may not submit here.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any
from urllib.parse import parse_qs

from botocore.exceptions import BotoCoreError, ClientError
from ministack.core.iam_evaluator import (
    AuthError,
    enforce,
    find_iam_access_key_account,
    pin_request_caller,
    pin_request_origin,
    pin_signed_body,
    pin_signed_request,
)
from ministack.core.responses import set_request_account_id, set_request_region
from ministack.core.router import extract_access_key_id

from tidemill.local.clients import root_client
from tidemill.local.definitions import Catalogue, Definition, load_catalogue
from tidemill.local.guard import JOB_PATH, Receive, Scope, Send, joined_headers
from tidemill.local.jobs import ENDED, Job, Table, new_job, shown
from tidemill.local.outbox import Outbox
from tidemill.local.runner import Runner
from tidemill.local.state import REGION, Folder, Secrets

BODY_BYTES = 1 << 20
SESSION_S = 3600
LEAST_TIMEOUT_S = 60
PAGE = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_FOREIGN = ("arrayProperties", "dependsOn", "eksPropertiesOverride", "ecsPropertiesOverride")

log = logging.getLogger("tidemill.batch")
Answer = tuple[int, dict[str, Any]]


class ClientException(Exception):
    """A request that AWS Batch would refuse with this name."""


class Batch:
    """The API, the job table and the scheduler."""

    def __init__(self, folder: Folder, secrets: Secrets, port: int) -> None:
        endpoint = f"http://127.0.0.1:{port}"
        self.folder, self.account = folder, secrets.account
        self.table = Table(folder.batch / "jobs")
        self.outbox = Outbox(endpoint, secrets)
        self.runner = Runner(folder, self.table, self.outbox, endpoint)
        self._sts = root_client("sts", endpoint, secrets)
        self._tasks: list[asyncio.Task[None]] = []
        self._operations: dict[str, tuple[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
            "/v1/submitjob": ("SubmitJob", self._submit),
            "/v1/describejobs": ("DescribeJobs", self._describe),
            "/v1/listjobs": ("ListJobs", self._list),
            "/v1/terminatejob": ("TerminateJob", self._terminate),
            "/v1/canceljob": ("CancelJob", self._cancel),
            "/v1/describejobdefinitions": ("DescribeJobDefinitions", self._describe_definitions),
            "/v1/describejobqueues": ("DescribeJobQueues", self._describe_queues),
        }

    def start(self) -> None:
        """Begin to schedule."""
        self._tasks = [asyncio.create_task(self.outbox.run()), asyncio.create_task(self.runner.run())]

    async def stop(self) -> None:
        """End the jobs, to be started again, and say the last words."""
        await self.runner.stop()
        if self.folder.catalogue.exists():
            try:
                await asyncio.wait_for(self.outbox.drained(), timeout=5)
            except TimeoutError:
                log.warning("stopped with untold state changes")
        for task in self._tasks:
            task.cancel()

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = await _body(receive)
        path = scope["path"].rstrip("/").lower()
        if path.startswith(JOB_PATH):
            status, answer = await self._credentials(scope)
        elif body is None:
            status, answer = 413, {"message": "The request is too large."}
        elif scope["method"] != "POST" or path not in self._operations:
            status, answer = 404, {"message": f"{scope['path']} is not part of local Batch.", "code": "NotFound"}
        else:
            status, answer = self._operation(path, scope, body)
        kind = str(answer.pop("code", "ClientException")) if status >= 400 else ""
        payload = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(payload)).encode())]
        headers += [(b"x-amzn-errortype", kind.encode())] if kind else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": payload})

    def _operation(self, path: str, scope: Scope, body: bytes) -> Answer:
        name, operation = self._operations[path]
        try:
            request = json.loads(body or b"{}")
            if not isinstance(request, dict):
                raise ClientException("The body is not a JSON object.")
            for resource in self._resources(name, request):
                if refused := authorize(scope, body, f"batch:{name}", resource):
                    return 403, refused
            return 200, operation(request)
        except (ClientException, ValueError) as error:
            return 400, {"message": str(error)}

    def _resources(self, name: str, request: Mapping[str, Any]) -> list[str]:
        """What the caller's policy must allow: for SubmitJob the definition and the queue, as on AWS."""
        if name == "SubmitJob":
            definition = self._definition(request.get("jobDefinition", ""))
            return [self._definition_arn(definition), self._queue(request.get("jobQueue", ""))]
        if name in ("TerminateJob", "CancelJob"):
            return [f"arn:aws:batch:{REGION}:{self.account}:job/{request.get('jobId', '')}"]
        return ["*"]

    # ------------------------------------------------------------------ operations

    def _submit(self, request: Mapping[str, Any]) -> dict[str, Any]:
        for name in _FOREIGN:
            if request.get(name):
                raise ClientException(f"{name} is not supported by local Batch.")
        if not _NAME.fullmatch(str(request.get("jobName", ""))):
            raise ClientException("jobName must be 1 to 128 letters, digits, hyphens and underscores.")
        timeout = (request.get("timeout") or {}).get("attemptDurationSeconds", LEAST_TIMEOUT_S)
        if int(timeout) < LEAST_TIMEOUT_S:
            raise ClientException(f"attemptDurationSeconds must be at least {LEAST_TIMEOUT_S}.")
        attempts = int((request.get("retryStrategy") or {}).get("attempts", 1))
        if not 1 <= attempts <= 10:
            raise ClientException("attempts must be 1 to 10.")
        definition = self._definition(request["jobDefinition"])
        if request.get("containerOverrides" if definition.nodes > 1 else "nodeOverrides"):
            raise ClientException("Overrides are containerOverrides for one node, nodeOverrides for several.")
        job = new_job(request, definition, self._queue(request["jobQueue"]), self._definition_arn(definition))
        self.runner.submit(job)
        return {"jobArn": job["jobArn"], "jobName": job["jobName"], "jobId": job["jobId"]}

    def _describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [str(name).rpartition("/")[2] for name in request.get("jobs", [])]
        return {"jobs": [shown(self.table.jobs[name]) for name in wanted if name in self.table.jobs]}

    def _list(self, request: Mapping[str, Any]) -> dict[str, Any]:
        queue = self._queue(request.get("jobQueue", ""))
        filters = request.get("filters") or []
        status = None if filters else request.get("jobStatus", "RUNNING")
        found = [
            job
            for job in sorted(self.table.jobs.values(), key=lambda job: -int(job["createdAt"]))
            if job["jobQueue"] == queue
            and status in (None, job["status"])
            and all(_passes(job, part) for part in filters)
        ]
        start, size = int(request.get("nextToken") or 0), int(request.get("maxResults") or PAGE)
        following = {"nextToken": str(start + size)} if start + size < len(found) else {}
        return {"jobSummaryList": [_summary(job) for job in found[start : start + size]], **following}

    def _terminate(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if not request.get("reason"):
            raise ClientException("reason is missing.")
        self.runner.terminate(self._job(request), str(request["reason"]))
        return {}

    def _cancel(self, request: Mapping[str, Any]) -> dict[str, Any]:
        job = self._job(request)
        if job["status"] in ("SUBMITTED", "PENDING", "RUNNABLE"):
            job["isCancelled"] = True
            self.runner.terminate(job, str(request.get("reason", "")))
        return {}

    def _describe_definitions(self, _: Mapping[str, Any]) -> dict[str, Any]:
        return {"jobDefinitions": [self._shown_definition(part) for part in self._catalogue().definitions]}

    def _describe_queues(self, _: Mapping[str, Any]) -> dict[str, Any]:
        queues = [{"jobQueueName": name, "jobQueueArn": self._queue(name)} for name in self._catalogue().queues]
        more = {"state": "ENABLED", "status": "VALID", "priority": 1, "computeEnvironmentOrder": []}
        return {"jobQueues": [{**queue, **more} for queue in queues]}

    # ------------------------------------------------------------------ names

    def _catalogue(self) -> Catalogue:
        return load_catalogue(self.folder) or Catalogue((), (), ())

    def _queue(self, name: str) -> str:
        """The ARN of a queue given by name or ARN."""
        bare = name.rpartition("/")[2]
        if bare not in self._catalogue().queues:
            raise ClientException(f"Job queue {name!r} does not exist.")
        return f"arn:aws:batch:{REGION}:{self.account}:job-queue/{bare}"

    def _definition(self, name: str) -> Definition:
        bare = name.rpartition("/")[2].partition(":")[0]
        for definition in self._catalogue().definitions:
            if definition.name == bare:
                return definition
        raise ClientException(f"Job definition {name!r} does not exist.")

    def _definition_arn(self, definition: Definition) -> str:
        return f"arn:aws:batch:{REGION}:{self.account}:job-definition/{definition.name}:1"

    def _shown_definition(self, definition: Definition) -> dict[str, Any]:
        environment = [{"name": name, "value": value} for name, value in definition.environment.items()]
        shown: dict[str, Any] = {
            "jobDefinitionName": definition.name,
            "jobDefinitionArn": self._definition_arn(definition),
            "revision": 1,
            "status": "ACTIVE",
            "type": "multinode" if definition.nodes > 1 else "container",
            "parameters": dict(definition.parameters),
            "retryStrategy": {"attempts": definition.attempts, "evaluateOnExit": list(definition.rules)},
            "containerProperties": {
                "image": definition.image,
                "command": list(definition.command),
                "jobRoleArn": definition.role_arn,
                "environment": environment,
            },
        }
        return shown | ({"timeout": {"attemptDurationSeconds": definition.timeout_s}} if definition.timeout_s else {})

    def _job(self, request: Mapping[str, Any]) -> Job:
        key = str(request.get("jobId", "")).rpartition("/")[2]
        if key not in self.table.jobs:
            raise ClientException(f"Job {key!r} does not exist.")
        return self.table.jobs[key]

    # ------------------------------------------------------------------ the job's own keys

    async def _credentials(self, scope: Scope) -> Answer:
        """The keys of the job's role, as the agent on a Batch host hands them to a container."""
        key = scope["path"][len(JOB_PATH) :].partition("/")[0]
        token = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        job, known = self.table.jobs.get(key), self.runner.tokens.get(key)
        if job is None or known is None or not hmac.compare_digest(token, known.encode()) or job["status"] in ENDED:
            return 403, {"message": "No such job, or not its token.", "code": "AccessDenied"}
        role = job["container"]["jobRoleArn"]
        try:
            call = {"RoleArn": role, "RoleSessionName": key, "DurationSeconds": SESSION_S}
            keys = (await asyncio.to_thread(lambda: self._sts.assume_role(**call)))["Credentials"]
        except (BotoCoreError, ClientError) as error:
            return 500, {"message": f"The role {role} cannot be assumed: {error}", "code": "ServerException"}
        return 200, {
            "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"],
            "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RoleArn": role,
        }


def authorize(scope: Scope, body: bytes, action: str, resource: str) -> dict[str, Any] | None:
    """Why MiniStack's evaluator refuses the caller, None where signature and policy hold."""
    raw = scope["headers"]
    headers = joined_headers(scope)
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    key = extract_access_key_id(headers, query)
    set_request_account_id(find_iam_access_key_account(key) or key)
    set_request_region(REGION)
    pin_request_origin("127.0.0.1", False)
    pin_signed_request(scope["method"], (scope.get("raw_path") or scope["path"].encode()).decode(), query, raw)
    pin_signed_body(body)
    pin_request_caller(headers, query)
    denied = enforce(key, action, "batch", REGION, resource_arn=resource)
    if denied is None:
        return None
    if isinstance(denied, AuthError):
        return {"message": denied.message, "code": denied.code}
    who = denied.principal_arn
    return {
        "message": f"User: {who} is not authorized to perform: {action} on resource: {resource}",
        "code": "AccessDeniedException",
    }


async def _body(receive: Receive) -> bytes | None:
    """The request's body, None where it is too large."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _passes(job: Job, part: Mapping[str, Any]) -> bool:
    """JOB_NAME and JOB_DEFINITION filters, with AWS's trailing asterisk; others fit nothing."""
    fields = {"JOB_NAME": job["jobName"], "JOB_DEFINITION": job["jobDefinition"].rpartition("/")[2].partition(":")[0]}
    text = str(fields.get(part.get("name", ""), "")).lower()
    values = [str(value).lower() for value in part.get("values", [])]
    return any(text.startswith(value[:-1]) if value.endswith("*") else text == value for value in values)


def _summary(job: Job) -> Job:
    names = (
        "jobArn",
        "jobId",
        "jobName",
        "createdAt",
        "status",
        "statusReason",
        "startedAt",
        "stoppedAt",
        "jobDefinition",
    )
    container = {key: job["container"][key] for key in ("exitCode", "reason") if key in job["container"]}
    return {**{name: job[name] for name in names if name in job}, "container": container}
