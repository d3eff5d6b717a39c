"""What `andes fidelity` was asked to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.arguments import BenchArguments

# One stream of this size always fits the fewest KV blocks that may be asked for.
MAX_CONTEXT_TOKENS = 4096
BLOCK_SIZE_TOKENS = 128
# With a trace, these have no effect.
SYNTHETIC_ONLY = ("rate", "intensity", "burst_share", "cycle_s")

# A sharp burst in a quiet load: the shorter and deeper an overload is, the less its waits
# hang on a few percent of speed that the machine gains or loses meanwhile.
DEFAULT_LOAD = BenchArguments(
    synthetic=True, rate=5.0, intensity=4.0, burst_share=0.2, cycle_s=75.0
)


class FidelityArguments(msgspec.Struct, frozen=True, kw_only=True):
    """One load for the real engine and for its replay.

    Attributes:
        load: As `andes bench` takes it; there is no endpoint.
        repeats: Runs of the real engine under each scheduler.
        kv_blocks: KV blocks of the engine, vLLM's null block included.
        max_num_seqs: Streams that may run at once.
        max_num_batched_tokens: Tokens of one step.
        clock: One of `bench.fidelity.clock.CLOCKS`.
        out: Folder for the table and the numbers.
    """

    load: BenchArguments = DEFAULT_LOAD
    repeats: int = 3
    kv_blocks: int = 64
    max_num_seqs: int = 48
    max_num_batched_tokens: int = 2048
    clock: str = "cpu"
    out: Path = Path("docs/results")

    def published(self) -> dict[str, object]:
        """The arguments without folders: files by name, wherever they lie here."""
        named: dict[str, object] = msgspec.to_builtins(
            self, enc_hook=lambda path: Path(path).name
        )
        return named


def fidelity_arguments(given: Mapping[str, Any]) -> FidelityArguments:
    """The options as the command line has them; without a trace the load is synthetic."""
    load = {k: v for k, v in given.items() if k in BenchArguments.__struct_fields__}
    rest = {k: v for k, v in given.items() if k not in load}
    synthetic = load["trace"] is None
    return FidelityArguments(load=BenchArguments(**load, synthetic=synthetic), **rest)
