"""The page at `/demo` in a browser, on the service as shipped: two replicas and HAProxy."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Page, Route, expect, sync_playwright

if TYPE_CHECKING:
    from conftest import Client

PHONE = {"width": 360, "height": 740}
# What the page asks for, and how late its numbers may be.
MAX_TOKENS = 600
METER_MS = 400
# The pace of the page's reader.
READ_TDS = 4.8
# More than an idle engine writes while a test looks: it is 600 within 3 s.
LONG_TOKENS = 1800


@contextmanager
def opened(direct: Client, **options: Any) -> Iterator[Page]:
    """The page, ready to use, in the system's chromium.

    Playwright runs a loop in this thread, in which Ray answers nobody: it begins and ends
    with a test, and a test asks the service by HTTP.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium())
        page = browser.new_page(**options)
        page.set_default_timeout(20_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(_url(direct))
        expect(page.locator("#readers > li")).to_have_count(8)
        expect(page.locator("#send")).to_be_enabled()
        yield page
        browser.close()
    assert errors == []


def _chromium() -> str:
    """Without it nothing is proven: that is said, and in CI it is a failure."""
    found = shutil.which("chromium")
    if found is None:
        what = "there is no chromium on PATH: the page is untested"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return found


def _url(direct: Client) -> str:
    return direct.service.base_url.removesuffix("/v1") + "/demo"


@pytest.fixture
def page(direct: Client) -> Iterator[Page]:
    with opened(direct, viewport={"width": 1280, "height": 900}) as page:
        yield page


def fleet(direct: Client) -> dict[str, Any]:
    seen: dict[str, Any] = direct.http.get(f"{_url(direct)}/fleet").json()
    return seen


def total(direct: Client, field: str) -> int:
    return sum(replica[field] for replica in fleet(direct)["replicas"])


def buffer(page: Page) -> tuple[int, int]:
    """Tokens delivered, and shown."""
    said = page.locator("#buffer-says").inner_text()
    delivered, shown, _ = map(int, re.findall(r"\d+", said))
    return delivered, shown


def until_shown(page: Page, tokens: int) -> tuple[int, int]:
    """Tokens delivered and shown, once at least so many are shown."""
    deadline_s = time.monotonic() + 60.0
    while (seen := buffer(page))[1] < tokens:
        assert time.monotonic() < deadline_s, seen
        page.wait_for_timeout(50)
    return seen


def look(page: Page, state: str) -> None:
    """As a browser does when its tab is left; without a screen none ever does."""
    page.evaluate(
        "state => { Object.defineProperty(document, 'visibilityState', "
        "{ configurable: true, get: () => state }); "
        "document.dispatchEvent(new Event('visibilitychange')); }",
        state,
    )


def ask_for(page: Page, tokens: int) -> None:
    """Answers of as many tokens as this, whatever the page asks for."""

    def lengthen(route: Route) -> None:
        asked = route.request.post_data_json | {"max_tokens": tokens}
        route.continue_(post_data=json.dumps(asked))

    page.route("**/v1/chat/completions", lengthen)


def test_a_burst_fills_the_columns_of_both_schedulers(page: Page) -> None:
    page.get_by_label("4×").check()
    page.get_by_role("button", name="Burst").click()
    expect(page.locator("#burst")).to_have_text("Pause")
    expect(page.locator("#burst-status")).to_contain_text("307 readers are asking")
    after_24_s = re.compile(r"^(2[4-9]|[3-6]\d)\.")
    expect(page.locator("#clock")).to_have_text(after_24_s, timeout=20_000)
    page.locator("#burst").click()

    waiting = {
        policy: int(page.locator(f"#count-{policy}").inner_text().split()[0])
        for policy in ("fcfs", "andes")
    }
    assert waiting["fcfs"] > 2 * waiting["andes"] > 0
    last = page.locator("#readers > li").last
    assert last.locator(".fcfs .text").inner_text().strip() == ""

    page.locator("#time").focus()
    page.keyboard.press("End")
    assert len(last.locator(".andes .text").inner_text().split()) > 20
    expect(page.get_by_role("region", name="Reader 6, Andes")).to_contain_text("QoE 1.00")
    slow = page.get_by_role("region", name="Reader 6, First come, first served")
    expect(slow).to_contain_text("QoE 0.33")
    expect(page.locator("#numbers")).to_contain_text("Mean QoE")


def test_a_chat_is_shown_at_the_pace_of_its_reader(page: Page, direct: Client) -> None:
    before = total(direct, "tokens_total")
    asked_at_s = time.monotonic()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#chat-status")).to_have_text("Streaming.")
    delivered, shown = until_shown(page, 12)
    text = page.locator("#answer").inner_text()
    # A letter a token; the engine writes as fast as it can.
    most = READ_TDS * (time.monotonic() - asked_at_s) + 5
    assert shown <= most
    assert 5 <= len(text) <= most
    assert delivered > shown
    page.get_by_role("button", name="Skip to the end").click()
    expect(page.locator("#answer")).to_have_text(re.compile(r".{33,}"))
    page.locator("#unpaced").check()
    done = f"Done: {MAX_TOKENS} tokens"
    expect(page.locator("#chat-status")).to_contain_text(done, timeout=30_000)
    assert buffer(page) == (MAX_TOKENS, MAX_TOKENS)
    assert total(direct, "tokens_total") == before + MAX_TOKENS


def test_a_hidden_tab_waits_and_tells_the_service(page: Page) -> None:
    told: list[Any] = []
    # A stream that has ended cannot be told anything.
    ask_for(page, tokens=LONG_TOKENS)
    page.on(
        "request",
        lambda r: told.append((r.url, r.post_data_json)) if "/v1/qoe/" in r.url else None,
    )
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#chat-status")).to_have_text("Streaming.")
    look(page, "hidden")
    expect(page.locator("#chat-status")).to_have_text("Paused while this tab is hidden.")
    page.wait_for_timeout(METER_MS)
    delivered, shown = buffer(page)
    page.wait_for_timeout(1200)
    assert buffer(page)[1] == shown
    assert buffer(page)[0] > delivered
    back_at_s = time.monotonic()
    look(page, "visible")
    _, now = until_shown(page, shown + 1)
    assert now <= shown + READ_TDS * (time.monotonic() - back_at_s) + 5
    assert [said["paused"] for _, said in told] == [True, False]
    assert all(re.search(r"/v1/qoe/chatcmpl-.{32,}$", url) for url, _ in told)
    page.get_by_role("button", name="Stop").click()


def wait_for_running(direct: Client, count: int) -> None:
    """Wait until the engines report so many running streams."""
    deadline_s = time.monotonic() + 60.0
    while total(direct, "running") != count:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_tab_that_is_closed_frees_the_engine_long_before_its_answer_ends(
    page: Page, direct: Client
) -> None:
    before = total(direct, "tokens_total")
    ask_for(page, tokens=LONG_TOKENS)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#chat-status")).to_have_text("Streaming.")
    wait_for_running(direct, 1)
    page.close()
    wait_for_running(direct, 0)
    assert total(direct, "tokens_total") - before < LONG_TOKENS


def test_the_fleet_shows_what_the_replicas_report(page: Page, direct: Client) -> None:
    seen = fleet(direct)
    assert seen["silent"] == 0
    assert len({replica["id"] for replica in seen["replicas"]}) == 2
    page.get_by_role("link", name="Fleet").click()
    expect(page.locator("#replicas > li")).to_have_count(2)
    expect(page.locator("#replicas")).to_contain_text(seen["replicas"][0]["id"])
    with direct.open("completions", prompt="x", stream=True, max_tokens=1500) as response:
        # An iterator that nobody keeps closes the connection.
        lines = response.iter_lines()
        next(lines)
        expect(page.locator("#replicas .tag", has_text="serving")).to_have_count(1)
    expect(page.locator("#replicas .tag", has_text="idle")).to_have_count(2)


def test_a_phone_never_scrolls_sideways(direct: Client) -> None:
    with opened(direct, viewport=PHONE, has_touch=True, color_scheme="dark") as phone:
        _use(phone)
        assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        background = phone.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", background))) < 64, "it is not dark"


def _use(phone: Page) -> None:
    phone.get_by_role("link", name="Fleet").click()
    expect(phone.locator("#replicas > li")).to_have_count(2)
    phone.get_by_role("button", name="Send").click()
    expect(phone.locator("#chat-status")).to_have_text("Streaming.")
    phone.locator("#time").focus()
    phone.keyboard.press("End")
    phone.get_by_role("button", name="Stop").click()


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached")

    tab_to(".skip")
    page.keyboard.press("Enter")
    tab_to("#burst")
    page.keyboard.press("Enter")
    expect(page.locator("#burst")).to_have_text("Pause")
    expect(page.locator("#time")).not_to_have_value("0")
    page.keyboard.press("Space")
    expect(page.locator("#burst")).to_have_text("Go on")
    tab_to("#time")
    page.keyboard.press("End")
    expect(page.locator("#count-fcfs")).to_contain_text("0 kept waiting")
    tab_to("input[name=speed]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[name=speed]:checked")).to_have_value("4")
    tab_to("#prompt")
    page.keyboard.type(" And a hill.")
    tab_to("#pace")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#pace-says")).to_have_text("4.9 tokens/s")
    tab_to("#send")
    page.keyboard.press("Enter")
    expect(page.locator("#chat-status")).to_have_text("Streaming.")
    page.keyboard.press("Enter")
    expect(page.locator("#chat-status")).to_contain_text("Stopped")


def test_less_motion_moves_in_steps(direct: Client) -> None:
    with opened(direct, reduced_motion="reduce") as calm:
        calm.get_by_role("button", name="Burst").click()
        steps = calm.evaluate(
            """async () => {
              let steps = 0;
              const clock = document.getElementById("clock");
              new MutationObserver(() => (steps += 1)).observe(clock, { childList: true });
              await new Promise((resolve) => setTimeout(resolve, 2000));
              return steps;
            }"""
        )
        assert 1 <= steps <= 5
