"""The same hot path as an ASGI app behind Mangum: what the plain handler is measured against."""

from __future__ import annotations

import base64
from typing import Any

from mangum import Mangum

from tidemill.serving import door


async def app(scope: Any, receive: Any, send: Any) -> None:
    """One request: the scope becomes what the door reads, its answer becomes messages."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answer = door.handle(
        {
            "rawPath": scope["path"],
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
            "requestContext": {"http": {"method": scope["method"]}, "requestId": "asgi"},
            "body": base64.b64encode(body).decode(),
            "isBase64Encoded": True,
        }
    )
    headers = [(name.encode(), value.encode()) for name, value in answer["headers"].items()]
    await send({"type": "http.response.start", "status": answer["statusCode"], "headers": headers})
    await send({"type": "http.response.body", "body": answer["body"].encode()})


handler = Mangum(app, lifespan="off")
