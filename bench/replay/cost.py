"""What an engine step costs in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class StepWork(NamedTuple):
    """What one step does, as `StepCost.step_s` takes it."""

    num_decoding: int
    prefill_tokens: int
    context_tokens: int
    prefill_tokens2: int


def work_of(
    num_scheduled_tokens: Mapping[str, int], requests: Mapping[str, Any]
) -> StepWork:
    """The work of a step that vLLM just scheduled, before its tokens are known."""
    decoding = context = prefill = prefill2 = 0
    for request_id, num_tokens in num_scheduled_tokens.items():
        request = requests[request_id]
        computed = request.num_computed_tokens
        num_prefill = num_tokens
        if not request.is_prefill_chunk:
            num_prefill -= 1  # the last token of a prompt decodes
            decoding += 1
            context += computed
        if num_prefill:
            prefill += num_prefill
            prefill2 += computed**2 - (computed - num_prefill) ** 2
    return StepWork(decoding, prefill, context, prefill2)


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of one engine step, as a sum over what it does.

    A prompt of n tokens adds `n · per_prefill_token_s + n² · per_prefill_token2_s` over all
    its chunks together: a chunk is charged for the attention to what came before it, so
    that chunking a prompt does not change its cost.

    Attributes:
        base_s: Any step at all.
        per_stream_s: One decoding stream.
        per_context_token_s: One token of a decoding stream's context.
        per_prefill_token_s: One prompt token.
        per_prefill_token2_s: One pair of prompt tokens.
    """

    base_s: float = 3e-3
    per_stream_s: float = 1e-4
    per_prefill_token_s: float = 2e-5
    per_context_token_s: float = 0.0
    per_prefill_token2_s: float = 0.0

    def of_size(self, times: float) -> StepCost:
        """That of an engine which does so many times the work of a step in its time."""
        return StepCost(
            base_s=self.base_s,
            per_stream_s=self.per_stream_s / times,
            per_prefill_token_s=self.per_prefill_token_s / times,
            per_context_token_s=self.per_context_token_s / times,
            per_prefill_token2_s=self.per_prefill_token2_s / times,
        )

    def step_s(
        self,
        num_decoding: int,
        prefill_tokens: int,
        context_tokens: int = 0,
        prefill_tokens2: int = 0,
    ) -> float:
        """Seconds of a step.

        Args:
            num_decoding: Streams that decode one token.
            prefill_tokens: Prompt tokens of all chunks.
            context_tokens: Context of the decoding streams, summed.
            prefill_tokens2: Over all chunks, from token `a` to `b` of a prompt: b² − a².
        """
        return (
            self.base_s
            + self.per_stream_s * num_decoding
            + self.per_context_token_s * context_tokens
            + self.per_prefill_token_s * prefill_tokens
            + self.per_prefill_token2_s * prefill_tokens2
        )
