"""Calls the HTTP API, and says in one sentence what went wrong when it does not answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import httpx

from tidemill.cli.failures import Answer, NoFile, TookTooLong, Unreachable

ANSWER_S = 60.0  # a cold start of every function on a loaded laptop stays below this
SEND_S = 600.0
Sent = Callable[[int, int], None]  # bytes sent, bytes in all


class Api:
    """The API at one address with one key."""

    def __init__(self, url: str, key: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self.transport = transport
        # trust_env=False: a proxy of the environment must never see the keys of a local stack
        self.http = httpx.Client(
            headers={"x-api-key": key}, timeout=ANSWER_S, transport=transport, trust_env=not _is_local(url)
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer of a GET."""
        return self._ask("GET", path, params=query).json()

    def text(self, path: str, **query: Any) -> str:
        """The text of a GET."""
        return self._ask("GET", path, params=query).text

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer of a POST."""
        return self._ask("POST", path, json=body).json()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self.http.request(method, self.url + path, **more)
        except httpx.TimeoutException as error:
            raise TookTooLong(
                f"{self.url} did not answer within {ANSWER_S:.0f} s.", remedy="Try again; see `tidemill doctor`."
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(
                f"{self.url} does not answer ({type(error).__name__}).",
                remedy="Start the local stack with `tidemill up`, or check TIDEMILL_URL.",
            ) from error
        if answer.status_code >= 400:
            raise _refusal(answer)
        return answer

    def send_file(self, form: Mapping[str, Any], path: Path, sent: Sent) -> None:
        """Send a file with a presigned form."""
        try:
            with path.open("rb") as file, httpx.Client(transport=self.transport, trust_env=False) as http:
                counted = _Counted(file, path.stat().st_size, sent)
                answer = http.post(
                    form["url"],
                    data=form["fields"],
                    files={"file": (path.name, counted, "application/octet-stream")},  # type: ignore[dict-item]
                    timeout=SEND_S,
                )
        except OSError as error:
            raise NoFile(f"{path} cannot be read ({error.strerror}).", remedy="Check the file.") from error
        except httpx.HTTPError as error:
            raise Unreachable(
                f"The upload to {httpx.URL(form['url']).host} broke off ({type(error).__name__}).",
                remedy="Try again; nothing was started.",
            ) from error
        if answer.status_code >= 300:
            raise _storage_refusal(answer)

    def fetch_file(self, url: str, path: Path, fetched: Sent) -> None:
        """Write what a presigned link leads to into a file."""
        try:
            with (
                httpx.Client(transport=self.transport, trust_env=False) as http,
                http.stream("GET", url, timeout=SEND_S) as answer,
            ):
                if answer.status_code >= 300:
                    answer.read()
                    raise _storage_refusal(answer, "The bucket refused the download")
                whole, done = int(answer.headers.get("content-length", 0)), 0
                with path.open("wb") as file:
                    for block in answer.iter_bytes():
                        file.write(block)
                        done += len(block)
                        fetched(done, whole)
        except OSError as error:
            raise NoFile(f"{path} cannot be written ({error.strerror}).", remedy="Choose another place.") from error
        except httpx.HTTPError as error:
            raise Unreachable(
                f"The download from {httpx.URL(url).host} broke off ({type(error).__name__}).", remedy="Try again."
            ) from error


class _Counted:
    """A file that tells how much of it was read."""

    def __init__(self, file: IO[bytes], size: int, sent: Sent) -> None:
        self.file, self.size, self.sent, self.done = file, size, sent, 0

    def read(self, size: int = -1) -> bytes:
        block = self.file.read(size)
        self.done += len(block)
        self.sent(self.done, self.size)
        return block

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _is_local(url: str) -> bool:
    return (httpx.URL(url).host or "") in ("127.0.0.1", "localhost", "::1")


def _refusal(answer: httpx.Response) -> Answer:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict) or "code" not in problem:
        problem = {
            "detail": f"{answer.request.url.path} answered {answer.status_code} without a reason.",
            "code": "ODD_ANSWER",
            "remedy": "Is that the address of a Tidemill API? Look into the logs: `tidemill doctor`.",
        }
    return Answer(problem, answer.status_code)


def _storage_refusal(answer: httpx.Response, what: str = "The bucket refused the file") -> Answer:
    found = re.search(r"<Code>(\w+)</Code>", answer.text[:2000])
    code = found.group(1) if found else "refused"
    problem: dict[str, object] = {
        "detail": f"{what}: {code} ({answer.status_code}).",
        "code": "UPLOAD_REFUSED",
        "remedy": "Push again: a form is good for 15 minutes and files up to its limit.",
    }
    return Answer(problem, 413 if code == "EntityTooLarge" else 422)
