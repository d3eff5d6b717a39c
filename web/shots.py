"""`python -m web.shots`: the pictures of the page in the README, from a running service.

It needs chromium and Playwright, which is among the `dev` extras.
"""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import httpx
import typer
from playwright.sync_api import Browser, Page, expect, sync_playwright
from rich.console import Console

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
URL = "http://127.0.0.1:8000/demo/"
WIDTH, HEIGHT = 1280, 1000
MARGIN = 12
# When the last of the shown readers have asked, and the first have read it all.
BURST_AT_S = 32
# More than the engines of `serve_config.yaml` hold; a browser would send six at a time.
NUM_STREAMS = 24
STREAM = {
    "prompt": "x" * 600,
    "max_tokens": 1200,
    "vllm_xargs": {"qoe_profile": "reading"},
}
PATIENCE_MS = 60_000

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


@app.command()
def main(
    url: Annotated[str, typer.Option(help="Of the page.")] = URL,
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = IMAGES,
) -> None:
    """Take both pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium)
        _burst(browser, url, out / "demo-burst.png")
        _live(browser, url, out / "demo-live.png")
        browser.close()


def _burst(browser: Browser, url: str, path: Path) -> None:
    """The recorded burst in its middle."""
    page = _opened(browser, url, "light")
    page.evaluate(
        """(t) => {
          const time = document.getElementById("time");
          time.value = t;
          time.dispatchEvent(new Event("input"));
        }""",
        BURST_AT_S,
    )
    _take(page, path, "#burst-section > .title", "#readers")


def _live(browser: Browser, url: str, path: Path) -> None:
    """A chat at reading pace while the engines have more streams than memory."""
    page = _opened(browser, url, "dark")
    model = page.locator("#model").inner_text()
    with ThreadPoolExecutor(NUM_STREAMS) as pool:
        for _ in range(NUM_STREAMS):
            pool.submit(_ask, url, model)
        _chat(page)
        _take(page, path, "#chat-section > .title", "#fleet")


def _ask(url: str, model: str) -> None:
    body = {"model": model, **STREAM}
    api = httpx.URL(url).join("../v1/completions")
    httpx.post(api, json=body, trust_env=False, timeout=PATIENCE_MS / 1000)


def _chat(page: Page) -> None:
    """Until some text is there, and the fleet shows what the engines do."""
    page.locator("#send").click()
    expect(page.locator("#answer")).to_have_text(re.compile(".{40,}"), timeout=PATIENCE_MS)
    page.locator("#fleet").scroll_into_view_if_needed()
    several = re.compile(r"[2-9]|\d\d")
    running = page.locator("[data-part=running]").first
    expect(running).to_have_text(several, timeout=PATIENCE_MS)


def _opened(browser: Browser, url: str, scheme: str) -> Page:
    dark = scheme == "dark"
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#send:enabled")
    page.wait_for_selector("#readers > li")
    return page


def _take(page: Page, path: Path, first: str, last: str) -> None:
    """From the top of one element to the end of another, as wide as the page."""
    top, bottom = page.evaluate(
        """([first, last]) => [
          document.querySelector(first).getBoundingClientRect().top + scrollY,
          document.querySelector(last).getBoundingClientRect().bottom + scrollY,
        ]""",
        [first, last],
    )
    clip = {"x": 0, "y": top - MARGIN, "width": WIDTH, "height": bottom - top + 2 * MARGIN}
    page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]
    console.print(f"wrote {path.name}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    app()
