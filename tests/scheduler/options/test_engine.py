"""Options of vLLM on its real engine: the answers are those of its own scheduler."""

from collections.abc import Callable, Iterator

import pytest
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.executor.abstract import Executor

from deployments.tiny_model import ensure_tiny_model
from scheduler.andes import AndesScheduler

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

CPU_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
# 1,024 tokens of KV memory for twelve answers of 60 and their prompts: most have to wait.
SCARCE = {"num_gpu_blocks_override": 9, "max_num_seqs": 8, "max_model_len": 512}
PROMPTS = [[10 + (7 * i + j * j) % 180 for j in range(100 + 5 * i)] for i in range(12)]
GREEDY = {"temperature": 0.0, "max_tokens": 60, "ignore_eos": True}


class Engine:
    """vLLM's own engine in this process, so that its scheduler can be looked into."""

    def __init__(self, **engine_args) -> None:
        given = {
            "model": str(ensure_tiny_model()),
            "dtype": "float32",
            "enforce_eager": True,
            "block_size": 128,
            "max_model_len": 2048,
            "distributed_executor_backend": "uni",
            **engine_args,
        }
        config = EngineArgs(**given).create_engine_config()
        self._engine = LLMEngine(config, Executor.get_class(config), log_stats=False)
        self.scheduler = self._engine.engine_core.engine_core.scheduler

    def answers(self, params: SamplingParams) -> list[list[int]]:
        """The tokens that come of the prompts, all at once."""
        told: dict[str, list[int]] = {}
        for number, prompt in enumerate(PROMPTS):
            self._engine.add_request(str(number), {"prompt_token_ids": prompt}, params)
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                told[output.request_id] = list(output.outputs[0].token_ids)
        return [told[str(number)] for number in range(len(PROMPTS))]

    def close(self) -> None:
        self._engine.engine_core.shutdown()


@pytest.fixture
def start(monkeypatch) -> Iterator[Callable[..., Engine]]:
    for name, value in CPU_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    engines: list[Engine] = []

    def make(**engine_args) -> Engine:
        engines.append(Engine(**engine_args))
        return engines[-1]

    yield make
    for engine in engines:
        scheduler = engine.scheduler
        if isinstance(scheduler, AndesScheduler):
            assert not len(scheduler.streams)
            assert scheduler.streams.finished_total == scheduler.streams.accepted_total > 0
            assert scheduler.plan_failures_total == 0
        engine.close()


OPTIONS = {
    "speculative decoding": {
        "speculative_config": {
            "method": "ngram",
            "num_speculative_tokens": 3,
            "prompt_lookup_max": 3,
        }
    },
    "prefix cache off": {"enable_prefix_caching": False},
    "chunked prefill off": {"enable_chunked_prefill": False},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_gives_the_tokens_that_vllm_gives(start, name) -> None:
    params = SamplingParams(**GREEDY)
    expected = start(**SCARCE, **OPTIONS[name]).answers(params)
    engine = start(scheduler_cls=AndesScheduler, **SCARCE, **OPTIONS[name])
    assert engine.answers(params) == expected
    assert engine.scheduler.activity._levers[0] > 0
