"""`andes evidence`: the policy, every baseline and the bound, and the page made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from bench.errors import INTERRUPTED, UserError, shown
from bench.replay.progress import progress
from bench.replay.workers import Workers
from bench.results import environment
from bench.traces import PUBLISHED
from evidence.families import FAMILIES
from evidence.policy.jobs import QUICK_FAMILIES, Job, RateJob, RunJob, plan_jobs
from evidence.policy.measure import World, measure, settings_for
from evidence.policy.page import page, summary
from evidence.policy.results import (
    Evidence,
    Kept,
    Rate,
    Row,
    code_of,
    in_order,
    read,
    write,
)

README = Path("README.md")
_QUICK_SCALE = 0.1
_BLOCK = re.compile(r"(?<=<!-- policy -->\n).*?(?=<!-- /policy -->)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceArguments:
    """What `andes evidence` was asked to do.

    Attributes:
        families: Names of the families; none is all.
        seeds: Most seeds of each load; None is as many as each part of the page has.
        jobs: Worker processes.
        quick: It is a smoke test.
        out: Folder of the page, its numbers and its picture.
        partial: Nothing runs: the page is made of what has been run yet.
        redraw: Nothing runs: the page is made again of the numbers in `out`.
        command: As it may be published.
    """

    families: tuple[str, ...] = ()
    seeds: int | None = None
    jobs: int = 1
    quick: bool = False
    out: Path
    partial: bool = False
    redraw: bool = False
    command: str = "andes evidence"

    @property
    def scale(self) -> float:
        """Part of each family's engine that is replayed, on top of its own."""
        return _QUICK_SCALE if self.quick else 1.0


def run_evidence(
    arguments: EvidenceArguments, make_workers: Callable[[int], Workers] = Workers
) -> int:
    """Run what is missing, write what all of it came to, and draw it; the exit code.

    Args:
        arguments: What to run.
        make_workers: Starts so many processes.

    Raises:
        UserError: A bad name or setting, a rate that cannot be measured, or it was stopped.
    """
    notes = Console(stderr=True, highlight=False)
    path = arguments.out / "policy.json"
    if arguments.redraw:
        result = read(path)
    else:
        result = _run(arguments, make_workers, notes)
        write(path, result)
        result = read(path)  # so that the page is made of what the file says
    _publish(result, arguments.out, notes)
    return 1 if result.failed else 0


def _run(
    arguments: EvidenceArguments, make_workers: Callable[[int], Workers], notes: Console
) -> Evidence:
    # Asked before the runs: somebody may commit while they last.
    made_by = environment()
    families = _families(arguments)
    seeds = 1 if arguments.quick else arguments.seeds
    jobs = plan_jobs(families, seeds, quick=arguments.quick)
    _check(jobs)
    lengths = _lengths(families)
    arguments.out.mkdir(parents=True, exist_ok=True)
    code = partial(code_of, scale=arguments.scale, lengths=lengths)
    kept = Kept(arguments.out / "policy-runs.jsonl", code)
    rates: list[Job] = [RateJob(family) for family in families]
    failed: dict[str, str] = {}
    if not arguments.partial:
        try:
            with make_workers(arguments.jobs) as workers:
                world = World({}, PUBLISHED, arguments.scale)
                failed |= _do(rates, world, kept, workers, notes)
                if failed:
                    raise UserError(f"no rate of {'; '.join(failed.values())}", exit_code=1)
                failed |= _do(
                    jobs, world._replace(rates=_rates(kept.rows)), kept, workers, notes
                )
        except KeyboardInterrupt:
            done = sum(job in kept.rows for job in jobs)
            raise UserError(
                f"stopped: {done:,} of {len(jobs):,} are kept; the same command runs the "
                "rest.",
                exit_code=INTERRUPTED,
            ) from None
    return Evidence(
        command=arguments.command,
        environment=made_by,
        lengths=lengths,
        scale=arguments.scale,
        planned=len(jobs),
        failed=failed,
        rows=in_order([*rates, *jobs], kept.rows),
    )


def _families(arguments: EvidenceArguments) -> list[str]:
    default = QUICK_FAMILIES if arguments.quick else tuple(FAMILIES)
    wanted = arguments.families or default
    for name in wanted:
        if name not in FAMILIES:
            raise UserError(
                f"--family={shown(name)} is invalid: it must be one of "
                f"{', '.join(FAMILIES)}."
            )
    return [name for name in FAMILIES if name in wanted]


def _check(jobs: Iterable[Job]) -> None:
    """A setting that is gone is told before the runs, not after them."""
    profile = next(iter(FAMILIES.values())).profile
    for contender in {job.contender for job in jobs if isinstance(job, RunJob)}:
        settings_for(contender, profile)


def _lengths(families: Iterable[str]) -> list[str]:
    files = {
        lengths.file
        for name in families
        for _, lengths, _ in FAMILIES[name].parts
        if lengths.file is not None
    }
    return sorted(file for file in files if (PUBLISHED / file).is_file())


def _rates(rows: Mapping[Job, Row]) -> dict[str, float]:
    return {r.job.family: r.requests_per_s for r in rows.values() if isinstance(r, Rate)}


def _do(
    jobs: Iterable[Job], world: World, kept: Kept, workers: Workers, notes: Console
) -> dict[str, str]:
    """Run what is missing and keep each as it ends; those that failed, and why."""
    missing = {job: job for job in jobs if job not in kept.rows}
    failed: dict[str, str] = {}
    if not missing:
        return failed
    with progress(len(missing), float(len(missing)), notes) as tell:
        for job, outcome in workers.each(missing, partial(measure, world=world)):
            if isinstance(outcome, Exception):
                name = _name(job)
                failed[name] = f"{name}: " + " ".join(
                    f"{type(outcome).__name__}: {outcome}".split()
                )
                notes.print(f"[red]failed[/red] {escape(failed[name])}", soft_wrap=True)
            else:
                kept.add(outcome)
            tell(1.0)
    return failed


def _name(job: Job) -> str:
    if isinstance(job, RateJob):
        return job.family
    what = (
        f"{job.contender.name} {job.contender.resume}"
        if isinstance(job, RunJob)
        else "bound"
    )
    return f"{what} on {job.load.family} {job.load.shape}, seed {job.seed}"


def _publish(result: Evidence, out: Path, notes: Console) -> None:
    from evidence.policy.plot import plot  # noqa: PLC0415 - matplotlib takes a second

    lines = summary(result)
    (out / "policy.md").write_text(page(result), encoding="utf-8")
    plot(result, out / "policy.png")
    Console().print(lines, markup=False, highlight=False, soft_wrap=True)
    notes.print(
        f"wrote policy.json, policy.md, policy.png under {escape(str(out))}", soft_wrap=True
    )
    if out == Path("docs/results") and fill_readme(README, lines):
        notes.print(f"filled {README}")


def fill_readme(readme: Path, text: str) -> bool:
    """Put a summary between the markers of the policy; False where there are none."""
    if not readme.exists():
        return False
    before = readme.read_text(encoding="utf-8")
    # A function, because a backslash in the text would mean something to `re`.
    filled, count = _BLOCK.subn(lambda _: f"{text}\n", before)
    if count:
        readme.write_text(filled, encoding="utf-8")
    return count > 0
