"""What an engine step costs on real models and GPUs, and what such an engine holds.

The constants are in `profiles.json`, with the formulas they belong to, their sources, and
for each profile its kind (measured, composed of measured operations, estimated), the fit's
error and how far it may be trusted.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import msgspec

from bench.errors import UserError, shown
from bench.replay.cost import StepCost

PATH = Path(__file__).with_name("profiles.json")
DEFAULT_PROFILE = "llama-3.1-8b/h100-sxm-80gb/tp1"


class StepLimits(msgspec.Struct, frozen=True):
    """How much one engine step may take, in the words of vLLM's options."""

    max_num_seqs: int
    max_num_batched_tokens: int


# Defaults of vLLM 0.29's OpenAI server: vllm/engine/arg_utils.py, get_batch_defaults.
_LARGE_GPU = StepLimits(1024, 8192)
_OTHER_GPU = StepLimits(256, 2048)
_LARGE_GPU_GB = 70


class DecodeMs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`a + b_per_seq · streams + c_per_context_token · tokens of all their contexts`."""

    a: float
    b_per_seq: float
    c_per_context_token: float


class PrefillMs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`p1_per_token · n + p2_per_token2 · n²`; `p0` is of a step that only prefills."""

    p0: float
    p1_per_token: float
    p2_per_token2: float


class LatencyProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model on one kind of GPU, `tp` of them together.

    Attributes:
        kind: How the constants came about.
        confidence: How far to trust them.
        kv_capacity_tokens: KV memory left beside the weights.
        pcie_swap_ms_per_1000_tokens_estimate: To load the KV of 1000 tokens from the host.
        decode_fit: Error of the decode formula where it was fitted.
    """

    model: str
    gpu: str
    tp: int
    kind: str
    confidence: str
    decode_ms: DecodeMs
    prefill_ms: PrefillMs
    kv_capacity_tokens: int
    kv_bytes_per_token: int
    pcie_swap_ms_per_1000_tokens_estimate: float
    decode_fit: dict[str, float]

    @property
    def cost(self) -> StepCost:
        """The `mixed` formula, in seconds.

        `p0` is left out: the base of any step is the decode's `a`.
        """
        decode, prefill = self.decode_ms, self.prefill_ms
        return StepCost(
            base_s=decode.a * 1e-3,
            per_stream_s=decode.b_per_seq * 1e-3,
            per_context_token_s=decode.c_per_context_token * 1e-3,
            per_prefill_token_s=prefill.p1_per_token * 1e-3,
            per_prefill_token2_s=prefill.p2_per_token2 * 1e-3,
        )

    @property
    def transfer_s_per_token(self) -> float:
        """Seconds to load one token's KV from the host."""
        return self.pcie_swap_ms_per_1000_tokens_estimate * 1e-6

    @property
    def limits(self) -> StepLimits:
        """What vLLM's OpenAI server takes by default on this GPU."""
        memory = re.search(r"(\d+)GB", self.gpu)
        is_large = memory is not None and int(memory[1]) >= _LARGE_GPU_GB
        return _LARGE_GPU if is_large and "A100" not in self.gpu else _OTHER_GPU


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    formulas: dict[str, str]
    sources: str
    profiles: dict[str, LatencyProfile]


@cache
def latency_profiles() -> dict[str, LatencyProfile]:
    """All profiles by name."""
    return msgspec.json.decode(PATH.read_bytes(), type=_File).profiles


def latency_profile(name: str) -> LatencyProfile:
    """The profile called `name`.

    Raises:
        UserError: There is none; the message lists those there are.
    """
    known = latency_profiles()
    if name not in known:
        raise UserError(
            f"--profile={shown(name)} is invalid: it must be one of {', '.join(known)}."
        )
    return known[name]
