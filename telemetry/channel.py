"""How a report travels from the engine process to its replica process, on one host.

The replica binds and the engine connects, over a local ZMQ socket that keeps one message:
a newer report replaces the one that nobody has read yet. Reports are state, so what is
overwritten or lost on the way is said again by the next one.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import zmq

from telemetry.report import EngineReport, decode, encode

logger = logging.getLogger(__name__)

# A report is at most 3 KB; whoever sends more than this is not an engine of ours.
MAX_MESSAGE_BYTES = 64 * 1024
# A replica that comes back should have its engine's reports within a report period or two.
RECONNECT_MS = 100
# An engine start is an epoch. The last few are enough to know a straggler by.
MAX_KNOWN_EPOCHS = 8


def new_endpoint() -> str:
    """An address for one replica and its engine that nobody else uses.

    On Linux an abstract ipc name, which leaves no file behind whoever dies. Elsewhere a
    loopback port that was free a moment ago: somebody may take it before the replica
    binds it, and the bind then raises.
    """
    if sys.platform == "linux":
        return f"ipc://@andes-{uuid.uuid4().hex}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


class Channel:
    """One socket in a context of its own, so that closing waits for nobody else's."""

    def __init__(self, kind: int, attach: Callable[[zmq.Socket[bytes]], object]) -> None:
        self._context = zmq.Context(io_threads=1)
        try:
            self._socket = self._context.socket(kind)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.CONFLATE, 1)
            self._socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
            self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
            attach(self._socket)
        except Exception:
            self._context.destroy(linger=0)
            raise

    def close(self) -> None:
        """Let go of the socket and its threads at once; a second call does nothing."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class State(Protocol):
    """What travels: the whole state of an engine, numbered."""

    @property
    def epoch(self) -> str:
        """Name of the engine start."""

    @property
    def seq(self) -> int:
        """Number within the epoch."""


Told = TypeVar("Told", bound=State)


class StatePublisher(Channel, Generic[Told]):
    """The engine's end. Construct it in the engine process, after any fork.

    Invariants:
        Never in the way: `publish` does not block and does not raise.
        Bounded: one report waits at most, whether the replica is slow, away or dead.
        Latest wins: a replica that comes late, or comes back, gets the newest report.

    Attributes:
        failed_total: Reports that could not be sent.

    Raises:
        zmq.ZMQError: The endpoint is not an address.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(zmq.PUSH, lambda s: s.connect(endpoint))
        self.failed_total = 0

    def _encode(self, report: Told) -> bytes:
        raise NotImplementedError

    def publish(self, report: Told) -> None:
        """Send `report` in place of an earlier one still on its way."""
        # An engine step must not stop for its telemetry, whatever is wrong with it.
        try:
            self._socket.send(self._encode(report), zmq.NOBLOCK)
        except Exception:
            self.failed_total += 1
            if self.failed_total == 1:
                logger.exception("An engine report could not be sent; its step goes on.")


class StateReceiver(Channel, Generic[Told]):
    """The replica's end. Any thread may call it.

    Invariants:
        Newest only: `latest` never goes back within an epoch.
        A new epoch is an engine that started again: its first report counts at once.
        The last good report outlives its engine, bad messages and `close`.

    Attributes:
        refused_total: Messages that were not a report of this schema.

    Raises:
        zmq.ZMQError: The endpoint is not an address, or somebody else has bound it.
    """

    def __init__(
        self, endpoint: str, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(zmq.PULL, lambda s: s.bind(endpoint))
        self.refused_total = 0
        self._now_s = now_s
        self._lock = threading.Lock()
        self._report: Told | None = None
        self._received_at_s = 0.0
        self._last_seq: OrderedDict[str, int] = OrderedDict()

    def latest(self) -> Told | None:
        """The newest report that has arrived, or None before the first; never waits."""
        with self._lock:
            while (message := self._receive()) is not None:
                self._take(message)
            return self._report

    @property
    def age_s(self) -> float | None:
        """Seconds since `latest` first returned the present report; None without one.

        An idle engine has nothing to say: `report.is_idle` is true now however old it is.
        """
        with self._lock:
            return None if self._report is None else self._now_s() - self._received_at_s

    def close(self) -> None:
        """Free the endpoint at once; a second call does nothing."""
        with self._lock:
            super().close()

    def _decode(self, message: bytes) -> Told:
        raise NotImplementedError

    def _receive(self) -> bytes | None:
        if self._socket.closed:
            return None
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _take(self, message: bytes) -> None:
        try:
            report = self._decode(message)
        # Nesting too deep to read is no ValueError; everything else bad is one.
        except (ValueError, RecursionError) as error:
            self.refused_total += 1
            if self.refused_total == 1:
                logger.warning("Refused a message that is no engine report: %s", error)
            return
        if report.seq <= self._last_seq.get(report.epoch, -1):
            return
        self._remember(report)
        self._report = report
        self._received_at_s = self._now_s()

    def _remember(self, report: Told) -> None:
        self._last_seq[report.epoch] = report.seq
        self._last_seq.move_to_end(report.epoch)
        if len(self._last_seq) > MAX_KNOWN_EPOCHS:
            self._last_seq.popitem(last=False)


class ReportPublisher(StatePublisher[EngineReport]):
    """Of reports."""

    def _encode(self, report: EngineReport) -> bytes:
        return encode(report)


class ReportReceiver(StateReceiver[EngineReport]):
    """Of reports."""

    def _decode(self, message: bytes) -> EngineReport:
        return decode(message)
