import pytest

from evidence.policy.findings import losses, same_runs, worth
from evidence.policy.jobs import ANDES, BURST, FCFS, PAPER, Contender, Load
from evidence.policy.table import AREA, TOKENS, Table, best_baseline

LOAD, OTHER = Load("azure", BURST), Load("mix", BURST)
OURS, PAPERS = ANDES["recompute"], PAPER["recompute"]
WITHOUT = Contender("andes", settings=(("part", "false"),))


def test_every_number_behind_the_best_baseline_is_a_loss_and_no_other(make) -> None:
    ours = make.run(LOAD, OURS, mean_qoe_area=0.8, p5_qoe_area=0.2)
    rows = [
        ours,
        make.run(LOAD, FCFS, mean_qoe_area=0.3, p5_qoe_area=0.4),
        make.run(LOAD, PAPERS, mean_qoe_area=0.8004, p5_qoe_area=0.3),
    ]
    found = losses(Table(rows), [LOAD, OTHER])
    assert [(s.column.title, s.who, s.mode) for s in found] == [
        ("p5 area", "fcfs", "recompute")
    ]
    assert found[0].gain == pytest.approx(-0.2)


def test_a_longer_wait_is_a_loss_and_a_shorter_one_is_not(make) -> None:
    def table(ours_s: float) -> Table:
        stall = make.run(LOAD, FCFS).quality.stall_s
        ours = make.run(LOAD, OURS, stall_s=type(stall)(0.1, ours_s, 9.0))
        return Table([ours, make.run(LOAD, FCFS)])

    assert [s.column.title for s in losses(table(1.5), [LOAD])] == ["stall p99, s"]
    assert not losses(table(0.5), [LOAD])


def test_only_seeds_that_both_have_are_compared(make) -> None:
    rows = [make.run(LOAD, OURS, seed, mean_qoe_area=0.5 + 0.1 * seed) for seed in (0, 1)]
    standing = best_baseline(
        Table([*rows, make.run(LOAD, FCFS, 1, mean_qoe_area=0.5)]), LOAD, "recompute", AREA
    )
    assert standing is not None
    assert (standing.ours, standing.theirs) == (0.6, 0.5)


def test_a_part_is_worth_its_paired_difference_with_the_spread_over_seeds(make) -> None:
    worths = {LOAD: (0.1, 0.2, 0.3), OTHER: (0.3, 0.2, 0.1)}
    rows = [
        make.run(load, contender, seed, mean_qoe_area=0.1 * seed + more)
        for load, each in worths.items()
        for seed, gain in enumerate(each)
        for contender, more in ((OURS, gain), (WITHOUT, 0.0))
    ]
    one = worth(Table(rows), [LOAD], "recompute", WITHOUT, AREA)
    assert one is not None
    assert one.mean == pytest.approx(0.2)
    # Deviation 0.1 over the root of three seeds; what the load itself does cancels.
    assert one.error == pytest.approx(0.1 / 3**0.5)
    assert one.shows
    both = worth(Table(rows), [LOAD, OTHER], "recompute", WITHOUT, AREA)
    assert both is not None
    assert (both.mean, both.error) == (pytest.approx(0.2), pytest.approx(0.0))


def test_nothing_is_said_of_a_part_without_pairs_and_no_error_of_one_seed(make) -> None:
    table = Table([make.run(LOAD, OURS), make.run(LOAD, WITHOUT, mean_qoe_area=0.4)])
    assert worth(table, [LOAD, OTHER], "recompute", WITHOUT, AREA) is None
    assert worth(table, [], "recompute", WITHOUT, AREA) is None
    assert worth(table, [LOAD], "recompute", WITHOUT, TOKENS) is None
    one = worth(table, [LOAD], "recompute", WITHOUT, AREA)
    assert one is not None
    assert (one.error, one.shows) == (None, False)


def test_contenders_with_the_same_delivery_times_are_found(make) -> None:
    rows = [
        make.run(LOAD, contender, seed, digest=digest)
        for contender, digests in (
            (FCFS, ("a", "b", "c")),
            (PAPERS, ("a", "b", "d")),
            (OURS, ("e", "f", "g")),
        )
        for seed, digest in enumerate(digests)
    ]
    # The same times on another load or seed say nothing.
    rows += [make.run(OTHER, OURS, digest="a"), make.run(LOAD, OURS, 3, digest="a")]
    assert same_runs(rows) == [
        "andes-paper (recompute) and fcfs (recompute) are the same run on azure burst-2 "
        "(2 seeds)."
    ]


def test_one_run_under_many_names_is_one_sentence(make) -> None:
    rows = [make.run(LOAD, contender, digest="a") for contender in (FCFS, PAPERS, OURS)]
    assert same_runs(rows) == [
        "andes (recompute), andes-paper (recompute) and fcfs (recompute) are the same run "
        "on azure burst-2 (1 seed)."
    ]
