"""A stream leaves one engine and goes on at another: a real engine that is both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import pytest
from ray.cloudpickle import cloudpickle
from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

from deployments.moves.contract import MovedError, Piece
from deployments.moves.engine_client import EngineSource, is_movable
from deployments.moves.streams import Moves
from deployments.reader import Reader
from qoe import Expectation
from qoe.fields import RESUME_FIELD
from router.mover import MoveSettings

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

PROMPT: dict[str, Any] = {
    "type": "token",
    "prompt_token_ids": [10 + (7 * i) % 180 for i in range(140)],
}
COMING_S = 30.0


def sampling(**more: Any) -> SamplingParams:
    given = {"temperature": 0.0, "max_tokens": 60, "ignore_eos": True} | more
    return SamplingParams(output_kind=RequestOutputKind.DELTA, **given)


@pytest.fixture
def source(llm: Any) -> EngineSource:
    return EngineSource(llm.generate, PROMPT, sampling(), "chatcmpl-one", {"priority": 0})


async def read(outputs: Any, count: int | None = None) -> tuple[list[int], str]:
    """The tokens and the text of so many outputs, or of all."""
    tokens: list[int] = []
    text = ""
    while count is None or count > 0:
        output = await anext(outputs, None)
        if output is None:
            break
        (answer,) = output.outputs
        tokens += answer.token_ids
        text += answer.text
        count = None if count is None else count - 1
    return tokens, text


async def until(look: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + COMING_S
    while not look():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.001)


async def is_free(llm: Any) -> None:
    await until(lambda: not llm.output_processor.request_states)


@pytest.mark.parametrize("cut", [0, 1, 30])
async def test_a_stream_that_moved_is_the_whole_answer(
    llm: Any, source: EngineSource, cut: int
) -> None:
    whole = await read(llm.generate(PROMPT, sampling(), "whole"))
    outputs = source.start({})
    begun = asyncio.create_task(read(outputs, max(cut, 1)))
    await until(lambda: source.queue is not None)
    tokens, text = await begun if cut else ([], "")
    assert source.stop()
    with pytest.raises(MovedError):
        await (read(outputs) if cut else begun)
    await is_free(llm)
    reader = Reader({}, Expectation(1.0, 4.8), time.monotonic)
    reader.deliver(tokens)
    # As Serve carries it.
    asked = cloudpickle.loads(
        cloudpickle.dumps(source.hand_over("peer", reader.resume_fields(), 1))
    )
    llm.moves = SimpleNamespace(home="peer", outputs=lambda s, _: s.start({}))
    try:
        pieces = [piece async for piece in llm.take_over(asked)]
    finally:
        llm.moves = None
    moved = [source.output(piece) for piece in pieces]
    assert tokens + [t for o in moved for t in o.outputs[0].token_ids] == whole[0]
    assert text + "".join(o.outputs[0].text for o in moved) == whole[1]
    assert [o.finished for o in moved] == [False] * (len(moved) - 1) + [True]
    assert moved[-1].outputs[0].finish_reason == "length"
    assert moved[-1].prompt_token_ids == PROMPT["prompt_token_ids"]


async def test_only_one_of_two_requests_of_one_name_is_stopped(
    llm: Any, source: EngineSource
) -> None:
    other = EngineSource(llm.generate, PROMPT, sampling(), "chatcmpl-one", {})
    stopped, going_on = source.start({}), other.start({})
    await read(stopped, 1)
    begun = await read(going_on, 1)
    source.stop()
    with pytest.raises(MovedError):
        await read(stopped)
    rest = await read(going_on)
    assert len(begun[0] + rest[0]) == 60


async def test_a_client_that_leaves_frees_the_engine(
    llm: Any, source: EngineSource
) -> None:
    async with aclosing(source.start({})) as outputs:
        await read(outputs, 3)
    await is_free(llm)


async def test_what_was_meant_for_another_replica_is_refused(
    llm: Any, source: EngineSource
) -> None:
    with pytest.raises(ValueError, match="handed over to peer"):
        await anext(llm.take_over(source.hand_over("peer", {}, 1)))


class Peer:
    """Another replica, which has the rest of an answer and dies on the way to its end."""

    home = "home"

    def __init__(self, reports: Any, whole: list[int], text: str) -> None:
        self.reports = reports
        self._whole, self._text = whole, text
        self.asked: list[list[int]] = []

    def replicas(self) -> list[str]:
        return ["home", "peer"]

    def ask(self, hand_over: Any) -> Any:
        received = hand_over.params.extra_args.get(RESUME_FIELD, [])
        self.asked.append(received)
        return self._Response(
            self._whole[len(received) :][:20], self._text[len(received) :]
        )

    class _Response:
        def __init__(self, tokens: list[int], text: str) -> None:
            self._pieces = zip(tokens, text, strict=False)

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Piece:
            for token, letter in self._pieces:
                return Piece(letter, [token])
            raise ConnectionError("the peer is gone")

        def cancel(self) -> None:
            pass


@pytest.mark.parametrize("cut", [0, 10])
async def test_a_stream_whose_new_replica_dies_comes_back_whole(
    llm: Any, always: MoveSettings, reports: Any, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = sampling(max_tokens=400)
    whole = await read(llm.generate(PROMPT, params, "whole"))
    # The tiny model's tokens are letters.
    assert len(whole[0]) == len(whole[1]) == 400
    peer = Peer(reports, *whole)
    moves = Moves(peer, always, Expectation(1.0, 4.8))
    source = EngineSource(llm.generate, PROMPT, params, "chatcmpl-one", {})
    if not cut:
        await llm.pause_generation(mode="keep", clear_cache=False)
    outputs = moves.outputs(source)
    begun = await read(outputs, cut) if cut else ([], "")
    if cut:
        await llm.pause_generation(mode="keep", clear_cache=False)
    rest = asyncio.create_task(read(outputs))
    await until(lambda: source.queue)
    # Others have taken its place.
    monkeypatch.setattr(llm.scheduler_config, "max_num_queued_reqs", 0)
    try:
        await until(lambda: peer.asked or moves.look())
        await until(lambda: moves.counts["returned"])
    finally:
        await llm.resume_generation()
    tokens, text = await rest
    assert begun[0] + tokens == whole[0]
    assert begun[1] + text == whole[1]
    assert len(peer.asked[0]) >= cut
    assert peer.asked[0] == whole[0][: len(peer.asked[0])]
    assert moves.counts == {"asked": 1, "moved": 1, "returned": 1}
    assert len(moves) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"n": 2, "temperature": 1.0},
        {"seed": 3},
        {"logprobs": 1},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"bad_words": ["river"]},
        {"structured_outputs": StructuredOutputsParams(json="{}")},
        {"extra_args": {"kv_transfer_params": {}}},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_what_a_move_would_lose_stays(more: dict[str, Any]) -> None:
    assert is_movable(PROMPT, sampling(), {})
    assert not is_movable(PROMPT, sampling(**more), {})


async def test_whole_answers_and_other_prompts_stay() -> None:
    whole = SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY)
    assert not is_movable(PROMPT, whole, {})
    assert not is_movable(PROMPT | {"type": "multimodal"}, sampling(), {})
    assert not is_movable(PROMPT, sampling(), {"lora_request": object()})
