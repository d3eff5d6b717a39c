"""`andes demo`: the same load on the same service under two schedulers, in turns.

It probes the machine and sends what is more than the machine can serve. Only the key
`scheduler` differs. Pairs alternate which comes first, every run starts a fresh service,
and medians are shown beside the whole range: machines are noisy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.markup import escape

from bench.arguments import BenchArguments
from bench.demo.comparison import POLICIES, Comparison, Run, Tried, read_comparison
from bench.demo.page import markdown, render
from bench.demo.priority import engines_behind
from bench.demo.probe import Probe, probe
from bench.demo.rate import QOE_RANGE, at_rate, choose_rate, correct_rate
from bench.demo.verdict import how_it_was_set, verdict
from bench.errors import INTERRUPTED, UserError
from bench.live import describe, make_load, select_requests
from bench.load import PlannedStream
from bench.report import caveats, render_table
from bench.results import Stream, environment, summarise
from bench.serving import load_service, serving
from bench.traces import Request
from deployments.service_config import DEFAULT_CONFIG


class DemoArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo compares, and under which load.

    Attributes:
        load: The window of requests, as `andes bench` takes it, but for the endpoint.
        duration_s: Length of that window.
        command: As it may be published.
        rate: Mean request rate, requests/s; None chooses it.
        pairs: Runs of each scheduler.
        kv_blocks: KV blocks of each engine; few make memory scarce on purpose.
        config: The Serve config that is run.
        out: Folder for the table, the numbers and the picture.
    """

    load: BenchArguments
    duration_s: float
    command: str
    rate: float | None = None
    pairs: int = 3
    kv_blocks: int = 64
    config: Path = DEFAULT_CONFIG
    out: Path = Path("docs/results")


def run_demo(arguments: DemoArguments) -> int:
    """Run the pairs, print the table side by side, and write it with a picture.

    Raises:
        UserError: A bad trace or configuration, a service that does not start, or a run
            that was stopped: half a comparison is none.
    """
    notes = Console(stderr=True, highlight=False)
    demo = _Demo(arguments, notes)
    if arguments.load.trace is None:
        demo.warn("No trace file: a synthetic load of the same shape.")
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    try:
        demo.run()
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    result = Comparison(
        command=arguments.command,
        load=describe(arguments.load, demo.requests),
        arguments=_without_paths(arguments),
        environment=made_by,
        runs=demo.runs,
        rate=demo.rate,
        probe=demo.probed,
        corrected=demo.corrected,
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    encoded = msgspec.json.format(msgspec.json.encode(result))
    (arguments.out / "demo.json").write_bytes(encoded)
    _draw(result, demo.streams, arguments.out / "demo.png")
    notes.print(f"wrote demo.json and demo.png under {escape(str(arguments.out))}")
    return redraw_demo(arguments.out)


def redraw_demo(out: Path) -> int:
    """Print what demo.json has, and write demo.md of it; the exit code.

    Raises:
        UserError: There is no demo.json, or it is another file.
    """
    result = read_comparison(out / "demo.json")
    (out / "demo.md").write_text(markdown(result), encoding="utf-8")
    console = Console(highlight=False)
    console.print(render(result))
    console.print(how_it_was_set(result), soft_wrap=True)
    console.print(f"[bold]{escape(verdict(result))}[/bold]", soft_wrap=True)
    console.print(f"wrote demo.md under {escape(str(out))}")
    return 0


class _Demo:
    """The runs so far, and what they were set to.

    Attributes:
        rate: Mean request rate, requests/s; what is sent follows it.
        requests: What is sent in every run.
        probed: What the machine served; None where the rate was given.
        corrected: The rate that was chosen first, where it was chosen again.
        runs: Those that count.
        streams: Of each run.
    """

    def __init__(self, arguments: DemoArguments, notes: Console) -> None:
        self._arguments = arguments
        self._notes = notes
        self._window = select_requests(arguments.load)
        self.rate = arguments.rate or len(self._window) / arguments.duration_s
        self.requests = self._requests_at(self.rate)
        self.probed: Probe | None = None
        self.corrected: Tried | None = None
        self.runs: list[Run] = []
        self.streams: list[list[Stream]] = []

    def run(self) -> None:
        """Probe where no rate is given, then all pairs."""
        if self._arguments.rate is None:
            self._notes.rule("how fast is this machine?")
            self._probe()
        for number in range(1, self._arguments.pairs + 1):
            # Whatever drifts on the machine meets both schedulers in either order.
            for policy in POLICIES if number % 2 else POLICIES[::-1]:
                self._notes.rule(f"pair {number} of {self._arguments.pairs}: {policy}")
                run, streams = self._serve(policy, number)
                if self.probed and not self.runs and self._is_corrected(run, self.probed):
                    run, streams = self._serve(policy, number)
                self.runs.append(run)
                self.streams.append(streams)

    def warn(self, text: str) -> None:
        """A line that is not to be missed."""
        self._notes.print(f"[yellow]![/yellow] {escape(text)}", soft_wrap=True)

    def _probe(self) -> None:
        with self._serving("fcfs") as base_url:
            self.probed = probe(base_url, self._arguments.load, self._window, self._notes)
        self._set_rate(choose_rate(self._streams_at, self.probed))
        self._notes.print(
            f"{self.probed.tokens_per_s:,.0f} tokens/s, "
            f"{self.probed.requests_per_s:.2f} requests/s: {self.rate:g} will be sent"
        )

    def _is_corrected(self, run: Run, probed: Probe) -> bool:
        """Whether fcfs fell too far or not far enough, and the rate is another now."""
        qoe, (low, high) = run.summary.mean_qoe_area, QOE_RANGE
        if low <= qoe <= high:
            return False
        self.corrected = Tried(self.rate, qoe)
        self._set_rate(correct_rate(self._streams_at, probed, self.rate, qoe))
        self.warn(
            f"fcfs fell to {qoe:.3f} at {self.corrected.rate:g} requests/s, not to "
            f"{low:g} to {high:g}; once more at {self.rate:g}."
        )
        return True

    def _serve(self, policy: str, number: int) -> tuple[Run, list[Stream]]:
        with self._serving(policy) as base_url:
            load, streams = load_service(
                base_url, self._arguments.load, self.requests, self._notes
            )
        summary = summarise(streams, clipped=load.clipped)
        self._notes.print(render_table([(policy, summary)]))
        for caveat in caveats(summary, streams):
            self.warn(caveat)
        return Run(policy=policy, pair=number, summary=summary), streams

    @contextmanager
    def _serving(self, policy: str) -> Iterator[str]:
        engine = {
            "num_gpu_blocks_override": self._arguments.kv_blocks,
            "kv_cache_memory_bytes": None,
        }
        overrides = {"scheduler": policy, "engine_kwargs": engine}
        with (
            serving(self._arguments.config, overrides, self._notes) as running,
            engines_behind(running.config.app),
        ):
            yield running.base_url

    def _set_rate(self, rate: float) -> None:
        self.rate, self.requests = rate, self._requests_at(rate)

    def _requests_at(self, rate: float) -> list[Request]:
        arguments = self._arguments
        return at_rate(self._window, rate, arguments.duration_s, arguments.load.seed)

    def _streams_at(self, rate: float) -> Sequence[PlannedStream]:
        return make_load(self._arguments.load, self._requests_at(rate)).streams


def _without_paths(arguments: DemoArguments) -> dict[str, object]:
    """The arguments as they may be published: files by name, wherever they lie here."""
    published: dict[str, object] = msgspec.to_builtins(
        arguments, enc_hook=lambda path: path.name
    )
    return published


def _draw(result: Comparison, streams: Sequence[Sequence[Stream]], path: Path) -> None:
    """The median pair, run by run."""
    from bench.plot import plot_runs  # noqa: PLC0415 - matplotlib takes a second

    pair = _median_pair(result)
    shown = {
        run.policy: ended
        for run, ended in zip(result.runs, streams, strict=True)
        if run.pair == pair
    }
    plot_runs({policy: shown[policy] for policy in POLICIES}, path)


def _median_pair(result: Comparison) -> int:
    """The pair whose ratio of mean area QoE is the median one."""
    ratios = result.ratios(lambda s: s.mean_qoe_area)
    return int(np.argsort(ratios)[len(ratios) // 2]) + 1
