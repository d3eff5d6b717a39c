"""The OpenAI-compatible endpoint under test, and what it says about its models."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import aiohttp
import msgspec
import numpy as np

from bench.errors import UserError
from bench.load import PlannedStream

# Where OpenAI's own clients take it from.
API_KEY_ENV = "OPENAI_API_KEY"
_MODELS_TIMEOUT_S = 30.0
# Ids that every vocabulary has and that are no special tokens in the usual ones.
_PROMPT_IDS = (10, 201)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a run sends its requests, and what all of them have in common.

    Attributes:
        base_url: Up to and including `/v1`, without a slash at the end.
        model: Name sent as `model`.
        ignore_eos: Ask for answers of exactly the planned length (a vLLM extension).
        seed: Of the prompts; also sent as the sampling seed.
        cache_salt: Keeps prompts that a server has seen in another run from hitting its
            prefix cache (a vLLM extension); None sends none.
        connect_timeout_s: Limit for opening a connection.
        read_timeout_s: Limit for the silence between two reads of one stream.
    """

    base_url: str
    model: str
    ignore_eos: bool = True
    seed: int = 0
    cache_salt: str | None = None
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 600.0


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model by its served name; `max_context_tokens` is None where nobody said."""

    name: str
    max_context_tokens: int | None


class _Metadata(msgspec.Struct):
    max_request_context_length: int | None = None


class _Card(msgspec.Struct):
    """vLLM states the limit as `max_model_len`, Ray Serve's own ingress in `metadata`."""

    id: str
    max_model_len: int | None = None
    metadata: _Metadata | None = None

    @property
    def max_context_tokens(self) -> int | None:
        stated = self.metadata.max_request_context_length if self.metadata else None
        return self.max_model_len or stated


class _Cards(msgspec.Struct):
    data: list[_Card]


def authorization() -> dict[str, str]:
    """The header that a guarded endpoint asks for; none where no key is set."""
    key = os.environ.get(API_KEY_ENV)
    return {"Authorization": f"Bearer {key}"} if key else {}


def find_model(base_url: str, name: str | None) -> ServedModel:
    """Ask the endpoint for the model to use: the one named, or else its first.

    A named model that the endpoint does not list is taken as it is, without a limit: a
    gateway may serve more than it lists.

    Raises:
        UserError: Nobody answers at `base_url`, or no model is named and none is listed.
    """
    cards = asyncio.run(_models(base_url))
    if name is None and not cards:
        raise UserError(
            f"{base_url}/models lists no model: name one with --model.", exit_code=1
        )
    for card in cards:
        if name in (None, card.id):
            return ServedModel(card.id, card.max_context_tokens)
    return ServedModel(str(name), None)


async def _models(base_url: str) -> list[_Card]:
    url = f"{base_url}/models"
    timeout = aiohttp.ClientTimeout(total=_MODELS_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=authorization()) as session,
            session.get(url) as got,
        ):
            body = await got.read()
        return msgspec.json.decode(body, type=_Cards).data if got.status == 200 else []
    except msgspec.DecodeError:
        return []
    except (aiohttp.ClientError, OSError) as error:
        raise UserError(
            f"no answer from {url}: {connection_problem(error)}.", exit_code=1
        ) from error


def connection_problem(error: BaseException) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def request_body(endpoint: Endpoint, index: int, planned: PlannedStream) -> bytes:
    """The JSON body of request `index` of a run.

    The prompt is an array of token ids drawn for this request alone: its length is exact
    and it shares no prefix with another one.
    """
    rng = np.random.default_rng([endpoint.seed, index])
    reader = planned.expectation
    fields = {"qoe_ttft_s": reader.ttft_s, "qoe_tds": reader.tds}
    if reader.patience_s is not None:
        fields["qoe_patience_s"] = reader.patience_s
    body: dict[str, object] = {
        "model": endpoint.model,
        "prompt": rng.integers(*_PROMPT_IDS, planned.input_tokens).tolist(),
        "max_tokens": planned.output_tokens,
        "temperature": 0,
        "seed": endpoint.seed,
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "vllm_xargs": fields,
    }
    if endpoint.ignore_eos:
        body["ignore_eos"] = True
    if endpoint.cache_salt is not None:
        body["cache_salt"] = endpoint.cache_salt
    return msgspec.json.encode(body)
