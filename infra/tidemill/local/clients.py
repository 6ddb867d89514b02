"""boto3 clients for the local stack."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from tidemill.local.state import ADMIN_HEADER, REGION, Secrets

_DIRECT = Config(
    proxies={},
    connect_timeout=5,
    read_timeout=120,
    retries={"max_attempts": 3, "mode": "standard"},
    s3={"addressing_style": "path"},
)
_MAKING = threading.Lock()


@lru_cache(maxsize=1)
def _session() -> Any:
    """A session without the person's profile and files: a missing AWS_PROFILE is no concern of ours."""
    unset: dict[str, tuple[str | None, str | None, Any, Any]] = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=unset))


def client(service: str, endpoint: str, key: str, secret: str, token: str | None = None) -> Any:
    """A client that talks to the local endpoint, never through a proxy and never with the person's own keys."""
    with _MAKING:
        return _session().client(
            service,
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=_DIRECT,
        )


def root_client(service: str, endpoint: str, secrets: Secrets) -> Any:
    """A client with MiniStack's root key, which the guard lets pass for the secret header it adds."""
    made = client(service, endpoint, secrets.root_access_key_id, secrets.root_secret_access_key)

    def add_header(request: Any, **_: Any) -> None:
        request.headers[ADMIN_HEADER] = secrets.admin

    made.meta.events.register("before-send.*", add_header)
    return made


def admin_client(service: str, endpoint: str, secrets: Secrets) -> Any:
    """A client with the administrator's key, whose signature is checked like anybody's."""
    return client(service, endpoint, secrets.access_key_id, secrets.secret_access_key)


def admin_resource(service: str, endpoint: str, secrets: Secrets) -> Any:
    """A boto3 resource with the administrator's key."""
    with _MAKING:
        return _session().resource(
            service,
            region_name=REGION,
            endpoint_url=endpoint,
            aws_access_key_id=secrets.access_key_id,
            aws_secret_access_key=secrets.secret_access_key,
            config=_DIRECT,
        )
