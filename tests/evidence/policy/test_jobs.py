from evidence.families import FAMILIES
from evidence.policy.jobs import ANDES, BoundJob, RunJob, plan_jobs


def test_no_job_is_planned_twice_and_every_load_has_its_bound() -> None:
    jobs = plan_jobs(FAMILIES)
    assert len(set(jobs)) == len(jobs)
    runs = {(job.load, job.seed) for job in jobs if isinstance(job, RunJob)}
    assert runs == {(job.load, job.seed) for job in jobs if isinstance(job, BoundJob)}
    assert {load.family for load, _ in runs} == set(FAMILIES)


def test_andes_runs_wherever_another_does() -> None:
    runs = [job for job in plan_jobs(FAMILIES) if isinstance(job, RunJob)]
    ours = {(job.load, job.seed) for job in runs if job.contender in ANDES.values()}
    assert {(job.load, job.seed) for job in runs} == ours


def test_seeds_and_families_only_take_away() -> None:
    everything = plan_jobs(FAMILIES)
    few = plan_jobs(["azure"], 1)
    assert set(few) < set(everything)
    assert {(job.load.family, job.seed) for job in few} == {("azure", 0)}
    assert set(plan_jobs(["azure"], 1, quick=True)) < set(few)
