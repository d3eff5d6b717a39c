"""What is too long for every change runs at night: `make nightly`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--nightly",
        action="store_true",
        help="Run the tests marked nightly, and no others.",
    )


# Folders mark their own first.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    at_night = config.getoption("--nightly")
    left_out = [
        item for item in items if (item.get_closest_marker("nightly") is None) == at_night
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
