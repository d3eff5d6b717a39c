"""The load families to choose defaults on, and those to judge them on.

A family is a kind of traffic on one engine: its lengths, its readers, how it repeats
itself. It is drawn under any arrival shape. The families are split once: what is chosen is
chosen on `tuning`, and every page shows `validation` beside it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.load import BurstShape, PlannedStream, TtftRule, cyclic_burst
from bench.traces import Request, draw_lengths, read_lengths
from qoe import PROFILES, Expectation

CYCLE_S = 300.0
BURST_SHARE = 0.35


@dataclass(frozen=True, slots=True)
class Shape:
    """How requests arrive within one cycle, in parts of the rate that `fcfs` serves.

    Attributes:
        rate_share: Mean rate over the cycle.
        intensity: Rate in the burst over the mean rate; 1 is Poisson.
        burst_share: Part of the cycle that the burst takes.
    """

    name: str
    rate_share: float = 1.0
    intensity: float = 1.0
    burst_share: float = BURST_SHARE


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("poisson-0.7", 0.7),
        Shape("poisson-0.9", 0.9),
        Shape("poisson-1.0", 1.0),
        Shape("burst-1.5", 1.0, 1.5),
        Shape("burst-2", 1.0, 2.0),
        Shape("burst-3", 1.0, 3.0, 0.3),
        Shape("plateau", 1.3),
    )
}


@dataclass(frozen=True, slots=True)
class Lengths:
    """Prompt and answer tokens: rows of a file where it is there, else lognormal.

    Medians and sigmas of a family with a file are fitted to it.

    Attributes:
        file: Name of the published list of lengths.
        context_tokens: Prompt and answer together are cut to this.
    """

    input_median: float
    input_sigma: float
    output_median: float
    output_sigma: float
    file: str | None = None
    context_tokens: int = 16_384

    def draw(
        self, requests: Sequence[Request], seed: int, traces: Path | None
    ) -> list[Request]:
        """The same arrivals with lengths of this family."""
        path = traces / self.file if traces is not None and self.file else None
        if path is not None and path.is_file():
            drawn = draw_lengths(requests, read_lengths(path), seed=seed)
        else:
            rng = np.random.default_rng([seed, 1])
            size = len(requests)
            inputs = rng.lognormal(np.log(self.input_median), self.input_sigma, size)
            outputs = rng.lognormal(np.log(self.output_median), self.output_sigma, size)
            drawn = [
                Request(r.arrival_s, max(1, round(i)), max(1, round(o)))
                for r, i, o in zip(requests, inputs, outputs, strict=True)
            ]
        return [self._cut(request) for request in drawn]

    def _cut(self, request: Request) -> Request:
        outputs = min(request.output_tokens, self.context_tokens // 2)
        inputs = min(request.input_tokens, self.context_tokens - outputs)
        return Request(request.arrival_s, inputs, outputs)


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of traffic on one engine.

    Attributes:
        profile: Name of the latency profile.
        parts: Lengths with their share and the reader's profile; shares sum to 1.
        ttft_s: When readers expect the first token; None is their profile's.
        turns: Most turns of a session; 0 has no sessions.
        agent_tokens: Text that all sessions of one kind begin with.
        saturation_rate: Requests/s far above what the engine serves.
        engine_share: Part of the engine that is replayed, with as much of its traffic: a
            replay takes that part of the time.
    """

    name: str
    profile: str
    parts: tuple[tuple[float, Lengths, str], ...]
    saturation_rate: float
    ttft_s: TtftRule | None = None
    turns: int = 0
    agent_tokens: int = 0
    engine_share: float = 1.0

    def streams(
        self, shape: Shape, rate: float, seed: int, traces: Path | None = None
    ) -> tuple[PlannedStream, ...]:
        """One cycle of this traffic; `rate` is what `fcfs` serves, requests/s."""
        burst = BurstShape(
            rate * shape.rate_share, shape.intensity, shape.burst_share, CYCLE_S
        )
        arrivals = cyclic_burst(burst, duration_s=CYCLE_S, seed=seed)
        rng = random.Random(f"{self.name} {seed}")
        of_part = rng.choices(
            range(len(self.parts)), [share for share, _, _ in self.parts], k=len(arrivals)
        )
        drawn = [lengths.draw(arrivals, seed, traces) for _, lengths, _ in self.parts]
        streams = [
            self._stream(drawn[part][i], self.parts[part][2], rng)
            for i, part in enumerate(of_part)
        ]
        return tuple(self._in_sessions(streams, rng) if self.turns else streams)

    def _stream(self, request: Request, profile: str, rng: random.Random) -> PlannedStream:
        reader = PROFILES[profile].sample(rng)
        if self.ttft_s is not None and profile != "none":
            reader = Expectation(self.ttft_s(request.input_tokens), reader.tds)
        return PlannedStream(
            request.arrival_s, request.input_tokens, request.output_tokens, reader
        )

    def _in_sessions(
        self, streams: Sequence[PlannedStream], rng: random.Random
    ) -> list[PlannedStream]:
        """Each stream goes on with a session that has rested, or begins one."""
        open_sessions: list[_Session] = []
        placed = []
        for number, stream in enumerate(streams, start=1):
            rested = [
                s for s in open_sessions if stream.arrival_s - s.at_s >= MIN_TURN_GAP_S
            ]
            if rested and rng.random() < 1.0 - 1.0 / self.turns:
                session = rng.choice(rested)
            else:
                kind = rng.randrange(AGENT_KINDS)
                session = _Session([(-1 - kind, self.agent_tokens)])
                open_sessions.append(session)
            prefix = tuple(session.pieces)
            tokens = sum(n for _, n in prefix) + stream.input_tokens
            placed.append(replace(stream, input_tokens=tokens, prefix=prefix))
            session.pieces.append((number, stream.input_tokens))
            session.at_s = stream.arrival_s
            if len(session.pieces) > self.turns:
                open_sessions.remove(session)
        return placed


MIN_TURN_GAP_S = 10.0
AGENT_KINDS = 4


@dataclass(slots=True)
class _Session:
    pieces: list[tuple[int, int]]
    at_s: float = 0.0


def ttft_by_input(input_tokens: int) -> float:
    """A reader who sent a long prompt expects to wait: 1 s for every 5000 tokens."""
    return max(1.0, input_tokens / 5000)


CHAT = Lengths(110, 0.9, 230, 0.85)
SHAREGPT = Lengths(1100, 1.2, 270, 1.1, "sharegpt_8k_lengths.csv", 8192)
AZURE = Lengths(760, 1.0, 150, 0.86, "azure_conv.csv")
SERVEGEN = Lengths(930, 0.95, 85, 1.05, "servegen_chat_1h.csv")
REASONING = Lengths(600, 0.55, 700, 0.5)
RAG = Lengths(2700, 0.38, 240, 0.55)
AGENT = Lengths(180, 0.8, 180, 0.8)

TUNING = (
    Family(
        "sharegpt-8k", "phi-3-mini/a100-sxm4-40gb/tp1", ((1.0, SHAREGPT, "reading"),), 6.0
    ),
    Family(
        "reasoning",
        "llama-3.1-8b/h100-sxm-80gb/tp1",
        ((1.0, REASONING, "reading"),),
        40.0,
        engine_share=0.25,
    ),
    Family(
        "rag",
        "llama-3.1-70b/a100-sxm4-40gb/tp8",
        ((1.0, RAG, "reading"),),
        6.0,
        ttft_by_input,
    ),
    Family(
        "agents",
        "llama-3.1-8b/a100-sxm4-80gb/tp1",
        ((1.0, AGENT, "reading"),),
        60.0,
        turns=8,
        agent_tokens=1500,
    ),
)
VALIDATION = (
    Family(
        "short-chat",
        "phi-3-mini/a100-sxm4-40gb/tp1",
        ((1.0, CHAT, "reading"),),
        40.0,
        engine_share=0.5,
    ),
    Family(
        "azure",
        "llama-3.1-70b/a100-sxm4-40gb/tp8",
        ((1.0, AZURE, "reading"),),
        15.0,
        ttft_by_input,
    ),
    Family(
        "servegen",
        "llama-3.1-8b/a100-sxm4-80gb/tp1",
        ((1.0, SERVEGEN, "reading"),),
        30.0,
    ),
    Family(
        "mix",
        "llama-3.1-70b/h100-sxm-80gb/tp4",
        (
            (0.35, CHAT, "reading"),
            (0.2, SHAREGPT, "reading"),
            (0.15, RAG, "reading"),
            (0.1, REASONING, "reading"),
            (0.2, AZURE, "none"),
        ),
        40.0,
        ttft_by_input,
    ),
)
FAMILIES = {family.name: family for family in (*TUNING, *VALIDATION)}
