import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import UserError
from bench.top.command import WINDOW_S, Pages, _next

runner = CliRunner()


def top(*arguments: str):
    return runner.invoke(app, ["top", *arguments])


def test_once_prints_the_fleet_and_ends(server, page) -> None:
    server.text = page("abc")
    done = top("--once", "--url", server.url)
    assert done.exit_code == 0, done.output
    assert "abc" in done.stdout
    assert "12 scored" in done.stdout


def test_nodes_are_named_by_repeating_the_option(server, page) -> None:
    server.text = page("abc")
    done = top("--once", "--url", server.url, "--url", server.url)
    assert "24 scored" in done.stdout


def test_what_is_no_terminal_is_shown_once(server, page) -> None:
    server.text = page("abc")
    assert top("--url", server.url).exit_code == 0


@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("", 500, "answers HTTP 500."),
        ("", 200, "no replica of Andes is on it yet."),
        ("ray_andes_engine_info{} x\n", 200, "not a page of metrics"),
    ],
    ids=["an error", "no replica", "no page"],
)
def test_a_page_that_does_not_help_is_one_line(
    server, text: str, status: int, message: str
) -> None:
    server.text, server.status = text, status
    done = top("--once", "--url", server.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("andes: ")
    assert server.url in done.stderr
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_page_that_does_not_answer_is_one_line() -> None:
    # A port of the system's that nobody listens on.
    done = top("--once", "--url", "http://127.0.0.1:1/metrics")
    assert done.exit_code == 1
    assert done.stderr == "andes: no answer from http://127.0.0.1:1/metrics: " + (
        "connection refused.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "10.0.0.7:8080"], "--url=10.0.0.7:8080 is invalid: it must begin with"),
        (
            ["--every-s", "0"],
            "--every-s=0 is invalid: it must be a number from 0.5 to 3,600",
        ),
    ],
)
def test_a_bad_option_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    done = top(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_service_that_goes_away_is_said_above_what_was_seen_last(server, page) -> None:
    server.text = page("abc")
    pages = Pages([server.url])
    pages.look()
    server.status = 503
    view = _next(pages)
    assert [replica.name for replica in view.fleet.replicas] == ["abc"]
    assert view.notice == f"{server.url} answers HTTP 503."
    server.status = 200
    assert _next(pages).notice == ""
    pages.close()


def test_speeds_are_of_the_last_twenty_seconds(server, page) -> None:
    times_s = iter(range(0, 1000, 5))
    pages = Pages([server.url], now_s=lambda: next(times_s))
    server.text = page("abc")
    # Over less than that, two looks may see the tokens of ten seconds a second apart.
    assert [pages.look().before for _ in range(4)] == [None] * 4
    assert [pages.look().elapsed_s for _ in range(5)] == [WINDOW_S] * 5
    pages.close()


def test_nothing_is_drawn_before_there_was_a_first_look(server) -> None:
    pages = Pages([server.url])
    with pytest.raises(UserError, match="no replica"):
        pages.look()
    assert pages.last("why") is None
    pages.close()
