"""What goes into the pages of the docs."""

from pathlib import Path

from bench.markdown import fill


def test_only_what_is_between_the_markers_is_filled(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert not fill(page, "policy", "new")
    page.write_text("a\n<!-- policy -->\nold\n<!-- /policy -->\nb\n<!-- soak -->\n")
    assert fill(page, "policy", r"new \1")
    assert not fill(page, "soak", "new")
    assert page.read_text() == (
        "a\n<!-- policy -->\nnew \\1\n<!-- /policy -->\nb\n<!-- soak -->\n"
    )
