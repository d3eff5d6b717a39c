"""Readers on the real engine on CPU: away, of reasoning, of steps of tokens, and nobody."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.reasoning import ReasoningParserManager
from vllm.reasoning.basic_parsers import BaseThinkingReasoningParser
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.executor.abstract import Executor

from deployments.tiny_model import ensure_tiny_model
from qoe import PROFILES, Feedback
from scheduler.andes import AndesScheduler
from scheduler.settings import FEEDBACK_ENDPOINT_ENV
from telemetry.channel import new_endpoint
from telemetry.feedback import FeedbackSender, ReaderFeedback

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}


class UntilALetter(BaseThinkingReasoningParser):
    """The model writes letters; one of them ends what it thinks."""

    start_token = "<|unused0|>"
    end_token = "e"


class Engine:
    """vLLM's own engine in this process, so that its scheduler can be looked into."""

    def __init__(self, **engine_args: Any) -> None:
        config = EngineArgs(
            model=str(ensure_tiny_model()),
            dtype="float32",
            enforce_eager=True,
            block_size=128,
            max_model_len=2048,
            max_num_seqs=48,
            distributed_executor_backend="uni",
            scheduler_cls=AndesScheduler,
            **engine_args,
        ).create_engine_config()
        self._engine = LLMEngine(config, Executor.get_class(config), log_stats=False)
        self.scheduler: AndesScheduler = self._engine.engine_core.engine_core.scheduler
        self.written: dict[str, list[int]] = {}
        self.most_in_a_step = 0

    def ask(
        self, name: str, prompt: list[int], *, stream: bool = True, **params: Any
    ) -> str:
        """Submit a request; what the scheduler calls it."""
        kind = RequestOutputKind.CUMULATIVE if stream else RequestOutputKind.FINAL_ONLY
        params = {"temperature": 0.0, "ignore_eos": True, "output_kind": kind, **params}
        before = set(self.scheduler.requests)
        self._engine.add_request(
            name, {"prompt_token_ids": prompt}, SamplingParams(**params)
        )
        self.written[name] = []
        (request_id,) = set(self.scheduler.requests) - before
        return request_id

    def step(self) -> None:
        for output in self._engine.step():
            tokens = list(output.outputs[0].token_ids)
            grown = len(tokens) - len(self.written[output.request_id])
            self.most_in_a_step = max(self.most_in_a_step, grown)
            self.written[output.request_id] = tokens

    def until(self, condition: Callable[[], bool], limit_s: float) -> bool:
        """Step until it holds; whether it did within so many seconds."""
        end_s = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end_s or not self._engine.has_unfinished_requests():
                return False
            self.step()
        return True

    def finish(self) -> None:
        while self._engine.has_unfinished_requests():
            self.step()

    def close(self) -> None:
        pool = self.scheduler.kv_cache_manager.block_pool
        assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1
        assert not len(self.scheduler.streams)
        assert not len(self.scheduler.reasoning)
        assert self.scheduler.plan_failures_total == 0
        self._engine.engine_core.shutdown()


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Engine]]:
    for name, value in CPU_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    engines: list[Engine] = []

    def make(**engine_args: Any) -> Engine:
        engines.append(Engine(**engine_args))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def prompt(number: int, tokens: int = 60) -> list[int]:
    return [10 + (7 * number + i * i) % 180 for i in range(tokens)]


def test_a_paused_stream_is_the_first_to_give_way_and_is_finished(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = new_endpoint()
    monkeypatch.setenv(FEEDBACK_ENDPOINT_ENV, endpoint)
    reader = {"qoe_ttft_s": 1.0, "qoe_tds": 4.8}
    with FeedbackSender(endpoint) as replica:
        engine = start(num_gpu_blocks_override=17)
        streams = engine.scheduler.streams
        # Alike in everything but the pause.
        paused, reading = (
            engine.ask(name, prompt(number), max_tokens=900, extra_args=reader)
            for number, name in enumerate("pr")
        )
        assert engine.until(lambda: min(map(len, engine.written.values())) > 400, 60.0)

        def is_resident(request_id: str) -> bool:
            return request_id in {r.request_id for r in engine.scheduler.running}

        assert replica.send(ReaderFeedback((paused,), Feedback(4.0, True)))
        assert engine.until(lambda: streams.readers.num_away == 1, 5.0)
        assert is_resident(paused), "nobody needs its memory yet"
        # Together with what is free, the memory of one of the two is enough for them.
        for number in range(2, 11):
            engine.ask(str(number), prompt(number), max_tokens=300, extra_args=reader)
        assert engine.until(lambda: not is_resident(paused), 10.0)
        assert is_resident(reading)
        assert replica.send(ReaderFeedback((paused,), Feedback(0.0, False)))
        assert engine.until(lambda: is_resident(paused), 60.0)
        engine.finish()
    assert len(engine.written["p"]) == len(engine.written["r"]) == 900


def test_reasoning_is_hidden_from_its_reader_until_it_ends(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsers = ReasoningParserManager.reasoning_parsers
    monkeypatch.setitem(parsers, "until-a-letter", UntilALetter)
    engine = start(reasoning_parser="until-a-letter")
    readers, end = engine.scheduler.streams.readers, ord("e") - ord("!")
    chat, completion = f"chatcmpl-{uuid.uuid4()}", f"cmpl-{uuid.uuid4()}-0"
    slots = {}
    for name in (chat, completion):
        request_id = engine.ask(name, prompt(3), max_tokens=400)
        slots[name] = engine.scheduler.streams.slots([request_id])[0]
    assert engine.until(lambda: len(engine.written[chat]) > 1, 30.0)
    assert end not in engine.written[chat]
    assert readers.delivered_tokens[slots[chat]] == 0
    assert readers.delivered_tokens[slots[completion]] > 0
    assert engine.until(lambda: end in engine.written[chat], 60.0)
    engine.step()
    written = engine.written[chat]
    assert readers.delivered_tokens[slots[chat]] == len(written) - written.index(end) - 1
    engine.finish()
    assert engine.scheduler.streams.mean_output_tokens == 400


def test_an_answer_in_one_piece_is_nobodys_unless_it_says_whose(start: Any) -> None:
    engine = start()
    readers = engine.scheduler.streams.readers
    default, nobody = engine.scheduler.settings.default_expectation, PROFILES["none"]
    asked = [
        ({"stream": True}, default.tds),
        ({"stream": False}, nobody.expectation.tds),
        ({"stream": False, "extra_args": {"qoe_tds": 7.0}}, 7.0),
        ({"stream": False, "extra_args": {"qoe_profile": "reading"}}, 4.8),
        ({"stream": False, "extra_args": {"qoe_weight": 2.0}}, nobody.expectation.tds),
    ]
    for number, (request, tds) in enumerate(asked):
        request_id = engine.ask(str(number), prompt(number), max_tokens=4, **request)
        assert readers.tds[engine.scheduler.streams.slots([request_id])][0] == tds
    engine.finish()


def test_steps_of_several_tokens_are_counted_token_by_token(start: Any) -> None:
    speculative = {
        "method": "ngram",
        "num_speculative_tokens": 4,
        "prompt_lookup_max": 3,
        "prompt_lookup_min": 1,
    }
    engine = start(speculative_config=speculative)
    for number in range(4):
        engine.ask(str(number), prompt(number), max_tokens=200)
    engine.finish()
    assert engine.most_in_a_step > 1, "nothing was guessed right"
    assert engine.scheduler.streams.tokens_total == 4 * 200
    assert engine.scheduler.streams.mean_output_tokens == 200
