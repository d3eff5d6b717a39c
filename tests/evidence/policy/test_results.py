import pytest

from bench.errors import UserError
from evidence.policy.jobs import ANDES, BURST, FCFS, Contender, Load, RateJob, RunJob
from evidence.policy.results import Kept, code_of, read, write

LOAD = Load("azure", BURST)


def test_a_row_is_kept_for_the_code_it_was_run_with_and_no_other(make, tmp_path) -> None:
    path = tmp_path / "runs.jsonl"
    run, rate = make.run(LOAD, FCFS, mean_qoe_area=0.25), make.row(RateJob("azure"))
    bound = make.bound(LOAD, 0.75)
    for row in (run, rate, bound):
        Kept(path, lambda job: "now").add(row)
    assert Kept(path, lambda job: "now").rows == {
        run.job: run,
        rate.job: rate,
        bound.job: bound,
    }
    assert not Kept(path, lambda job: "later").rows


def test_half_a_line_loses_no_other(make, tmp_path) -> None:
    path = tmp_path / "runs.jsonl"
    run = make.run(LOAD, FCFS)
    Kept(path, lambda job: "now").add(run)
    path.write_bytes(path.read_bytes() + b'\n{"code":"now","row":{"ty')
    assert list(Kept(path, lambda job: "now").rows) == [run.job]
    other = make.run(LOAD, ANDES["offload"])
    Kept(path, lambda job: "now").add(other)
    assert list(Kept(path, lambda job: "now").rows) == [run.job, other.job]


def test_what_is_written_is_read(make, tmp_path) -> None:
    result = make.evidence([make.run(LOAD, FCFS), make.bound(LOAD, 1 / 4)])
    write(tmp_path / "policy.json", result)
    assert read(tmp_path / "policy.json") == result
    (tmp_path / "policy.json").write_text("{}")
    with pytest.raises(UserError, match="not a result of andes evidence"):
        read(tmp_path / "policy.json")


def test_only_what_decides_a_run_changes_its_code(tmp_path) -> None:
    def put(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def code(
        scale: float = 1.0,
        lengths: tuple[str, ...] = (),
        contender: Contender = ANDES["recompute"],
    ) -> str:
        return code_of(scale, lengths, tmp_path)(RunJob(LOAD, 0, contender))

    for name in ("bench/load.py", "bench/scores.py", "bench/traces.py"):
        put(name, "")
    for name in ("bound", "demand", "families", "policy/measure"):
        put(f"evidence/{name}.py", "")
    before = code()
    put("docs/page.md", "new")
    put("evidence/policy/page.py", "new")
    assert code() == before
    assert len({before, code(0.5), code(1.0, ("a.csv",))}) == 3
    others = code(contender=FCFS)
    put("scheduler/policies/andes.py", "new")
    assert code() != before
    assert code(contender=FCFS) == others
    put("scheduler/andes.py", "new")
    assert code(contender=FCFS) != others
