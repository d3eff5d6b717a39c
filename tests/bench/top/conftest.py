import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from telemetry import catalogue
from telemetry.catalogue import Metric

Page = Callable[..., str]


def line(metric: Metric | str, value: float, **labels: str) -> str:
    name = metric if isinstance(metric, str) else metric.exposed
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value}\n"


def of_replica(name: str, scale: float = 1.0) -> str:
    """Blocks 30 of 40; streams 3, 2 and 1; 4 readers, 1 below target; 10 ended with 9."""
    reading = {"replica": name, "qoe_class": "reading"}
    return "".join(
        [
            line(catalogue.INFO, 1, replica=name, policy="andes", version="0.1.0"),
            line(catalogue.KV_BLOCKS, 30, replica=name, state="used"),
            line(catalogue.KV_BLOCKS, 40, replica=name, state="total"),
            line(catalogue.STREAMS, 3, replica=name, state="running"),
            line(catalogue.STREAMS, 2, replica=name, state="waiting"),
            line(catalogue.STREAMS, 1, replica=name, state="preempted"),
            line(catalogue.ACTIVE, 4, **reading),
            line(catalogue.BELOW_TARGET, 1, **reading),
            line(catalogue.FINISHED, 10 * scale, **reading),
            line(catalogue.QOE_SUM, 9 * scale, **reading),
            line(catalogue.ACTIVE, 50, replica=name, qoe_class="none"),
            line(catalogue.BELOW_TARGET, 50, replica=name, qoe_class="none"),
            line("ray_vllm_generation_tokens_total", 1000 * scale, ReplicaId=name),
        ]
    )


ROUTER = "".join(
    [
        line(catalogue.DECISIONS, 7, WorkerId="a", outcome="scored"),
        line(catalogue.DECISIONS, 5, WorkerId="b", outcome="scored"),
        line(catalogue.DECISIONS, 2, WorkerId="a", outcome="no_report"),
        line(catalogue.LEDGER, 3, WorkerId="a"),
        line(catalogue.REPORT_AGE_S, 0.25, WorkerId="a"),
        line(catalogue.REPORT_AGE_S, 0.5, WorkerId="b"),
        '# HELP somebody_elses With a text.\nsomebody_elses{a="b"} 1.0\n',
    ]
)
# Of a replica that died: Ray keeps its counters.
DEAD = line(catalogue.FINISHED, 99, replica="dead", qoe_class="reading")


@pytest.fixture
def page() -> Page:
    """The page of a node with these replicas, whose totals are `scale` times their own."""

    def written(*names: str, scale: float = 1.0, router: str = ROUTER) -> str:
        return "".join(of_replica(name, scale) for name in names) + router + DEAD

    return written


class PageServer:
    """Shows `text` on port `port`, with `status`."""

    def __init__(self) -> None:
        self.text, self.status = "", 200
        shown = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(shown.status)
                self.end_headers()
                self.wfile.write(shown.text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[PageServer]:
    server = PageServer()
    yield server
    server.close()
