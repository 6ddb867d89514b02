"""Events of API Gateway (payload format 2.0) as a hostile caller would like them, and both doors to put them to."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from mangum import Mangum
from tests.doubles.plane import CONTEXT

from tidemill.serving.app.entrance import last_resort

Answer = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Answer]
MAX_MESSAGE = 2_000


def event(path: str, method: str = "GET", body: Any = None, **more: Any) -> dict[str, Any]:
    """One request; `headers` are added to its content type."""
    headers = {"content-type": "application/json", **more.pop("headers", {})}
    text = body if isinstance(body, str) or body is None else json.dumps(body)
    http = {"method": method, "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1", "userAgent": "x"}
    made = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": http, "requestId": "r-1", "stage": "$default"},
        "isBase64Encoded": False,
    }
    return {**made, **({} if text is None else {"body": text}), **more}


def plane_handler(app: Any) -> Handler:
    """The Api function over an app: functions/api.py without its clients."""
    answering = Mangum(app, lifespan="off")

    def handler(asked: Mapping[str, Any]) -> Answer:
        try:
            return answering(dict(asked), CONTEXT)  # type: ignore[arg-type, return-value]
        except Exception as error:
            return last_resort(error, CONTEXT)

    return handler


def text_of(answer: Answer) -> bytes:
    """The body as API Gateway would send it on."""
    body = answer["body"].encode()
    return base64.b64decode(body, validate=True) if answer.get("isBase64Encoded") else body


def refused(answer: Answer, *statuses: int) -> dict[str, Any]:
    """The problem document of an answer, held to what every refusal promises."""
    sound(answer)
    assert 400 <= answer["statusCode"] < 500, answer
    assert not statuses or answer["statusCode"] in statuses, (answer["statusCode"], text_of(answer))
    if not answer["body"]:
        return {}  # to HEAD
    told: dict[str, Any] = json.loads(text_of(answer))
    assert told["status"] == answer["statusCode"] and told["code"] and len(told["detail"]) <= MAX_MESSAGE
    return told


def sound(answer: Answer) -> Answer:
    """An answer that API Gateway can send as it is: no fault, no header that begins another, no invitation to pages."""
    assert answer["statusCode"] < 500, answer
    json.dumps(answer)
    for name, value in answer["headers"].items():
        assert not set("\r\n\0") & set(f"{name}{value}"), name
        assert not name.lower().startswith("access-control-"), name
    assert not answer.get("cookies"), answer
    assert answer["headers"]["x-content-type-options"] == "nosniff"
    return answer
