"""What a policy sees of one engine step, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qoe.forecast import Forecast

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NOBODY: Ints = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of an engine step: `base_s + num_streams · per_stream_s` and its prefill."""

    base_s: float
    per_stream_s: float
    prefill_s_per_token: float

    def step_s(self, num_streams: float, prefill_tokens: float = 0.0) -> float:
        """A step that decodes `num_streams` and computes `prefill_tokens` of prompts."""
        decode_s = self.base_s + self.per_stream_s * num_streams
        return decode_s + self.prefill_s_per_token * prefill_tokens


@dataclass(frozen=True, slots=True)
class TenantShares:
    """The tenants of n streams, and what each of k has used of its share.

    Attributes:
        row: The tenant of each stream, shape (n,).
        used_s: Engine seconds of each tenant for a share of 1, shape (k,).
        share: What each tenant is to get beside one with a share of 1, shape (k,).
    """

    row: Ints
    used_s: Floats
    share: Floats


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The live streams of one engine before a step; the running ones come first.

    Arrays have shape (n,), in the order running + waiting of the engine's own lists.

    Attributes:
        num_running: How many of the n streams hold KV memory.
        forecast: Their area QoE at the end of the horizon, served or waiting.
        start_delay_s: Seconds until the first token that serving would bring.
        slack_s: Seconds until its reader notices that nothing comes; negative once late.
        is_away: Whether the reader reads nothing for now.
        started: Whether the reader has a token already.
        context_tokens: Prompt and generated tokens, all of which need KV memory.
        blocks: KV blocks the stream needs through its minimum residency.
        blocks_held: KV blocks it holds now; 0 for waiting streams.
        resume_s: Seconds to bring its KV memory back once it has been given up: of the
            engine, or of the link where it comes from the host.
        since_s: Seconds since a running stream was admitted, or a waiting one lost its
            memory or arrived.
        preemptions: How often each has been preempted.
        weight: What its reader counts for, > 0; 1 unless the request says otherwise.
        is_prefilling: Running streams whose prompt is not computed to its end.
        can_free: Running streams whose blocks are free at once when given up.
        prefill_tokens: Prompt tokens the engine would compute before its next token.
        free_blocks: Blocks nobody holds.
        total_blocks: All blocks of the engine.
        max_running: Most streams the engine runs at once.
        token_budget: Most tokens the engine computes in one step.
        step_time: What a step costs here.
        accepted_total: Streams ever accepted.
        preemptions_total: Preemptions ever made.
        tokens_per_s: Tokens that the recent steps brought, per second of all they did.
        mean_output_tokens: Length of an answer here, as far as known, > 0.
        shares: Of the tenants, where there are several.
    """

    num_running: int
    forecast: Forecast
    start_delay_s: Floats
    slack_s: Floats
    is_away: Bools
    started: Bools
    context_tokens: Floats
    blocks: Ints
    blocks_held: Ints
    resume_s: Floats
    since_s: Floats
    preemptions: Floats
    weight: Floats
    is_prefilling: Bools
    can_free: Bools
    prefill_tokens: Floats
    free_blocks: int
    total_blocks: int
    max_running: int
    token_budget: int
    step_time: StepTime
    accepted_total: int
    preemptions_total: int
    tokens_per_s: float = np.inf
    mean_output_tokens: float = 200.0
    shares: TenantShares | None = None

    @property
    def size(self) -> int:
        """Live streams, n."""
        return self.slack_s.size

    @property
    def is_running(self) -> Bools:
        """Who holds KV memory, shape (n,)."""
        running: Bools = np.arange(self.size) < self.num_running
        return running

    @property
    def fits_all(self) -> bool:
        """Whether the waiting streams all fit beside the running ones."""
        waiting = self.size - self.num_running
        demand = int(self.blocks[self.num_running :].sum())
        return demand <= self.free_blocks and waiting <= self.max_running - self.num_running

    @property
    def has_room(self) -> bool:
        """Whether everybody fits, and each running stream may grow by a block."""
        return self.fits_all and self.free_blocks >= self.num_running


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do in this step; indices count within the engine's own lists.

    `keep` and `preempt` together name every running stream once.

    Attributes:
        admit: Waiting streams to offer to the engine, best first; the others are withheld.
        preempt: Running streams to give up before the step.
        keep: Running streams, most valuable first: the engine evicts from the end.
        token_budget: Most tokens to compute in this step; None leaves it to the engine.
    """

    admit: Ints
    preempt: Ints
    keep: Ints
    token_budget: int | None = None
