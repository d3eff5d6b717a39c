"""What is too long for every change runs at night: `make nightly`."""

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's business.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", settings.get_profile("any machine"), max_examples=3000)
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nightly",
        action="store_true",
        help="Run the tests marked nightly or fuzz, with many examples, and no others.",
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts a suite in the background has it ignore Ctrl-C, and with it all
    # processes that are to be stopped so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("--nightly"):
        settings.load_profile("nightly")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process as soon as all is torn down and told, with the suite's own status.

    Ray, torch, numba and a browser's driver have threads and exit handlers of their own in
    it by then. A run of 2,525 passed tests ended in a segmentation fault among them.
    """
    session = config.pluginmanager.get_plugin("session")
    if session is None:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(session.exitstatus))


# Folders mark their own first.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    at_night = config.getoption("--nightly")
    left_out = [item for item in items if not _runs(item, at_night=at_night)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _runs(item: pytest.Item, *, at_night: bool) -> bool:
    if item.get_closest_marker("fuzz") is not None:
        return True
    return (item.get_closest_marker("nightly") is not None) == at_night
