"""What a soak sends and breaks, drawn from its seed before it begins. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHARES = {
    "short": 0.34,
    "chat": 0.12,
    "whole": 0.10,
    "hasty": 0.06,
    "slow": 0.08,
    "leaves": 0.18,
    "bad": 0.12,
}
# "leaves" goes in one of these ways; what is not streamed gives up by itself.
WAYS = ("close", "reset", "half-close", "http-1.0", "timeout")
FAULTS = (
    "kill_replica",
    "freeze_engine",
    "kill_router",
    "freeze_replica",
    "kill_haproxy",
    "kill_engine",
)
# On the handle path there is neither.
DIRECT_FAULTS = ("kill_router", "kill_haproxy")
NUM_PROMPTS = 4
SHORT_TOKENS = (20, 300)
LEAVES_AFTER_S = (0.02, 6.0)
LONG_AT_ONCE = 4
LONGEST_S = 600.0
# Beside three others and the rest of the load, on two cores.
LONG_TOKENS_PER_S = 25.0
MAX_LONG_TOKENS = 15_000
BURST_EVERY_S, BURST_SIZE = 20.0, 16


@dataclass(frozen=True, slots=True)
class PlannedAsk:
    """One request of a client.

    Attributes:
        at_s: When it is sent, from the start of the soak.
        kind: One of `SHARES`, or "long".
        prompt: Which of the prompts.
        tokens: Length of the answer.
        way: How its client leaves; empty for who stays.
        leaves_after_s: When, from the sending.
        choice: Draws one of several bad requests, or none.
    """

    at_s: float
    kind: str
    prompt: int
    tokens: int
    way: str = ""
    leaves_after_s: float = 0.0
    choice: int = 0


def traffic(seed: int, duration_s: float, rate: float) -> list[PlannedAsk]:
    """The requests of a soak, by the time at which they are sent.

    Args:
        seed: The same one gives the same requests.
        duration_s: How long requests are sent.
        rate: Requests/s, beside bursts and long streams.
    """
    rng = np.random.default_rng([seed, 1])
    asks = _long(rng, duration_s)
    for at_s in np.sort(rng.uniform(0.0, duration_s, rng.poisson(duration_s * rate))):
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        asks.append(_ask(rng, float(at_s), kind))
    for at_s in np.arange(BURST_EVERY_S / 2, duration_s, BURST_EVERY_S):
        asks += [_ask(rng, float(at_s), "short") for _ in range(BURST_SIZE)]
    return sorted(asks, key=lambda ask: ask.at_s)


def fault_order(seed: int, streaming: str) -> tuple[list[str], np.random.Generator]:
    """Faults in the order of their turns, and what draws their victims."""
    rng = np.random.default_rng([seed, 2])
    names = [name for name in FAULTS if streaming == "direct" or name not in DIRECT_FAULTS]
    return [str(name) for name in rng.permutation(names)], rng


def _long(rng: np.random.Generator, duration_s: float) -> list[PlannedAsk]:
    """So many at a time, one after the other; the last ones begin in time to end."""
    asks = []
    for _ in range(LONG_AT_ONCE):
        at_s = float(rng.uniform(0.0, 0.05 * duration_s))
        while at_s < 0.75 * duration_s:
            lasts_s = min(LONGEST_S, duration_s - at_s) * float(rng.uniform(0.6, 1.0))
            tokens = min(MAX_LONG_TOKENS, int(lasts_s * LONG_TOKENS_PER_S))
            # They share a prompt: each one says whether the others are right.
            asks.append(PlannedAsk(at_s, "long", 0, tokens))
            at_s += lasts_s
    return asks


def _ask(rng: np.random.Generator, at_s: float, kind: str) -> PlannedAsk:
    leaves = kind == "leaves"
    return PlannedAsk(
        at_s=at_s,
        kind=kind,
        prompt=int(rng.integers(NUM_PROMPTS)),
        tokens=int(rng.integers(*SHORT_TOKENS)),
        way=str(rng.choice(WAYS)) if leaves else "",
        leaves_after_s=float(np.exp(rng.uniform(*np.log(LEAVES_AFTER_S)))) if leaves else 0,
        choice=int(rng.integers(1 << 30)),
    )
