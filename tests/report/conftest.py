"""The report in a real browser."""

import browser
import pytest
from shown_report import DESKTOP, pixels

from lrp3d.explanation.clip_report import report


@pytest.fixture(scope="session")
def windows():
    """One browser window per width, opened when a test first wants it."""
    if browser.missing():
        pytest.skip(f"the page needs a browser: {browser.missing()}")
    opened = {}

    def window(width):
        if width not in opened:
            opened[width] = browser.Browser(width, 844)
        return opened[width]

    yield window
    for one in opened.values():
        one.__exit__()


@pytest.fixture
def shown(windows, tmp_path):
    """Open the report of an explanation in a window; whatever the console says fails the test."""
    used = []

    def show(explanation, width=DESKTOP, **texts):
        frames = explanation.relevance.shape[2]
        path = tmp_path / "report.html"
        path.write_text(report(explanation, pixels(frames), **texts), encoding="utf-8")
        window = windows(width)
        window.open(path)
        used.append(window)
        return window

    yield show
    for window in used:
        assert window.complaints() == []


@pytest.fixture
def opened(windows):
    """Open a page in a window, as a reader of a scheme sees it; whatever the console says fails the test."""
    used = []

    def open_page(path, width=DESKTOP, scheme="light", media=""):
        window = windows(width)
        window.emulate(media, scheme)
        window.open(path)
        used.append(window)
        return window

    yield open_page
    for window in used:
        window.emulate()
        assert window.complaints() == []
