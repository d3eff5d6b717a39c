"""KV memory that outlives a preemption on the host, modelled as a vLLM KV connector.

Every computed block is written through to the host while the engine goes on; a resumed
stream loads its blocks back over one link, one stream after the other, while the batch goes
on without it. The scheduler side is vLLM's own path for such loads
(`WAITING_FOR_REMOTE_KVS`); only the copy itself is made up. Writing is free here: it takes
the other direction of the link, and a few percent of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vllm.config import VllmConfig
from vllm.distributed.kv_transfer.kv_connector.v1 import (
    KVConnectorBase_V1,
    KVConnectorRole,
    SupportsHMA,
)
from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata
from vllm.v1.core.kv_cache_manager import KVCacheBlocks
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import KVCacheConfig
from vllm.v1.request import Request


class VirtualOffload(KVConnectorBase_V1, SupportsHMA):
    """The scheduler's half of a connector whose copies take virtual time.

    Attributes:
        now_s: The engine's virtual clock.
        transfer_s_per_token: Seconds to load the KV of one token.
        loaded_tokens_total: Tokens loaded so far.
    """

    def __init__(
        self, vllm_config: VllmConfig, role: KVConnectorRole, kv_cache_config: KVCacheConfig
    ) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self.now_s: Callable[[], float] = lambda: 0.0
        self.transfer_s_per_token = 0.0
        self.loaded_tokens_total = 0
        self._block_size = vllm_config.cache_config.block_size
        self._saved_tokens: dict[str, int] = {}
        self._loaded_at_s: dict[str, float] = {}
        self._link_free_at_s = 0.0

    # ---- what the virtual engine tells and asks ---------------------------

    def computed(self, request_id: str, num_tokens: int) -> None:
        """Note that the first `num_tokens` of a stream have KV now."""
        self._saved_tokens[request_id] = num_tokens

    def take_loaded(self) -> set[str]:
        """The streams whose load is done by now; each is told once."""
        now_s = self.now_s()
        done = {r for r, at_s in self._loaded_at_s.items() if at_s <= now_s}
        for request_id in done:
            del self._loaded_at_s[request_id]
        return done

    def next_loaded_at_s(self) -> float | None:
        """When the next load is done; None if nothing is loading."""
        return min(self._loaded_at_s.values(), default=None)

    # ---- the scheduler's half of the connector ------------------------------

    def get_num_new_matched_tokens(
        self, request: Request, num_computed_tokens: int
    ) -> tuple[int, bool]:
        saved = min(self._saved_tokens.get(request.request_id, 0), request.num_tokens - 1)
        saved -= saved % self._block_size
        missing = max(0, saved - num_computed_tokens)
        return missing, missing > 0

    def update_state_after_alloc(
        self, request: Request, blocks: KVCacheBlocks, num_external_tokens: int
    ) -> None:
        if num_external_tokens:
            started_s = max(self.now_s(), self._link_free_at_s)
            self._link_free_at_s = (
                started_s + num_external_tokens * self.transfer_s_per_token
            )
            self._loaded_at_s[request.request_id] = self._link_free_at_s
            self.loaded_tokens_total += num_external_tokens

    def build_connector_meta(
        self, scheduler_output: SchedulerOutput
    ) -> KVConnectorMetadata:
        return KVConnectorMetadata()

    def request_finished(
        self, request: Request, block_ids: list[int]
    ) -> tuple[bool, dict[str, Any] | None]:
        self._saved_tokens.pop(request.request_id, None)
        return False, None

    def request_finished_all_groups(
        self, request: Request, block_ids: tuple[list[int], ...]
    ) -> tuple[bool, dict[str, Any] | None]:
        return self.request_finished(request, [])

    # ---- the worker's half: there is no worker ----------------------------

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        raise NotImplementedError("a virtual engine has no worker")

    def wait_for_layer_load(self, layer_name: str) -> None:
        raise NotImplementedError("a virtual engine has no worker")

    def save_kv_layer(
        self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any
    ) -> None:
        raise NotImplementedError("a virtual engine has no worker")

    def wait_for_save(self) -> None:
        raise NotImplementedError("a virtual engine has no worker")
