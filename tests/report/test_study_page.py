"""The page of studies in a real browser: tables that sort and fold, and its look in both schemes and on paper."""

import re

import pytest
from shown_report import DESKTOP, HOSTILE, PHONE, TAB, faults, focused, sticking_out
from studies import summary_of

from lrp3d import study
from lrp3d.study.reporting.inline_svg import inlined
from lrp3d.study.reporting.report import Report
from lrp3d.study.reporting.table_format import Table, Value

NUMBERS = [10, 9, None, 100, 9.5, -3]
HEADER = "th:nth-child({}) button"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of a made-up study with more classes than a page shows at first."""
    labels = [f"doing {i}" for i in range(23)] + [HOSTILE]
    summary = summary_of(classes=24, clips=60, trained=False, labels=labels)
    path = tmp_path_factory.mktemp("study") / "report.html"
    path.write_text(study.report([("one", summary)]).html(), encoding="utf-8")
    return path


@pytest.fixture
def table(opened, tmp_path):
    """Show the page of one table."""

    def show(rows, headers=("name", "ATR"), shown=None):
        path = tmp_path / "table.html"
        path.write_text(Report("T", [Table("t", "T", headers, rows, shown=shown)]).html(), encoding="utf-8")
        return opened(path)

    return show


def column(window, number=1):
    """What a reader sees of a column, from above."""
    rows = "[...document.querySelectorAll('tbody tr')].filter((row) => !row.hidden)"
    return window.run(f"return {rows}.map((row) => (row.cells[{number - 1}] ?? row.cells[0]).innerText)")


def sorting(window):
    return window.run("return [...document.querySelectorAll('th')].map((one) => one.getAttribute('aria-sort'))")


def test_numbers_are_sorted_as_numbers_and_what_is_unknown_is_last(table):
    window = table([[f"m{i}", Value(number, 0.1)] for i, number in enumerate(NUMBERS)])
    window.click(HEADER.format(2))
    assert column(window) == ["m3", "m0", "m4", "m1", "m5", "m2"]
    assert sorting(window) == [None, "descending"]
    window.click(HEADER.format(2))
    assert column(window) == ["m5", "m1", "m4", "m0", "m3", "m2"]
    assert sorting(window) == [None, "ascending"]
    window.click(HEADER.format(2))
    assert column(window) == ["m0", "m1", "m2", "m3", "m4", "m5"]
    assert sorting(window) == [None, None]


def test_names_are_sorted_with_their_numbers_by_the_keyboard_alone(table):
    window = table([["f16", 1], ["F8", 2], ["f9", 3]])
    window.click("h1")
    window.press(TAB)  # to the region that scrolls
    window.press(TAB)
    assert focused(window) == "name"
    window.press(" ")
    assert column(window) == ["F8", "f9", "f16"]
    assert sorting(window) == ["ascending", None]
    assert focused(window) == "name"
    window.press(TAB)
    window.press(" ")
    assert column(window) == ["f9", "F8", "f16"]
    assert sorting(window) == [None, "descending"]


def test_a_folded_table_is_sorted_whole_and_says_what_it_hides(table):
    window = table([[f"{i}", i * 7 % 11] for i in range(11)], shown=4)
    between = "… 7 rows between, in this order"
    assert column(window, 2) == ["0", "7", between, "8", "4"]
    window.click(HEADER.format(2))
    assert column(window, 2) == ["10", "9", between, "1", "0"]
    assert window.text(".unfold") == "Show all 11 rows"
    window.click(".unfold")
    assert column(window, 2) == [str(i) for i in range(10, -1, -1)]
    assert window.run("return document.querySelector('.unfold').getAttribute('aria-expanded')") == "true"
    window.click(".unfold")
    assert column(window, 2) == ["10", "9", between, "1", "0"]


def test_without_its_script_the_page_has_every_row_and_picture(written):
    page = re.sub(r"<script>.*?</script>", "", written.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert all(f"<td>doing {i}</td>" in page for i in range(23))
    assert page.count("<svg ") + page.count("<img ") == 2
    assert "hidden" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (DESKTOP, "dark")])
def test_it_can_be_read_on_phones_and_desktops_in_both_schemes(opened, written, width, scheme):
    window = opened(written, width, scheme)
    assert faults(window) == []
    assert window.run("return document.documentElement.scrollWidth") == width
    assert sticking_out(window) == []
    assert window.run("return window.hacked") is None
    assert window.run("return document.querySelectorAll('script').length") == 1


def test_charts_have_the_colours_of_the_page(opened, written):
    ink = "return getComputedStyle(document.querySelector('.chart')).fill"
    ground = "return getComputedStyle(document.querySelector('section')).backgroundColor"
    for scheme, ends in (
        ("light", ["rgb(27, 36, 48)", "rgb(255, 255, 255)"]),
        ("dark", ["rgb(230, 234, 240)", "rgb(23, 28, 35)"]),
    ):
        window = opened(written, scheme=scheme)
        assert [window.run(script) for script in (ink, ground)] == ends
        white = "getComputedStyle(one).fill === 'rgb(255, 255, 255)' && one.getBoundingClientRect().width > 40"
        assert not window.run(f"return [...document.querySelectorAll('.chart *')].some((one) => {white})")


def test_drawings_of_one_page_share_no_id(written):
    ids = re.findall(r' id="([^"]*)"', written.read_text(encoding="utf-8"))
    assert len(ids) == len(set(ids)) > 10


def test_a_drawing_holds_no_text_that_could_become_html():
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><!-- <script>1</script> --><g id="a" href="#a"/></svg>'
    assert inlined(drawing, "x-") == '<svg><g id="x-a" href="#x-a" /></svg>'


def test_contents_lead_to_every_section(opened, written):
    window = opened(written)
    places = window.run("return [...document.querySelectorAll('nav a')].map((link) => link.getAttribute('href'))")
    assert places == [
        f"#{name}" for name in window.run("return [...document.querySelectorAll('section')].map((s) => s.id)")
    ]
    window.click("nav li:nth-child(3) a")
    assert window.run(
        "return Math.abs(document.querySelector('section:nth-of-type(3)').getBoundingClientRect().top) < 40"
    )


def test_it_is_printed_on_white_paper_without_what_only_a_screen_can_do(opened, written):
    window = opened(written, scheme="dark", media="print")
    assert (
        window.run("return getComputedStyle(document.querySelector('section')).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert window.run("return getComputedStyle(document.querySelector('.chart')).fill") == "rgb(27, 36, 48)"
    for what in ("nav", ".unfold"):
        assert window.run(f"return getComputedStyle(document.querySelector('{what}')).display") == "none"


def test_a_script_that_is_not_the_pages_own_does_not_run(windows, written, tmp_path):
    path = tmp_path / "changed.html"
    page = written.read_text(encoding="utf-8")
    path.write_text(page.replace("</main>", "<script>window.hacked = 1</script></main>"), encoding="utf-8")
    window = windows(DESKTOP)
    window.open(path)
    assert window.run("return window.hacked") is None
    assert window.run("return document.querySelectorAll('th button').length") > 0
    assert any("Content Security Policy" in complaint for complaint in window.complaints())
