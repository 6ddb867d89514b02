"""/docs and /openapi.json: what the API can do, for people and for programs, without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse

from tidemill.serving.app.access import PREDICT


def routes(app: FastAPI) -> APIRouter:
    """The two routes that describe an app, themselves included."""
    router = APIRouter(tags=["about"])

    @router.get("/openapi.json", openapi_extra=PREDICT)
    def openapi() -> JSONResponse:
        """Read this API as an OpenAPI 3.1 document."""
        return JSONResponse(app.openapi())

    @router.get(
        "/docs",
        response_class=HTMLResponse,
        openapi_extra=PREDICT,
        responses={200: {"content": {"text/html": {}}, "description": "This page."}},
    )
    def docs() -> HTMLResponse:
        """Read and try this API in a browser (user `key`, password: a key)."""
        return HTMLResponse(page(app.openapi()), headers={"content-security-policy": POLICY})

    return router


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


STYLE, SCRIPT = _asset("docs.css"), _asset("docs.js")


def _source(text: str) -> str:
    """The Content-Security-Policy source that allows exactly this inline text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; style-src {_source(STYLE)}; script-src {_source(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page(document: dict[str, Any]) -> str:
    """The whole documentation page of an OpenAPI document."""
    routes_html = "".join(
        _route(method.upper(), path, about)
        for path, methods in document["paths"].items()
        for method, about in methods.items()
    )
    info = document["info"]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(info['title'])}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{html.escape(info['title'])} <small>{html.escape(info['version'])}</small></h1>"
        f"<p>{html.escape(info.get('description', ''))}</p>{_key_field()}{routes_html}"
        f"</main><script>{SCRIPT}</script></body></html>"
    )


def _key_field() -> str:
    return (
        '<p class="key"><label for="key">Key to try with</label> '
        '<input id="key" type="password" autocomplete="off" spellcheck="false" placeholder="tm_…"> '
        "<span>kept in this page only</span></p>"
    )


def _route(method: str, path: str, about: dict[str, Any]) -> str:
    """One route: folded, with its parameters, a curl line and a form to try it."""
    role = about.get("x-role", "operate")
    example = _body_example(about)
    parameters = about.get("parameters", [])
    return (
        f'<details class="route" data-method="{method}" data-path="{html.escape(path)}"><summary>'
        f'<b class="{method.lower()}">{method}</b> <code>{html.escape(path)}</code> '
        f"<span>{html.escape(_first_line(about))}</span>"
        f"<em>{'no key' if role == 'none' else role + ' key'}</em></summary>"
        f"{_parameters(parameters)}{_body_field(example)}"
        f"<pre class='curl'>{html.escape(_curl(method, path, role, example))}</pre>{_other_bodies(about, path, role)}"
        '<p><button type="button">Try</button> <output></output></p><pre class="answer" hidden></pre></details>'
    )


def _first_line(about: dict[str, Any]) -> str:
    return str(about.get("description") or about.get("summary") or "").partition("\n")[0]


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{html.escape(item['name'])}</code></td><td>{html.escape(item['in'])}</td>"
        f'<td><input aria-label="{html.escape(item["name"])}" data-in="{html.escape(item["in"])}" '
        f'data-name="{html.escape(item["name"])}"></td><td>{html.escape(item.get("description", ""))}</td></tr>'
        for item in parameters
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _body_field(example: Any) -> str:
    if example is None:
        return ""
    text = html.escape(json.dumps(example, indent=1, ensure_ascii=False))
    return f'<textarea aria-label="body" rows="6" spellcheck="false">{text}</textarea>'


def _body_example(about: dict[str, Any]) -> Any:
    """The example of a body, from the media type or from its schema; None where the route reads none."""
    content = about.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    return content.get("example", content.get("schema", {}).get("example", {}))


def _other_bodies(about: dict[str, Any], path: str, role: str) -> str:
    """Lines for what else a route reads: a picture as it is, a text as it is."""
    content = about.get("requestBody", {}).get("content", {})
    sent = {"image/*": ("image/jpeg", "photo.jpg"), "text/plain": ("text/plain", "text.txt")}
    head = _curl("POST", path, role, None)
    lines = [
        f"{head} -H 'content-type: {kind}' --data-binary @{file}"
        for name, (kind, file) in sent.items()
        if name in content
    ]
    return "".join(f"<pre class='curl'>{html.escape(line)}</pre>" for line in lines)


def _curl(method: str, path: str, role: str, example: Any) -> str:
    parts = ["curl -sS"] if method == "GET" else [f"curl -sS -X {method}"]
    parts.append('"$TIDEMILL_URL' + path.replace("{", "$").replace("}", "") + '"')
    if role != "none":
        parts.append('-H "x-api-key: $TIDEMILL_KEY"')
    if example is not None:
        quoted = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
        parts += ["-H 'content-type: application/json'", f"-d '{quoted}'"]
    return " ".join(parts)
