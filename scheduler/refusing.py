"""vLLM's scheduler with somebody who says no: to who waits in vain, and to bad fields."""

from __future__ import annotations

from typing import Any

from vllm.logger import init_logger
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.request import Request, RequestStatus

from scheduler.patience import retry_after_s
from scheduler.tracking import TrackingScheduler
from scheduler.unfit import complaint

logger = init_logger(__name__)


class RefusingScheduler(TrackingScheduler):
    """A stream that cannot be served as it was asked for ends with the reason why.

    An error that is not intercepted on its way is HTTP 500 in vLLM, and no empty text:
    a server in front knows better, and refuses bad fields before they come here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unfit: dict[str, str] = {}
        self._ended: list[tuple[Request, str]] = []

    def add_request(self, request: Request) -> None:
        super().add_request(request)
        with self._guarded("checking fields"):
            fields = getattr(request.sampling_params, "extra_args", None)
            default = self.settings.default_expectation
            if why := complaint(fields, request.prompt_token_ids, default):
                self._unfit[request.request_id] = why

    def _end_unfit(self) -> None:
        """End those with bad fields before anything is computed of them."""
        if not self._unfit:
            return
        unfit, self._unfit = self._unfit, {}
        for request in self.finish_requests(unfit, RequestStatus.FINISHED_ERROR):
            why = unfit[request.request_id]
            logger.warning("Refused request %s: %s", request.request_id, why)
            self._ended.append((request, why))

    def _refuse(self, outputs: dict[int, EngineCoreOutputs]) -> None:
        ended, self._ended = self._ended, []
        if self.patience:
            ended += self._end_in_vain()
        for request, why in ended:
            of_client = outputs.setdefault(request.client_index, EngineCoreOutputs())
            of_client.outputs.append(
                EngineCoreOutput(
                    request.request_id,
                    [],
                    finish_reason=request.get_finished_reason(),
                    stop_reason=why,
                    events=request.take_events(),
                    trace_headers=request.trace_headers,
                )
            )

    def _end_in_vain(self) -> list[tuple[Request, str]]:
        """End those whose first token cannot come within their patience."""
        model = self.step_time
        token_s = model.fitted().prefill_s_per_token if model.knows_prefill else 0.0
        names = self.patience.in_vain(self.now_s(), token_s, self._uncomputed_tokens)
        if not names:
            return []
        again_s = retry_after_s(
            len(self.waiting) + len(self.skipped_waiting) - len(names),
            self.streams.mean_output_tokens,
            model.tokens_per_s,
        )
        reasons = {name: self.patience.refusal(name, again_s) for name in names}
        self.streams.refused_total += len(names)
        ended = self.finish_requests(names, RequestStatus.FINISHED_ERROR)
        return [(request, reasons[request.request_id]) for request in ended]

    def _uncomputed_tokens(self, request_id: str) -> int:
        """Tokens that this engine must compute before the first one of a stream."""
        if self.connector is not None:
            # It may bring any part of a prompt.
            return 0
        request = self.requests[request_id]
        computed = request.num_computed_tokens
        if not computed:
            computed = self.kv_cache_manager.get_computed_blocks(request)[1]
        return int(request.num_tokens - computed)
