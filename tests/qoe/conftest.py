from collections.abc import Callable, Sequence

import numpy as np
import pytest

from qoe import Expectation, StreamTable
from qoe.marginal_loss import EngineLoad, marginal_loss_table

NOW_S = 100.0
Crowd = Callable[..., np.ndarray]


def _marginal_loss_of(
    rows: Sequence[tuple[float, float, float, int, float]],
    *,
    kv_tokens: float = 10_000.0,
    context_tokens: float = 300.0,
    step_base_s: float = 0.02,
    step_per_stream_s: float = 0.001,
    remaining_tokens: float = 100.0,
    start_delay_s: float = 0.0,
) -> np.ndarray:
    readers = StreamTable()
    slots = []
    for age_s, ttft_s, tds, tokens, delivered_ago_s in rows:
        slot = readers.add(Expectation(ttft_s, tds), NOW_S - age_s)
        slots.append(slot)
        if tokens:
            delivered_at_s = NOW_S - min(delivered_ago_s, age_s)
            readers.deliver(np.array([slot]), np.array([float(tokens)]), delivered_at_s)
    load = EngineLoad(kv_tokens, context_tokens * len(rows), step_base_s, step_per_stream_s)
    return marginal_loss_table(
        readers,
        np.array(slots, dtype=np.intp),
        NOW_S,
        load,
        remaining_tokens=np.full(len(rows), remaining_tokens),
        start_delay_s=start_delay_s,
    )


@pytest.fixture(scope="session")
def loss_of() -> Crowd:
    """The table of streams, each (age_s, ttft_s, tds, tokens, delivered_ago_s)."""
    return _marginal_loss_of
