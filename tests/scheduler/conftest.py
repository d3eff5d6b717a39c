from collections.abc import Callable, Iterator

import pytest

from bench.virtual_engine import Arrival, StepCost, VirtualEngine
from qoe import Expectation
from scheduler.settings import SchedulerSettings

READER = Expectation(ttft_s=1.0, tds=5.0)
EngineFactory = Callable[..., VirtualEngine]


@pytest.fixture
def make_engine() -> Iterator[EngineFactory]:
    """Real vLLM schedulers in virtual time; at the end nothing may be left in them."""
    engines: list[tuple[VirtualEngine, int]] = []

    def make(num_blocks: int = 33, **options) -> VirtualEngine:
        settings = SchedulerSettings(**options.pop("settings", {}))
        options.setdefault("cost", StepCost(base_s=0.02, per_prefill_token_s=1e-4))
        engine = VirtualEngine(settings, num_blocks=num_blocks, **options)
        engines.append((engine, num_blocks))
        return engine

    yield make
    for engine, num_blocks in engines:
        scheduler = engine.scheduler
        assert not scheduler.requests
        assert not len(scheduler.streams)
        assert scheduler.kv_cache_manager.block_pool.get_num_free_blocks() == num_blocks - 1


@pytest.fixture
def burst() -> Callable[..., list[Arrival]]:
    """Loads of equal requests, twenty a second."""

    def make(
        count: int, input_tokens: int = 100, output_tokens: int = 100
    ) -> list[Arrival]:
        return [
            Arrival(0.05 * i, input_tokens, output_tokens, READER) for i in range(count)
        ]

    return make
