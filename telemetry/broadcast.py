"""How reports travel from a replica to every router, soon and over the network.

Serve's routing stats carry one a second (`routing_stats`); they also say where the replica
broadcasts, and the key to it. What travels is encrypted (ZMQ's CURVE): who has not got
the key from Serve can read nothing, and nobody else can speak for a replica.
Both ends keep the newest report only, as the channel below them does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import msgspec
import zmq

from telemetry.channel import Channel
from telemetry.report import MAX_KEYS, EngineReport, ReportError, decode, encode

logger = logging.getLogger(__name__)

PERIOD_S = 0.05
# So often the same is said again: for routers that have just come, and for all of them to
# know that an idle replica is alive. They count on less than one in two seconds.
REPEAT_S = 0.5
# So long it is said that a request has ended: many periods, and less than routers wait.
ENDED_S = 2.0
# A host that vanished leaves its connections open; a peer silent for this long is gone.
HEARTBEAT_MS = 5000
MAX_RECONNECT_MS = 2000
# A broadcaster is known by its public key, as ZMQ writes it, and named by the beginning of
# it: the next one on its port is somebody else.
KEY_CHARS = 40
NAME_BYTES = 12
# A poll ends although reports come faster than they are read.
MAX_MESSAGES_A_POLL = 1024


class ReportBroadcaster(Channel):
    """The replica's end: a thread that tells what `latest` returns, whenever that changes.

    Invariants:
        Never in the way: no call waits for the network, and nothing is raised.
        Bounded: one report waits for each router, however slow that is.
        Of two reports with the same epoch, the later one has the higher `seq`, also where
            only `accepting` has changed. Requests that end change no `seq`: the age of a
            report is that of its engine's word, whatever the replica adds.

    Args:
        host: Address of this node that routers can reach.
        latest: The engine's newest report; called in the thread.
        period_s: Seconds between looks.

    Attributes:
        endpoint: Where to listen and the key, for a `ReportListener` and nobody else.
        failed_total: Looks or sends that failed.

    Raises:
        zmq.ZMQError: `host` is not an address of this node.
    """

    def __init__(
        self,
        host: str,
        latest: Callable[[], EngineReport | None],
        *,
        period_s: float = PERIOD_S,
    ) -> None:
        address = f"tcp://[{host}]:*" if ":" in host else f"tcp://{host}:*"
        key = ""

        def attach(socket: zmq.Socket[bytes]) -> None:
            nonlocal key
            key = seal(_over_network(socket, address))
            socket.bind(address)

        super().__init__(zmq.PUB, attach)
        self._name = key[:NAME_BYTES]
        self.endpoint = f"{self._socket.getsockopt_string(zmq.LAST_ENDPOINT)}#{key}"
        self.failed_total = 0
        self._engine_latest = latest
        self._period_s = period_s
        # Whether the replica takes streams, and how often that has changed.
        self._accepting = (True, 0)
        # When each ended, oldest first. Replaced as a whole: the thread may be reading it.
        self._ended: tuple[tuple[float, int], ...] = ()
        self._published: tuple[str, int, tuple[int, ...]] | None = None
        self._published_at_s = 0.0
        self._is_open = True
        self._woken = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="andes-broadcast", daemon=True
        )
        self._thread.start()

    def latest(self) -> EngineReport | None:
        """The engine's newest report as routers get it, with what the replica adds."""
        report = self._engine_latest()
        if report is None:
            return None
        accepting, changes = self._accepting
        since_s = time.monotonic() - ENDED_S
        return msgspec.structs.replace(
            report,
            accepting=accepting,
            seq=report.seq + changes,
            ended_keys=tuple(key for at_s, key in self._ended if at_s >= since_s),
        )

    def set_accepting(self, accepting: bool) -> None:
        """Say, at once if it is news, whether the replica takes streams."""
        before, changes = self._accepting
        if accepting != before:
            self._accepting = (accepting, changes + 1)
            self._woken.set()

    def add_ended(self, key: int) -> None:
        """Say for `ENDED_S` that the request with this key is no longer here."""
        self._ended = (*self._ended, (time.monotonic(), key))[-MAX_KEYS:]

    def close(self) -> None:
        """End the thread and free the port; a second call does nothing."""
        self._is_open = False
        self._woken.set()
        self._thread.join()
        super().close()

    def _run(self) -> None:
        while self._is_open:
            try:
                self._publish()
            except Exception:
                self.failed_total += 1
                if self.failed_total == 1:
                    logger.exception(
                        "A report could not be broadcast; the next one may be."
                    )
            self._woken.wait(self._period_s)
            self._woken.clear()

    def _publish(self) -> None:
        report, now_s = self.latest(), time.monotonic()
        if report is None:
            return
        this = (report.epoch, report.seq, report.ended_keys)
        if this != self._published or now_s - self._published_at_s >= REPEAT_S:
            self._published, self._published_at_s = this, now_s
            self._socket.send(self._name.encode() + encode(report), zmq.NOBLOCK)


@dataclass(slots=True)
class _Source:
    """A replica listened to, and what it said last."""

    replica: Hashable
    address: str
    epoch: str = ""
    seq: int = 0


class ReportListener(Channel):
    """The router's end: one socket for all replicas. Any thread may call it.

    Invariants:
        Never in the way: no call waits, and none raises for what came over the network.
        Bounded: one report waits for each replica, however seldom somebody polls.
        Newest only: a replica's reports never go back within an epoch.

    Attributes:
        refused_total: Messages that were no report of this schema, or not of a replica
            listened to, and endpoints that are none.
        missed_total: Reports known from their numbers and never seen; the next one said
            everything again.
    """

    def __init__(self) -> None:
        super().__init__(zmq.SUB, lambda s: _introduced(s).subscribe(b""))
        self.refused_total = 0
        self.missed_total = 0
        self._lock = threading.Lock()
        self._sources: dict[bytes, _Source] = {}
        self._names: dict[Hashable, bytes] = {}

    def listen_to(self, endpoints: Mapping[Hashable, str]) -> None:
        """Be connected to these replicas, at these endpoints, and to no others."""
        for replica in self._names.keys() - endpoints.keys():
            self.disconnect(replica)
        for replica, endpoint in endpoints.items():
            self.connect(replica, endpoint)

    def connect(self, replica: Hashable, endpoint: str) -> None:
        """Listen to `replica` at its broadcaster's `endpoint` instead of an earlier one."""
        address, _, key = endpoint.partition("#")
        name = key[:NAME_BYTES].encode()
        if self._names.get(replica) == name:
            return
        self.disconnect(replica)
        with self._lock:
            if self._socket.closed:
                return
            try:
                self._socket.curve_serverkey = key.encode()
                _over_network(self._socket, address).connect(address)
            except zmq.ZMQError as error:
                # The key is nobody's business.
                self._refuse(f"endpoint {address!r}: {error}")
                return
            self._names[replica] = name
            self._sources[name] = _Source(replica, address)

    def disconnect(self, replica: Hashable) -> None:
        """Stop listening to `replica`, if anybody was."""
        with self._lock:
            name = self._names.pop(replica, None)
            if name is not None and not self._socket.closed:
                self._socket.disconnect(self._sources.pop(name).address)

    def poll(self) -> list[tuple[Hashable, EngineReport]]:
        """The newest report of each replica that reported since the last call.

        It may be the same again: a replica without news says that it is there.
        """
        news: dict[Hashable, EngineReport] = {}
        with self._lock:
            for _ in range(MAX_MESSAGES_A_POLL):
                if (message := self._receive()) is None:
                    break
                self._take(message, news)
        return list(news.items())

    def close(self) -> None:
        """Leave every replica at once; a second call does nothing."""
        with self._lock:
            super().close()

    def _receive(self) -> bytes | None:
        if self._socket.closed:
            return None
        try:
            return self._socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None

    def _take(self, message: bytes, news: dict[Hashable, EngineReport]) -> None:
        source = self._sources.get(message[:NAME_BYTES])
        try:
            if source is None:
                raise ReportError("its sender is not listened to")
            report = decode(message[NAME_BYTES:])
        # Nesting too deep to read is no ValueError; everything else bad is one.
        except (ValueError, RecursionError) as error:
            self._refuse(f"message: {error}")
            return
        if report.epoch == source.epoch:
            if report.seq < source.seq:
                return
            self.missed_total += max(report.seq - source.seq - 1, 0)
        source.epoch, source.seq = report.epoch, report.seq
        news[source.replica] = report

    def _refuse(self, what: str) -> None:
        self.refused_total += 1
        if self.refused_total == 1:
            logger.warning("Refused what is no engine report: %s", what)


def seal(socket: zmq.Socket[bytes]) -> str:
    """Have `socket` talk to those only who know the key that is returned."""
    public, secret = zmq.curve_keypair()
    socket.curve_server = True
    socket.curve_secretkey = secret
    return public.decode()


def _introduced(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """`socket` with keys of its own, which the other end needs and does not ask about."""
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    return socket


def _over_network(socket: zmq.Socket[bytes], address: str) -> zmq.Socket[bytes]:
    """`socket`, with what its next bind or connect needs."""
    # With it, an IPv4 address is told to routers in a form that needs IPv6 there.
    socket.setsockopt(zmq.IPV6, int("[" in address))
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, MAX_RECONNECT_MS)
    return socket
