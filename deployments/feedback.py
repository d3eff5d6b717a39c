"""`POST /v1/qoe/{request_id}`: a client says where its reader is, and its engine gets it.

Whichever process the request comes to asks all replicas if it does not write the stream
itself. That costs a call each, and is meant for what a client says now and then.
"""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deployments.access.caller import caller_of
from deployments.access.rate import TokenBucket, retry_after_s
from qoe import ExpectationError, Feedback, parse_feedback
from qoe.feedback import PACE_FIELD
from telemetry.channel import new_endpoint
from telemetry.feedback import FeedbackSender, ReaderFeedback

PATH = "/v1/qoe/{request_id}"
# Of `AndesServer`, for all replicas at once.
METHOD = "on_feedback"
ASK_TIMEOUT_S = 2.0
MAX_BODY_BYTES = 4096
_JSON_ERRORS = (ValueError, RecursionError)

# What a client calls its stream. Serve and HAProxy make random UUIDs; a name that a client
# gave its own request counts only if it could be as hard to guess.
_NAME = re.compile(r"(?:chat)?cmpl-.{32,256}", re.DOTALL)

# A client has something to say about once a second.
WORDS_PER_S, WORDS_AT_ONCE = 2.0, 10.0
# Each word about a stream that nobody writes is a call of every replica.
MISSES_PER_S, MISSES_AT_ONCE = 50.0, 200.0
MAX_KNOWN_STREAMS = 4096

Tell = Callable[[str, Feedback], Awaitable[bool]]


class UnknownHolderError(Exception):
    """Nobody says to write the stream, but not everybody has answered."""


class FeedbackLimit:
    """Bounds what words may cost one process that answers HTTP.

    Invariants:
        Of one stream, no more words than its client could need.
        Of streams that nobody writes, no more than replicas answer without noticing it;
            until then, and again soon, all others' feedback is taken.
        Memory is bounded: who has been silent for longest starts anew.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._streams: OrderedDict[str, TokenBucket] = OrderedDict()
        self._misses = TokenBucket(MISSES_PER_S, MISSES_AT_ONCE, now_s)

    def take(self, request_id: str) -> float:
        """0 if a word about that stream may pass now, else the seconds until one may."""
        bucket = self._streams.pop(request_id, None)
        bucket = bucket or TokenBucket(WORDS_PER_S, WORDS_AT_ONCE, self._now_s)
        self._streams[request_id] = bucket
        if len(self._streams) > MAX_KNOWN_STREAMS:
            self._streams.popitem(last=False)
        return bucket.take() or self._misses.take()

    def found(self) -> None:
        """The stream of the word that passed is being written."""
        self._misses.give_back()


async def respond(
    request_id: str, request: Request, tell: Tell, limit: FeedbackLimit
) -> Response:
    """The answer to feedback: 204, or an error of OpenAI's shape.

    400 names the field, 404 is for a stream that has ended or is somebody else's, 429 for
    too many words, and 503 for not knowing. Only 204 has changed anything.

    Args:
        request_id: The `id` of a stream's chunks.
        request: Its body is the feedback.
        tell: Passes it on; whether anybody writes that stream.
        limit: Of this process.
    """
    try:
        feedback = parse_feedback(await _body(request))
        if feedback.tds is not None:
            caps = caller_of(request.scope).caps
            caps.require_pace(PACE_FIELD, feedback.tds, feedback.tds)
    except ExpectationError as error:
        return _refused(400, "BadRequestError", str(error), error.field)
    if not _NAME.fullmatch(request_id):
        return _unknown(request_id)
    if wait_s := limit.take(request_id):
        return _too_often(wait_s)
    try:
        is_sent = await tell(request_id, feedback)
    except UnknownHolderError as error:
        return _refused(503, "ServiceUnavailableError", str(error), "request_id")
    if not is_sent:
        return _unknown(request_id)
    limit.found()
    return Response(status_code=204)


async def ask_replicas(handles: Iterable[Any], request_id: str, feedback: Feedback) -> bool:
    """Tell whichever replica of these deployments writes the stream; whether one does.

    Raises:
        UnknownHolderError: None says so, and some say nothing.
    """
    answers: list[object] = []
    for handle in handles:
        asked = handle.broadcast(METHOD, request_id, feedback)
        try:
            answers += await asked.results_async(
                timeout_s=ASK_TIMEOUT_S, return_exceptions=True
            )
        except Exception as error:
            answers.append(error)
    if True in answers:
        return True
    silent = [answer for answer in answers if isinstance(answer, Exception)]
    if silent:
        raise UnknownHolderError(
            f"{len(silent)} of the replicas did not answer; try again."
        )
    return False


class EngineFeedback:
    """A replica's way to its engine.

    Attributes:
        engine_endpoint: Where the engine must listen.
    """

    def __init__(self) -> None:
        self.engine_endpoint = new_endpoint()
        self._sender = FeedbackSender(self.engine_endpoint)

    def send(self, engine_ids: Sequence[str], feedback: Feedback) -> bool:
        """Send it to the engine; False without a stream or an engine."""
        if not engine_ids:
            return False
        return self._sender.send(ReaderFeedback(tuple(engine_ids), feedback))

    def close(self) -> None:
        """Free the endpoint; a second call does nothing."""
        self._sender.close()


def engine_ids(request_id: str, live: Mapping[str, Sequence[str]]) -> list[str]:
    """What the engine calls the live answers to a request.

    Args:
        request_id: What its client calls it.
        live: The engine's names by those it was given: for a completion, the client's
            name and the number of the prompt.
    """
    if request_id.startswith("cmpl-"):
        of_prompt = re.compile(re.escape(request_id) + r"-\d+")
        given = [name for name in live if of_prompt.fullmatch(name)]
    else:
        given = [request_id]
    return [engine_id for name in given for engine_id in live.get(name, ())]


async def _body(request: Request) -> object:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ExpectationError(
                "body", f"{body[:20]!r}", f"at most {MAX_BODY_BYTES} bytes"
            )
    try:
        parsed: object = json.loads(body)
    except _JSON_ERRORS:
        raise ExpectationError("body", body.decode(errors="replace"), "JSON") from None
    return parsed


def _unknown(request_id: str) -> Response:
    message = (
        f"request_id={request_id!r:.300} is not the id of a stream that is being written: "
        "it must be the `id` of its chunks, whatever the request called itself."
    )
    return _refused(404, "NotFoundError", message, "request_id")


def _too_often(wait_s: float) -> Response:
    again_s = retry_after_s(wait_s)
    message = f"Too many words of readers: try again in {again_s} s."
    refused = _refused(429, "RateLimitError", message, "request_id")
    refused.headers["retry-after"] = str(again_s)
    return refused


def _refused(code: int, kind: str, message: str, field: str) -> Response:
    error = {"message": message, "type": kind, "param": field, "code": code}
    return JSONResponse({"error": error}, status_code=code)
