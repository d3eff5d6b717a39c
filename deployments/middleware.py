"""QoE fields are checked where requests enter: the engine never sees a bad one.

Everything else about a request is vLLM's to judge, in vLLM's own words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from deployments.access.caller import (
    Caller,
    ShareBy,
    caller_of,
    path_of,
    tenant_fields,
)
from deployments.asgi import ASGIApp, Receive, Scope, Send, read_all, replay
from deployments.continuation import continuation_refusal
from deployments.json_bodies import (
    MAX_DEPTH,
    can_be_written,
    misshapen,
    nests_too_deep,
)
from qoe import Caps, Expectation, ExpectationError, admit, parse_progress
from qoe.expectation import named, shown
from qoe.fields import EXPECTATION_FIELDS, PREFIX, RESUME_FIELD
from qoe.tenant import SHARE_FIELD, TENANT_FIELD, parse_tenant

FIELDS_KEY = "vllm_xargs"
# Of vLLM's endpoint for tokens, which takes its own parameters as they are.
PARAMS_KEY, EXTRA_KEY = "sampling_params", "extra_args"
FEEDBACK_PREFIX = "/v1/qoe/"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that must not reach the engine, in the shape of vLLM's own errors."""

    field: str
    message: str

    type = "BadRequestError"
    code = 400

    def body(self) -> bytes:
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.field,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


class RequestRefusedError(Exception):
    """`refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def refusal_of(body: Mapping[str, object], default: Expectation) -> Refusal | None:
    """Why the request must be refused, or None; for whoever needs no key.

    Args:
        body: What the client set of it.
        default: What the deployment expects for requests that say nothing.
    """
    try:
        admitted(body, default, Caller(None, Caps()))
    except RequestRefusedError as error:
        return error.refusal
    return None


def admitted(
    body: Mapping[str, object], default: Expectation, caller: Caller
) -> dict[str, object]:
    """The QoE fields that the request must have beyond those that it has; mostly none.

    Args:
        body: What the client set of it. QoE fields do not belong into its top level;
            `vllm_xargs` that are no mapping are vLLM's to refuse.
        default: What the deployment expects for requests that say nothing.
        caller: Whoever asks.

    Raises:
        RequestRefusedError: It must be refused.
    """
    for name in body:
        if name.startswith(PREFIX):
            raise RequestRefusedError(Refusal(named(name), _misplaced(name, body[name])))
    _missing(body, _extra_args(body), default, caller)
    fields = body.get(FIELDS_KEY) or {}
    if not isinstance(fields, Mapping):
        return {}
    return _missing(body, fields, default, caller)


def _missing(
    body: Mapping[str, object],
    fields: Mapping[str, object],
    default: Expectation,
    caller: Caller,
) -> dict[str, object]:
    added = _admit(body, fields, default, caller)
    # Nobody watches the tokens of an answer in one piece: it claims nothing by itself.
    is_stream = body.get("stream") not in (None, False)
    claims = is_stream or any(name in fields for name in EXPECTATION_FIELDS)
    return added if claims else {}


def _admit(
    body: Mapping[str, object],
    fields: Mapping[str, object],
    default: Expectation,
    caller: Caller,
) -> dict[str, object]:
    try:
        added = admit(fields, default, caller.caps, caller.profile)
        parse_tenant(fields)
        received = parse_progress(fields).tokens
    except ExpectationError as error:
        raise RequestRefusedError(Refusal(error.field, str(error))) from None
    if received and (why := continuation_refusal(body, received)):
        raise RequestRefusedError(Refusal(RESUME_FIELD, why))
    return added


def _require_no_tenant(body: Mapping[str, object]) -> None:
    """Refuse what a client says of whose it is: it could be somebody else each time."""
    given = body.get(FIELDS_KEY)
    fields = {**(given if isinstance(given, Mapping) else {}), **_extra_args(body)}
    for name in (TENANT_FIELD, SHARE_FIELD):
        if name in fields:
            expected = "left out: the deployment says whose a request is"
            error = ExpectationError(name, fields[name], expected)
            raise RequestRefusedError(Refusal(name, str(error)))


def _extra_args(body: Mapping[str, object]) -> Mapping[str, object]:
    params = body.get(PARAMS_KEY)
    extra = params.get(EXTRA_KEY) if isinstance(params, Mapping) else None
    return extra if isinstance(extra, Mapping) else {}


def _misplaced(name: str, value: object) -> str:
    given = f"{named(name)}={shown(value)}"
    return f"{given} is at the top level of the request: {_belongs(name)}"


def _belongs(name: str) -> str:
    where = f'"{FIELDS_KEY}"'
    return f'it belongs into {where} of the body, as in {where}: {{"{named(name)}": ...}}.'


class QoEFieldsMiddleware:
    """Answers 400 to a request with a bad QoE field, and is not there for the others.

    Invariants:
        The app reads the same body, message by message, and then the same disconnect;
            where whoever asks has a profile, caps or a share of its own, the same with the
            fields that say so.
        What the app sends is not touched.
        A body that is not a JSON object goes through as it came, unless nobody could read
            it: it nests too deep, or an answer that quotes it could not be written.
        A QoE field is refused where nobody would look for it: beside `vllm_xargs`, in the
            query, in a header.
    """

    def __init__(
        self, app: ASGIApp, *, default: Expectation, share_by: ShareBy = "key"
    ) -> None:
        self._app = app
        self._default = default
        self._share_by = share_by

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _may_carry_fields(scope):
            await self._app(scope, receive, send)
            return
        if refusal := _refusal_of_scope(scope):
            await _respond(refusal, send)
            return
        messages = await read_all(receive)
        body = b"".join(m.get("body", b"") for m in messages)
        try:
            changed = self._admitted(scope, body)
        except RequestRefusedError as error:
            await _respond(error.refusal, send)
            return
        if changed is not None:
            scope["headers"] = _with_length(scope["headers"], len(changed))
            whole = {"type": "http.request", "body": changed, "more_body": False}
            messages = [whole, *(m for m in messages if m["type"] != "http.request")]
        await self._app(scope, replay(messages, receive), send)

    def _admitted(self, scope: Scope, body: bytes) -> bytes | None:
        """The body with more fields; None for the body as it is.

        Raises:
            RequestRefusedError: It must be refused.
        """
        if nests_too_deep(body):
            raise RequestRefusedError(_TOO_DEEP)
        try:
            request = json.loads(body)
        except ValueError:
            return None
        if not isinstance(request, dict):
            return None
        if shape := misshapen(request):
            raise RequestRefusedError(Refusal(*shape))
        _require_no_tenant(request)
        caller, changed = caller_of(scope), dict(request)
        tenant = tenant_fields(scope, request, self._share_by)
        fields = request.get(FIELDS_KEY) or {}
        # Those that are no mapping are vLLM's to refuse.
        if (added := self._added(request, caller) | tenant) and isinstance(fields, dict):
            changed[FIELDS_KEY] = fields | added
        if isinstance(params := request.get(PARAMS_KEY), dict):
            extra = _extra_args(request)
            if added := _missing(request, extra, self._default, caller) | tenant:
                changed[PARAMS_KEY] = params | {EXTRA_KEY: {**extra, **added}}
        if not can_be_written(body, request):
            raise RequestRefusedError(_CANNOT_BE_SERVED)
        return None if changed == request else json.dumps(changed).encode()

    def _added(self, request: Mapping[str, object], caller: Caller) -> dict[str, object]:
        return admitted(request, self._default, caller)


_TOO_DEEP = Refusal(
    "body", f"The body nests too deep: arrays and objects may nest to {MAX_DEPTH} levels."
)

_CANNOT_BE_SERVED = Refusal(
    "body",
    "The body cannot be served: numbers must be finite, integers must fit into 64 bits, "
    "and texts must be Unicode.",
)


def _refusal_of_scope(scope: Scope) -> Refusal | None:
    """Why a request must be refused before its body is read, or None."""
    headers = [name.decode("latin-1").lower() for name, _ in scope["headers"]]
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
    for where, names in (("a header", headers), ("the query", [n for n, _ in query])):
        for name in names:
            field = name.replace("-", "_").removeprefix("x_")
            if field.startswith(PREFIX):
                return Refusal(
                    named(field), f"{named(name)} is in {where}: {_belongs(field)}"
                )
    return None


def _may_carry_fields(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    # Feedback has fields of its own, and its own refusals.
    if path_of(scope).startswith(FEEDBACK_PREFIX):
        return False
    # vLLM takes `application/json`, and its framework what ends in `+json`.
    return any(
        name == b"content-type" and b"json" in value.lower()
        for name, value in scope["headers"]
    )


def _with_length(
    headers: list[tuple[bytes, bytes]], length: int
) -> list[tuple[bytes, bytes]]:
    kept = [pair for pair in headers if pair[0] != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


async def _respond(refusal: Refusal, send: Send) -> None:
    body = refusal.body()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": refusal.code, "headers": headers})
    await send({"type": "http.response.body", "body": body})
