import json

import pytest

pytest.importorskip("vllm")

from bench.cli import main


def test_the_planner_is_measured_beside_vllm_in_one_run(tmp_path) -> None:
    out = tmp_path / "micro.json"
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "microbench",
                "--streams",
                "20",
                "--streams",
                "60",
                "--replicas",
                "3",
                "--steps",
                "20",
                "--json",
                str(out),
            ]
        )
    assert ended.value.code == 0
    measured = json.loads(out.read_text())
    assert [size["streams"] for size in measured["sizes"]] == [20, 60]
    for size in measured["sizes"]:
        assert 0 < size["plan_ms"]["p50"] <= size["plan_ms"]["p99"]
        assert size["andes_ms"]["p50"] > size["plan_ms"]["p50"]
        # Each is rounded on its own.
        assert size["ratio"] == pytest.approx(
            size["plan_ms"]["p50"] / size["vllm_ms"]["p50"], abs=1e-3
        )
    for light in measured["light"]:
        assert 0 < light["vllm_ms"]["p50"] <= light["vllm_ms"]["p99"]
        # A noisy machine decides which is longer; neither is a step of the model.
        assert abs(light["overhead"]) < 1
    (fleet,) = measured["fleets"]
    assert fleet["replicas"] == 3
    for placed in (fleet["decision_ms"], fleet["turn_ms"], fleet["report_ms"]):
        assert 0 < placed["p50"] <= placed["p99"]
    assert fleet["ratio"] == pytest.approx(
        fleet["decision_ms"]["p50"] / fleet["turn_ms"]["p50"], rel=1e-2
    )


def test_a_silly_size_is_refused_in_one_line(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["microbench", "--streams", "1"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "--streams=1" in error
    assert "2 to 20,000" in error
