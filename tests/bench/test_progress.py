import io

from rich.console import Console

from bench.client import Progress
from bench.progress import progress_bar


def test_a_terminal_sees_the_counts_and_keeps_none_of_them() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with progress_bar(console) as show:
        show(Progress(total=2000, sent=1500, finished=1200, failed=3, tokens=0))
        written = console.file.getvalue()
    for text in ("1,500 sent", "1,200 of 2,000 finished", "3 failed", "tokens/s"):
        assert text in written
    erase_line = "\x1b[2K"
    assert console.file.getvalue().endswith(erase_line)


def test_a_log_gets_nothing() -> None:
    console = Console(file=io.StringIO())
    with progress_bar(console) as show:
        assert show is None
    assert console.file.getvalue() == ""
