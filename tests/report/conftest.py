"""The report in a real browser."""

import browser
import pytest
from shown_report import DESKTOP, pixels

from lrp3d.explanation.clip_report import Provenance, report

HEIGHT = 844


@pytest.fixture(scope="session")
def windows():
    """The browser's window, of the width that a test wants."""
    if browser.missing():
        pytest.skip(f"the page needs a browser: {browser.missing()}")
    with browser.Browser(DESKTOP, HEIGHT) as one:

        def window(width):
            one.resize(width, HEIGHT)
            return one

        yield window


@pytest.fixture
def shown(windows, tmp_path):
    """Open the report of an explanation in a window; whatever the console says fails the test."""
    used = []

    def show(explanation, width=DESKTOP, **texts):
        frames = explanation.relevance.shape[2]
        path = tmp_path / "report.html"
        origin = Provenance(**{name: texts.pop(name) for name in Provenance._fields if name in texts})
        path.write_text(report(explanation, pixels(frames), origin=origin, **texts), encoding="utf-8")
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
