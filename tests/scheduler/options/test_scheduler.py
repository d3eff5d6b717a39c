"""Options of vLLM that change what a scheduler sees: each works, or is refused by name."""

import dataclasses

import pytest
import torch
from vllm.lora.request import LoRARequest
from vllm.pooling_params import PoolingParams
from vllm.sampling_params import SamplingParams
from vllm.v1.kv_cache_interface import KVCacheGroupSpec, SlidingWindowSpec
from vllm.v1.request import Request

from bench.replay.virtual_config import block_hasher
from telemetry import catalogue


def hybrid(config):
    """Half of the layers look back 64 tokens; both halves share one pool of blocks."""
    spec = SlidingWindowSpec(
        block_size=16, num_kv_heads=1, head_size=1, dtype=torch.float32, sliding_window=64
    )
    groups = [*config.kv_cache_groups, KVCacheGroupSpec(["window"], spec)]
    return dataclasses.replace(config, kv_cache_groups=groups)


def request(name: str, prompt: list[int], params, **more) -> Request:
    is_pooled = isinstance(params, PoolingParams)
    return Request(
        name,
        prompt,
        None if is_pooled else params,
        params if is_pooled else None,
        arrival_time=0.0,
        block_hasher=block_hasher(16),
        **more,
    )


OVERLAPPED = [1, 2]
OPTIONS = {
    "none": {},
    "prefix cache off": {"options": {"cache_config.enable_prefix_caching": False}},
    "chunked prefill off": {"options": {"scheduler_config.enable_chunked_prefill": False}},
    "images whole": {"options": {"scheduler_config.disable_chunked_mm_input": True}},
    "long prompts in parts": {
        "options": {"scheduler_config.long_prefill_token_threshold": 24}
    },
    "prompts admitted by their first part": {
        "options": {"scheduler_config.scheduler_reserve_full_isl": False},
    },
    "watermark": {"options": {"scheduler_config.watermark": 0.1}},
    "KV connector": {
        "settings": {"resume": "offload"},
        "transfer_s_per_token": 1e-5,
    },
    "hybrid KV groups": {"kv_cache_config": hybrid, "num_blocks": 64},
    "prefills of data parallel": {"throttles": True},
}


def texts(engine) -> list[int]:
    return [len(engine.delivered_at_s[str(i)]) for i in range(len(engine.delivered_at_s))]


@pytest.mark.parametrize("depth", OVERLAPPED)
@pytest.mark.parametrize("name", OPTIONS)
def test_under_every_option_all_streams_are_served_and_andes_decides(
    start, burst, name, depth
) -> None:
    engine = start(depth=depth, **OPTIONS[name])
    engine.run(burst(40))
    assert texts(engine) == [100] * 40
    assert engine.most_in_flight == depth
    assert engine.scheduler.plan_failures_total == 0
    assert engine.scheduler.activity._levers[0] > 0


@pytest.mark.parametrize("depth", OVERLAPPED)
def test_streams_that_speculate_are_served(start, burst, speculating, depth) -> None:
    engine = start({"speculative_config": speculating}, depth=depth)
    engine.run(burst(40))
    assert texts(engine) == [100] * 40
    assert engine.drafts_accepted > 400
    assert engine.scheduler.plan_failures_total == 0
    assert engine.scheduler.activity._levers[0] > 0


def test_where_steps_do_not_overlap_nobody_runs_on_a_token_that_is_not_sampled(
    start, burst
) -> None:
    """Two stages of a pipeline without async scheduling: vLLM's plain scheduler."""
    options = {
        "scheduler_config.async_scheduling": False,
        "parallel_config.pipeline_parallel_size": 2,
    }
    engine = start(options, depth=2)
    make_result = engine._result

    def checked(output):
        for _, earlier in engine._in_flight:
            for name, tokens in zip(
                earlier.req_ids, earlier.sampled_token_ids, strict=True
            ):
                assert not tokens or name not in output.num_scheduled_tokens
        return make_result(output)

    engine._result = checked
    engine.run(burst(20))
    assert texts(engine) == [100] * 20
    assert engine.most_in_flight == 2
    assert engine.scheduler.plan_failures_total == 0


def test_where_steps_do_not_overlap_only_real_drafts_are_verified(
    start, burst, speculating
) -> None:
    engine = start({"speculative_config": speculating})
    for number, stream in enumerate(burst(10)):
        engine.submit(str(number), stream)
    while engine.scheduler.has_requests():
        output = engine.step()
        resumed = output.scheduled_cached_reqs.resumed_req_ids
        # vLLM pads who comes in, and no one else.
        came = {new.req_id for new in output.scheduled_new_reqs} | resumed
        for name, drafts in output.scheduled_spec_decode_tokens.items():
            assert name in came or -1 not in drafts
    assert texts(engine) == [100] * 10


def test_a_prompt_that_must_be_whole_does_not_wait_for_a_longer_step(
    start, burst, scripted
) -> None:
    """A plan would shorten the steps, and the second prompt fit into none of them."""
    engine = start(
        {"scheduler_config.enable_chunked_prefill": False},
        policy=scripted(token_budget=40),
    )
    engine.run(burst(2, input_tokens=200))
    first, second = (engine.delivered_at_s[str(i)] for i in range(2))
    assert second[0] < first[-1]
    assert engine.scheduler.plan_failures_total == 0


def test_drafts_take_no_tokens_from_a_short_step(
    start, burst, scripted, speculating
) -> None:
    engine = start(
        {"speculative_config": speculating},
        depth=2,
        num_blocks=256,
        policy=scripted(token_budget=20),
    )
    engine.run(burst(16, input_tokens=60, output_tokens=200))
    # Sixteen who decode take sixteen tokens; their drafts come on top.
    assert texts(engine) == [200] * 16
    assert engine.drafts_accepted > 16 * 200 / 3


@pytest.mark.parametrize("depth", OVERLAPPED)
def test_drafts_are_not_taken_for_tokens_of_a_prompt(
    start, burst, speculating, depth
) -> None:
    """A step's time is learned from both, and a prompt's is what patience goes by."""
    engine = start({"speculative_config": speculating}, depth=depth, num_blocks=256)
    prefilled: list[int] = []
    engine.scheduler.step_time.observe = lambda step_s, tokens, streams: prefilled.append(
        tokens
    )
    engine.run(burst(8, output_tokens=200))
    assert engine.drafts_accepted > 8 * 200 / 3
    # The steps of eight prompts, and some hundred in which everybody decodes.
    assert 1 <= sum(tokens > 0 for tokens in prefilled) <= 8
    assert prefilled.count(0) > 50


@pytest.mark.parametrize("depth", OVERLAPPED)
def test_who_waits_for_its_adapter_is_served(start, burst, depth) -> None:
    class OneAdapter:
        max_loras = 1

    engine = start({"lora_config": OneAdapter()}, depth=depth, num_blocks=64)
    add_request = engine.scheduler.add_request

    def with_adapter(request: Request) -> None:
        number = int(request.request_id) % 3 + 1
        request.lora_request = LoRARequest(f"a{number}", number, "/nowhere")
        add_request(request)

    engine.scheduler.add_request = with_adapter
    engine.run(burst(30))
    assert texts(engine) == [100] * 30
    assert engine.scheduler.plan_failures_total == 0


@pytest.mark.parametrize("depth", OVERLAPPED)
def test_requests_without_tokens_are_served_beside_each_other(start, depth) -> None:
    """Of a pooling model: a vector, that comes with the prompt's last token."""
    engine = start(depth=depth)
    scheduler = engine.scheduler
    ended: list[str] = []
    engine._record = lambda outputs: ended.extend(
        o.request_id for of in outputs.values() for o in of.outputs if o.finished
    )
    make_result = engine._result

    def pooled(output):
        result = make_result(output)
        result.pooler_output = [
            torch.zeros(1) if tokens else None for tokens in result.sampled_token_ids
        ]
        result.sampled_token_ids = []
        return result

    engine._result = pooled
    for number in range(60):
        params = PoolingParams(task="embed")
        scheduler.add_request(request(str(number), [number + 3] * 100, params))
    engine.run([])
    assert sorted(ended, key=int) == [str(n) for n in range(60)]
    assert scheduler.plan_failures_total == 0
    # Nobody watches them come, and each has its answer.
    told = scheduler.streams.figures.values(scheduler.streams.all_slots(), engine.now_s)
    assert told["andes_streams_finished"][catalogue.CLASSES.index("none")] == 60
    assert scheduler.streams.mean_output_tokens == 1.0


def test_a_session_that_is_spoken_to_ends_as_one_stream(start) -> None:
    """A realtime client sends its prompt in parts; the last one says only that it ends."""

    def part(resumable: bool) -> Request:
        params = SamplingParams(max_tokens=5)
        return request("s", [3] * 20, params, resumable=resumable)

    engine = start()
    engine.delivered_at_s["s"], engine._output_tokens["s"] = [], 5
    record = engine._record
    engine._record = lambda outputs: None
    for _ in range(3):
        engine.scheduler.add_request(part(resumable=True))
        while engine.scheduler.has_unfinished_requests():
            engine.step()
    assert len(engine.scheduler.streams) == 1
    engine.scheduler.add_request(part(resumable=False))
    engine._record = record
    assert len(engine.scheduler.streams) == 0
    engine.run([])
    assert engine.scheduler.plan_failures_total == 0


def test_an_order_of_vllms_own_is_refused_by_name(start) -> None:
    said = (
        "scheduling_policy='priority' is invalid with policy='andes'.*it must be 'fcfs', "
        "or set policy='fcfs'"
    )
    with pytest.raises(ValueError, match=said):
        start({"scheduler_config.policy": "priority"})


@pytest.mark.parametrize("depth", OVERLAPPED)
def test_where_vllm_decides_any_order_of_its_own_will_do(start, burst, depth) -> None:
    engine = start(
        {"scheduler_config.policy": "priority"}, depth=depth, settings={"policy": "fcfs"}
    )
    engine.run(burst(40))
    assert texts(engine) == [100] * 40
    assert engine.scheduler.streams.finished_total == 40
    assert engine.scheduler.plan_failures_total == 0


def test_transfers_that_no_connector_makes_are_refused_by_name(start) -> None:
    with pytest.raises(ValueError, match="resume='offload' is invalid without a KV conn"):
        start(
            {"kv_transfer_config": None},
            settings={"resume": "offload"},
            transfer_s_per_token=1e-5,
        )
