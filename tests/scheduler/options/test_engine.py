"""Options of vLLM on its real engine: the answers are those of its own scheduler."""

import json
from collections.abc import Callable, Iterator

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from vllm import PoolingParams, SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.lora.request import LoRARequest
from vllm.sampling_params import StructuredOutputsParams
from vllm.v1.engine.llm_engine import LLMEngine
from vllm.v1.executor.abstract import Executor

from deployments.tiny_model import ensure_tiny_model
from scheduler.andes import AndesScheduler
from scheduler.replan import PlanClock

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
    """vLLM's own engine in this process, so that its scheduler can be looked into.

    Args:
        policy: Takes the place of ours, and plans every step.
        overlaps: Whether a step is planned while the last one runs.
    """

    def __init__(self, *, policy=None, overlaps=False, **engine_args) -> None:
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
        # vLLM turns it off on CPU because it gains nothing there; it works all the same.
        config.scheduler_config.async_scheduling = overlaps
        self._engine = LLMEngine(config, Executor.get_class(config), log_stats=False)
        self.scheduler = self._engine.engine_core.engine_core.scheduler
        if policy is not None:
            self.scheduler._policy = policy
            self.scheduler._plan_clock = PlanClock(0.0)

    def answers(self, params, **of_request) -> list:
        """What comes of the prompts, all at once: token ids, or a vector."""
        told: dict = {}
        for number, prompt in enumerate(PROMPTS):
            more = {name: make(number) for name, make in of_request.items()}
            self._engine.add_request(
                str(number), {"prompt_token_ids": prompt}, params, **more
            )
        while self._engine.has_unfinished_requests():
            for output in self._engine.step():
                told[output.request_id] = output.outputs
        return [told[str(number)] for number in range(len(PROMPTS))]

    def tokens(self, params, **of_request) -> list[list[int]]:
        answers = self.answers(params, **of_request)
        return [list(outputs[0].token_ids) for outputs in answers]

    def close(self) -> None:
        self._engine.engine_core.shutdown()


@pytest.fixture
def start(monkeypatch) -> Iterator[Callable[..., Engine]]:
    """Engines with these options; at the end nothing may be left in them."""
    for name, value in CPU_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    engines: list[Engine] = []

    def make(**engine_args) -> Engine:
        engines.append(Engine(**engine_args))
        return engines[-1]

    yield make
    for engine in engines:
        scheduler = engine.scheduler
        pool = scheduler.kv_cache_manager.block_pool
        assert not scheduler.requests
        assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1
        if isinstance(scheduler, AndesScheduler):
            assert not len(scheduler.streams)
            assert scheduler.streams.finished_total == scheduler.streams.accepted_total > 0
            assert scheduler.plan_failures_total == 0
        engine.close()


def require_the_tokens_of_vllm(start, by_chance, params, options, **of_request) -> None:
    """Of our own policy, and of one that takes memory away as often as it can."""
    options = SCARCE | options
    expected = start(**options).tokens(params, **of_request)
    ours = start(scheduler_cls=AndesScheduler, **options)
    assert ours.tokens(params, **of_request) == expected
    assert ours.scheduler.activity._levers[0] > 0
    wild = by_chance(seed=1, preempts=0.1, admits=0.5, shortens=0.3)
    engine = start(scheduler_cls=AndesScheduler, policy=wild, **options)
    assert engine.tokens(params, **of_request) == expected
    assert engine.scheduler.streams.preemptions_total >= 20


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"overlaps": True}, id="async scheduling"),
        pytest.param({"enable_prefix_caching": False}, id="prefix cache off"),
        pytest.param({"enable_chunked_prefill": False}, id="chunked prefill off"),
        pytest.param({"long_prefill_token_threshold": 64}, id="long prompts in parts"),
        pytest.param(
            {
                "speculative_config": {
                    "method": "ngram",
                    "num_speculative_tokens": 3,
                    "prompt_lookup_max": 3,
                }
            },
            id="speculative decoding",
        ),
    ],
)
def test_an_option_gives_the_tokens_that_vllm_gives(start, by_chance, options) -> None:
    require_the_tokens_of_vllm(start, by_chance, SamplingParams(**GREEDY), options)


def test_a_kv_connector_gives_the_tokens_that_vllm_gives(
    start, by_chance, tmp_path
) -> None:
    """One that keeps the KV of prompts in files; vLLM's for host memory need a GPU."""
    connector = {
        "kv_connector": "ExampleConnector",
        "kv_role": "kv_both",
        "kv_connector_extra_config": {"shared_storage_path": str(tmp_path)},
    }
    params = SamplingParams(**GREEDY)
    options = {"kv_transfer_config": connector}
    require_the_tokens_of_vllm(start, by_chance, params, options)
    assert [*tmp_path.iterdir()]


# Of the tiny model's tokenizer, by token.
LETTERS = sorted(pre_tokenizers.ByteLevel.alphabet())


def test_grammars_are_kept_to(start, by_chance) -> None:
    wanted = StructuredOutputsParams(regex="(ab){20,30}")
    params = SamplingParams(temperature=0.0, max_tokens=100, structured_outputs=wanted)
    require_the_tokens_of_vllm(start, by_chance, params, {})
    for tokens in start(scheduler_cls=AndesScheduler, **SCARCE).tokens(params):
        # The last one says that it ends.
        text = "".join(LETTERS[token] for token in tokens[:-1])
        assert text in {"ab" * count for count in range(20, 31)}


@pytest.fixture
def adapter(tmp_path) -> Callable[[int], LoRARequest]:
    """Three adapters of the tiny model, made of random numbers."""

    def make(number: int) -> LoRARequest:
        number %= 3
        folder = tmp_path / str(number)
        if not folder.exists():
            folder.mkdir()
            config = {"peft_type": "LORA", "r": 8, "lora_alpha": 64}
            config["target_modules"] = ["q_proj"]
            (folder / "adapter_config.json").write_text(json.dumps(config))
            model = json.loads((ensure_tiny_model() / "config.json").read_text())
            size, layers = model["hidden_size"], model["num_hidden_layers"]
            heads_size = model["num_attention_heads"] * model["head_dim"]
            torch.manual_seed(number)
            name = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
            weights = {name.format(i, "A"): torch.randn(8, size) for i in range(layers)}
            for i in range(layers):
                weights[name.format(i, "B")] = torch.randn(heads_size, 8)
            save_file(weights, folder / "adapter_model.safetensors")
        return LoRARequest(str(number), number + 1, str(folder))

    return make


def test_adapters_of_which_one_fits_take_turns(start, by_chance, adapter) -> None:
    params = SamplingParams(**GREEDY | {"max_tokens": 20})
    options = {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 3}
    require_the_tokens_of_vllm(start, by_chance, params, options, lora_request=adapter)
    adapted = start(**SCARCE, **options)
    with_them, without = (
        adapted.tokens(params, lora_request=adapter),
        adapted.tokens(params),
    )
    assert with_them != without


def test_a_pooling_model_gives_the_vectors_that_vllm_gives(start) -> None:
    params = PoolingParams(task="embed")
    options = {"runner": "pooling", "convert": "embed", **SCARCE}
    expected = start(**options).answers(params)
    engine = start(scheduler_cls=AndesScheduler, **options)
    for told, plain in zip(engine.answers(params), expected, strict=True):
        assert torch.allclose(told.data, plain.data, atol=1e-5)


def test_an_engine_with_an_order_of_its_own_does_not_start(start) -> None:
    with pytest.raises(ValueError, match="scheduling_policy='priority' is invalid"):
        start(scheduler_cls=AndesScheduler, scheduling_policy="priority")


def test_an_engine_that_is_only_measured_keeps_an_order_of_its_own(
    start, monkeypatch
) -> None:
    monkeypatch.setenv("ANDES_SCHEDULER_SETTINGS", '{"policy": "fcfs"}')
    options = {"scheduling_policy": "priority", **SCARCE}
    params, last_first = SamplingParams(**GREEDY), lambda number: -number
    expected = start(**options).tokens(params, priority=last_first)
    engine = start(scheduler_cls=AndesScheduler, **options)
    assert engine.tokens(params, priority=last_first) == expected
