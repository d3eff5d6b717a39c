"""A client of a service that says where its reader is."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.service.conftest import Client

# So fast that no buffer makes its stream a victim while a test looks.
LISTENER = {"qoe_ttft_s": 1.0, "qoe_tds": 50.0}
CROWD = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}
BAD_WORDS = [
    (b'{"buffer_tokens": -1}', "buffer_tokens", "a number from 0 to 1e+06 tokens"),
    (b'{"buffer_tokens": NaN}', "buffer_tokens", "a number from 0 to 1e+06 tokens"),
    (b'{"buffer_tokens": "9"}', "buffer_tokens", "a number from 0 to 1e+06 tokens"),
    (b'{"paused": 1}', "paused", "true or false"),
    (b'{"paused": true, "tds": 0}', "tds", "a number from 0.01 to 1000 tokens/s"),
    (b'{"qoe_tds": 5}', "qoe_tds", "buffer_tokens, paused, tds"),
    (b"{}", "body", "buffer_tokens or paused or tds"),
    (b"paused", "body", "JSON"),
    (b'{"paused": true, "tds": ' + b" " * 5000 + b"5}", "body", "4096 bytes"),
]


class Stream:
    """One stream as a thread reads it.

    Attributes:
        times_s: When each chunk with text came.
        id: What its chunks call it; None before the first.
    """

    def __init__(self, client: Client, path: str, **request: Any) -> None:
        self.times_s: list[float] = []
        self.id: str | None = None
        self.finish_reason: str | None = None
        self._has_begun = threading.Event()
        self._leaves = threading.Event()
        self._thread = threading.Thread(
            target=self._read, args=(client, path, request), daemon=True
        )
        self._thread.start()

    def begun(self) -> str:
        assert self._has_begun.wait(60.0), "no chunk came within a minute"
        assert self.id is not None
        return self.id

    def came_after(self, at_s: float) -> int:
        return sum(came_s > at_s for came_s in self.times_s)

    def leave(self) -> None:
        self._leaves.set()
        self._thread.join(60.0)

    def _read(self, client: Client, path: str, request: dict[str, Any]) -> None:
        with client.open(path, stream=True, **request) as response:
            for line in response.iter_lines():
                if self._leaves.is_set():
                    return
                if line.startswith("data: {"):
                    self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, chunk: dict[str, Any]) -> None:
        self.id = chunk["id"]
        self._has_begun.set()
        for choice in chunk["choices"]:
            self.finish_reason = choice["finish_reason"]
            if choice.get("text") or choice.get("delta", {}).get("content"):
                self.times_s.append(time.monotonic())


class Reader:
    """Says where it is, of streams of a service."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def says(
        self, request_id: str, body: bytes | None = None, **word: Any
    ) -> httpx.Response:
        url = f"{self.client.service.base_url}/qoe/{request_id}"
        content = json.dumps(word).encode() if body is None else body
        return self.client.http.post(url, content=content)

    @contextmanager
    def reads(self, path: str = "completions", **request: Any) -> Iterator[Stream]:
        """A stream that ends here, whether it is read to its end or not."""
        prompt = {"prompt": "Hello"}
        if path.startswith("chat"):
            prompt = {"messages": [{"role": "user", "content": "Hello"}]}
        stream = Stream(self.client, path, **{**prompt, "vllm_xargs": LISTENER, **request})
        try:
            yield stream
        finally:
            stream.leave()

    @contextmanager
    def crowd(self, count: int) -> Iterator[None]:
        """So many other readers ask for the same memory until this is over.

        Their answers come in one piece: an ingress would be too slow for all their tokens,
        and the engines have nobody waiting.
        """
        is_over = threading.Event()
        request = {"prompt": "x" * 200, "max_tokens": 400, "vllm_xargs": CROWD}

        def asks() -> None:
            while not is_over.is_set():
                assert self.client.ask("completions", **request).status == 200

        with ThreadPoolExecutor(count) as pool:
            asked = [pool.submit(asks) for _ in range(count)]
            try:
                yield
            finally:
                is_over.set()
            for one in asked:
                one.result()


def until(condition: Callable[[], bool], limit_s: float) -> float | None:
    """Seconds until it held; None if it did not within `limit_s`."""
    began_s = time.monotonic()
    while not condition():
        if time.monotonic() - began_s > limit_s:
            return None
        time.sleep(0.02)
    return time.monotonic() - began_s


@pytest.fixture
def reader_of() -> type[Reader]:
    return Reader


@pytest.fixture
def gives_way_and_comes_back() -> Callable[[Reader], None]:
    """The same on both paths: one who pauses under pressure, and comes back."""

    def check(reader: Reader) -> None:
        with reader.crowd(30), ExitStack() as stack:
            reader.client.until(
                lambda reports: all(report.waiting > 2 for report in reports.values())
            )
            stream = stack.enter_context(reader.reads(max_tokens=1800))
            request_id = stream.begun()
            # It has had its minimum residency, and is still being written.
            time.sleep(1.5)
            assert until(lambda: stream.came_after(time.monotonic() - 0.5) > 0, 20.0)
            answer = reader.says(request_id, buffer_tokens=0, paused=True)
            assert answer.status_code == 204, answer.text
            paused_at_s = time.monotonic()

            def is_quiet() -> bool:
                now_s = time.monotonic()
                return now_s - paused_at_s > 1.0 and not stream.came_after(now_s - 1.0)

            assert stream.finish_reason is None
            # One that has ended is quiet too, but does not come back below.
            quiet_s = until(is_quiet, 10.0)
            assert quiet_s is not None, "it goes on although its reader is away"
            sys.stdout.write(f"quiet {quiet_s - 1.0:.2f} s after the word\n")
            assert reader.says(request_id, paused=False).status_code == 204
            back_at_s = time.monotonic()
            assert until(lambda: stream.came_after(back_at_s) > 0, 15.0) is not None

    return check


@pytest.fixture
def refuses_bad_words() -> Callable[[Reader], None]:
    """The same on both paths: nothing is changed, and the field is named."""

    def check(reader: Reader) -> None:
        with reader.reads("chat/completions", max_tokens=1900) as stream:
            request_id = stream.begun()
            for body, field, allowed in BAD_WORDS:
                answer = reader.says(request_id, body)
                error = answer.json()["error"]
                assert answer.status_code == error["code"] == 400, answer.text
                assert error["param"] == field
                assert error["message"].startswith(f"{field}=")
                assert allowed in error["message"]
            for other in (
                "chatcmpl-00000000-0000-4000-8000-000000000000",
                request_id.removeprefix("chat"),
                request_id[:-1],
                "chatcmpl-",
            ):
                answer = reader.says(other, paused=True)
                assert answer.status_code == answer.json()["error"]["code"] == 404
                assert answer.json()["error"]["param"] == "request_id"
            # Whichever replica the word comes to, it reaches the one that writes.
            for _ in range(6):
                assert reader.says(request_id, buffer_tokens=5).status_code == 204
        assert reader.says(request_id, paused=True).status_code == 404

    return check
