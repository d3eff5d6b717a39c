"""The examples of docs/clients.md, as they stand there, against the real service."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest

if TYPE_CHECKING:
    from conftest import Client

from pacer import paced

REPO = Path(__file__).parents[3]
PAGE = (REPO / "docs" / "clients.md").read_text("utf-8")
README = (REPO / "README.md").read_text("utf-8")
PACER_JS = REPO / "pacer" / "js" / "index.js"
WRITTEN_FOR = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
TIMEOUT_S = 60.0


def example(section: str, language: str, number: int = 0, page: str = PAGE) -> str:
    """A block of code of a section of a page."""
    _, _, after = page.partition(f"\n## {section}\n")
    assert after, section
    body, _, _ = after.partition("\n## ")
    return [code for kind, code in BLOCK.findall(body) if kind == language][number]


def run(command: list[str], code: str, base_url: str) -> str:
    """What the example prints; nothing goes wrong in it."""
    assert WRITTEN_FOR in code
    done = subprocess.run(
        [*command, code.replace(WRITTEN_FOR, base_url.removesuffix("/v1"))],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Tasks and connections that are left behind are complained about.
    assert command[0] != sys.executable or done.stderr == ""
    return done.stdout


def run_python(code: str, base_url: str) -> str:
    return run([sys.executable, "-c"], code, base_url)


def test_every_example_has_a_test() -> None:
    """Whoever adds one adds a test; OpenAI's own JavaScript needs npm, and has none."""
    languages = [language for language, _ in BLOCK.findall(PAGE)]
    assert languages.count("python") == 4
    assert languages.count("bash") == 2
    assert languages.count("js") == 2


def test_curl_is_shown_a_stream(direct: Client) -> None:
    shown = run(["bash", "-c"], example("curl", "bash"), direct.service.base_url)
    assert shown.count("data: {") >= 2
    assert '"content":' in shown
    assert shown.rstrip().endswith("data: [DONE]")


def test_the_sdk_is_shown_text(direct: Client) -> None:
    code = example("OpenAI's SDK, Python", "python")
    assert len(run_python(code, direct.service.base_url)) == 32


def test_five_lines_show_text_at_the_readers_pace(direct: Client) -> None:
    code = example("At the reader's pace: Python", "python")
    assert len(run_python(code, direct.service.base_url)) == 32


def test_the_five_lines_of_the_readme_do_too(direct: Client) -> None:
    code = example("Read it", "python", page=README)
    assert len(run_python(code, direct.service.base_url)) == 64


def test_a_pacer_tells_what_its_reader_got(direct: Client) -> None:
    code = example("At the reader's pace: Python", "python", 1)
    *_, tokens, qoe = run_python(code, direct.service.base_url).splitlines()
    assert tokens == "24 tokens shown"
    assert re.fullmatch(r"QoE [01]\.\d\d as shown, [01]\.\d\d as delivered", qoe)


def test_the_pacer_of_javascript_shows_text(direct: Client) -> None:
    if shutil.which("node") is None or not PACER_JS.exists():
        pytest.skip("node or pacer/js is missing")
    code = example("At the reader's pace: JavaScript", "js")
    code = code.replace("./pacer/js/index.js", PACER_JS.as_uri())
    command = ["node", "--input-type=module", "-e"]
    assert len(run(command, code, direct.service.base_url)) == 32


def test_feedback_for_nobody_is_refused(direct: Client) -> None:
    code = example("Saying where the reader is", "bash")
    answer = run(["bash", "-c"], code, direct.service.base_url)
    assert re.search("Not ?Found", answer)


REFUSED = [
    ({"vllm_xargs": {"qoe_tds": -1}}, openai.BadRequestError, "qoe_tds=-1 is invalid"),
    ({"model": "nobody"}, openai.NotFoundError, "nobody"),
]


@pytest.mark.parametrize(("body", "error", "message"), REFUSED, ids=["field", "model"])
def test_a_refusal_is_raised_as_the_page_says(
    direct: Client, body: dict[str, Any], error: type[openai.APIError], message: str
) -> None:
    async def read() -> None:
        base_url = direct.service.base_url
        async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
            stream = client.completions.create(
                model=direct.service.model, prompt="A", stream=True, extra_body=body
            )
            async for _ in paced(stream, resume=asked.append):
                pass

    asked: list[Any] = []
    with pytest.raises(error, match=message):
        asyncio.run(read())
    assert asked == []


class Cutter(socketserver.ThreadingTCPServer):
    """A connection to the service that is cut in the middle of the first stream."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, cut_after_bytes: int) -> None:
        self.port, self.cut_after_bytes = port, cut_after_bytes
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: Cutter

    def handle(self) -> None:
        self.server.connections += 1
        is_first = self.server.connections == 1
        with socket.create_connection(("127.0.0.1", self.server.port)) as service:
            up = threading.Thread(target=self._pass_on, args=(self.request, service))
            up.start()
            left = self.server.cut_after_bytes if is_first else None
            self._pass_on(service, self.request, left)
            for end in (service, self.request):
                end.close()
            up.join(1.0)

    @staticmethod
    def _pass_on(
        source: socket.socket, target: socket.socket, left: int | None = None
    ) -> None:
        try:
            while data := source.recv(1024 if left is None else min(left, 1024)):
                target.sendall(data)
                if left is not None and (left := left - len(data)) <= 0:
                    break
            for end, how in ((source, socket.SHUT_RD), (target, socket.SHUT_WR)):
                end.shutdown(how)
        except OSError:
            pass


@pytest.fixture
def cutter(direct: Client) -> Iterator[Cutter]:
    port = int(direct.service.base_url.removesuffix("/v1").rsplit(":", 1)[1])
    # The head of the answer, and some of its chunks.
    with Cutter(port, cut_after_bytes=4000) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_stream_that_breaks_off_is_read_as_one_text(
    direct: Client, cutter: Cutter
) -> None:
    code = example("When a stream breaks off", "python")
    whole = run_python(code, direct.service.base_url)
    assert len(whole) == 64
    broken = run_python(code, f"http://127.0.0.1:{cutter.server_address[1]}/v1")
    assert cutter.connections > 1, "it was never asked for the rest"
    assert broken == whole
