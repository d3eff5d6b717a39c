import msgspec
import pytest

from bench.demo.comparison import Comparison, read_comparison
from bench.errors import UserError


@pytest.fixture
def result(compared) -> Comparison:
    return compared((0.4, 0.5, 0.6), (0.8, 1.0, 0.9))


def test_ratios_are_taken_within_pairs_whatever_came_first(result) -> None:
    assert result.ratios(lambda s: s.mean_qoe_area) == pytest.approx([2.0, 2.0, 1.5])


def test_what_was_written_is_read_again(result, tmp_path) -> None:
    path = tmp_path / "demo.json"
    path.write_bytes(msgspec.json.encode(result))
    assert read_comparison(path) == result


@pytest.mark.parametrize("content", [None, b"{}", b"not json"])
def test_a_file_that_is_none_of_ours_is_refused_by_name(content, tmp_path) -> None:
    path = tmp_path / "demo.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"demo\.json: "):
        read_comparison(path)
