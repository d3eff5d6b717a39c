"""How a reader's word travels from a replica to its engine process, on one host.

The other way round than reports, over the same kind of socket; but words about different
streams must not replace each other, so a few wait.
"""

from __future__ import annotations

import logging

import msgspec
import zmq

from qoe.feedback import Feedback
from telemetry.channel import Channel

logger = logging.getLogger(__name__)

# Words on their way to an engine whose steps are slow; more are dropped.
MAX_WAITING = 4096
# A step of the engine waits for no more words than this.
MAX_A_STEP = 256


class ReaderFeedback(msgspec.Struct, frozen=True, array_like=True):
    """What one client says of one answer.

    Attributes:
        request_ids: What the engine calls its streams; several for several answers.
        feedback: The state of their reader.
    """

    request_ids: tuple[str, ...]
    feedback: Feedback


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ReaderFeedback)


class FeedbackSender(Channel):
    """The replica's end.

    Raises:
        zmq.ZMQError: The endpoint is not an address, or somebody else has bound it.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(zmq.PUSH, lambda s: _queueing(s).bind(endpoint))

    def send(self, word: ReaderFeedback) -> bool:
        """Send it on its way without waiting; False if there is no way."""
        try:
            self._socket.send(_encoder.encode(word), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True


class FeedbackReceiver(Channel):
    """The engine's end. Construct it in the engine process, after any fork.

    Invariants:
        Never in the way: `take` does not block, does not raise, and ends.

    Attributes:
        refused_total: Messages that were none of ours.

    Raises:
        zmq.ZMQError: The endpoint is not an address.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(zmq.PULL, lambda s: _queueing(s).connect(endpoint))
        self.refused_total = 0

    def take(self) -> list[tuple[str, Feedback]]:
        """The oldest words that wait, by the engine's name of the stream."""
        told: list[tuple[str, Feedback]] = []
        for _ in range(MAX_A_STEP):
            # Asking first costs a fraction of an exception.
            if self._socket.closed or not self._socket.poll(0):
                break
            told += self._receive()
        return told

    def _receive(self) -> list[tuple[str, Feedback]]:
        try:
            word = _decoder.decode(self._socket.recv(zmq.NOBLOCK))
        except zmq.Again:
            return []
        except (ValueError, RecursionError) as error:
            self.refused_total += 1
            if self.refused_total == 1:
                logger.warning("Refused what is no reader's word: %s", error)
            return []
        return [(request_id, word.feedback) for request_id in word.request_ids]


def _queueing(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    socket.setsockopt(zmq.CONFLATE, 0)
    socket.setsockopt(zmq.SNDHWM, MAX_WAITING)
    socket.setsockopt(zmq.RCVHWM, MAX_WAITING)
    return socket
