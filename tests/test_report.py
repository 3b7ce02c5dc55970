"""The report in a real browser: what is shown, what pointing and keys do, and that nothing leaves the page."""

import re
import sys
from itertools import pairwise

import browser
import pytest
import torch

from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.explanation.explanation import Explanation, Ledger
from lrp3d.explanation.clip_report import report
from lrp3d.video import draw_clip

PHONE, DESKTOP = 390, 1280
RECTANGLES = "[...document.querySelectorAll('%s')].map((one) => one.getBoundingClientRect())"
UP, DOWN, END, HOME, TAB = "\ue013", "\ue015", "\ue010", "\ue011", "\ue004"
MATRIX = [
    [3.0, 1.0, 0.0, 0.0],
    [0.0, 8.0, 0.0, 0.0],
    [0.0, 1.0, 2.0, 1.0],
    [0.0, 0.0, 0.0, 0.0],
]
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\"&amp;{{data}}"


def explained(matrix=MATRIX, frames=None, relevance=None, positions=None):
    """An explanation whose every number is known: relevance lies on each frame as the columns say."""
    matrix = torch.tensor(matrix, dtype=torch.float32)[None]
    logits = matrix.sum(2)
    atr = frame_atr(matrix, positions=positions)
    frames = frames or matrix.shape[2]
    relevance = torch.ones(1, 3, frames, 24, 32) / 100 if relevance is None else relevance
    return Explanation(
        logits=torch.tensor([[-1.0, float(logits.mean())]]),
        target=torch.tensor([1]),
        relevance=relevance,
        frame_relevance=relevance.sum((1, 3, 4)),
        conservation=torch.tensor([2e-7]),
        ledger=Ledger(),
        frame_logits=logits,
        matrix=matrix,
        atr=atr,
        avg_atr=avg_atr(atr, logits),
        max_atr=max_atr(atr),
        positions=positions,
    )


def pixels(frames):
    return draw_clip(frames, 32)[:, :24]


def band(size):
    """A matrix as temporal convolutions make it."""
    apart = (torch.arange(size)[:, None] - torch.arange(size)).abs()
    return (0.3**apart).tolist()


@pytest.fixture(scope="module")
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


def cell(row, column):
    return f"#row-{row} [data-column='{column}']"


def strip(window):
    """What the strip says of every frame: its share, whether it is in the window, whether it is the row's own."""
    return window.run(
        "return [...document.querySelectorAll('#strip li')].map((item) => [item.querySelector('.share').textContent,"
        " item.classList.contains('inside'), item.classList.contains('own')])"
    )


def chosen(window):
    return window.run("return document.querySelector('.row.chosen').id")


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_opens_with_everything_on_it(shown, width):
    window = shown(explained(), width, title="spinning a top", model="I3D", video="clip.mp4", weights="weights of w.pt")
    assert window.text("h1") == "spinning a top"
    assert "I3D · clip.mp4" in window.text("header")
    assert [window.run(f"return document.querySelectorAll('{what}').length") for what in (".row", ".cell")] == [4, 16]
    assert window.run("return [...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    facts = window.text(".facts")
    assert "Logit4" in facts
    assert "Average ATR1.75 of 4 frames" in facts
    assert "Maximum ATR3 of 4 frames" in facts


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("frames", [2, 4, 16, 32, 64])
def test_nothing_sticks_out_of_the_page(shown, width, frames):
    long = "W" * 300
    words = {"title": long, "model": long, "weights": long, "composite": long, "notes": [long]}
    top = [{"label": long, "score": 1.0}]
    window = shown(explained(band(frames)), width, video=f"{long}.mp4", trained=False, top=top, **words)
    assert window.run("return innerWidth") == width
    assert window.run("return document.documentElement.scrollWidth") == width
    outside = (
        "return [...document.querySelectorAll('body *')].filter((one) => one.getClientRects().length"
        " && (one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1))"
        ".map((one) => one.outerHTML.slice(0, 80))"
    )
    assert window.run(outside) == []


def test_the_row_with_the_largest_logit_is_shown_first(shown):
    window = shown(explained())
    assert chosen(window) == "row-1"
    assert window.text("#readout") == "Frame 2 · logit 8 · ATR 1 frame of 4 (2)"


def test_pointing_at_a_cell_shows_its_row_and_its_frame(shown):
    window = shown(explained())
    window.point_at(cell(0, 1))
    assert chosen(window) == "row-0"
    assert strip(window) == [
        ["75 %", True, True],
        ["25 %", True, False],
        ["0 %", False, False],
        ["0 %", False, False],
    ]
    said = "Frame 1 · logit 4 · ATR 2 frames of 4 (1–2)frame 2 adds 1, 25 % of the row"
    assert window.text("#readout") == said
    window.point_at(cell(2, 2))
    assert strip(window) == [
        ["0 %", False, False],
        ["25 %", True, False],
        ["50 %", True, True],
        ["25 %", True, False],
    ]
    assert window.text("#readout").startswith("Frame 3 · logit 4 · ATR 3 frames of 4 (2–4)")


def test_the_outline_in_the_matrix_is_the_atr_window(shown):
    window = shown(explained())
    window.point_at(cell(2, 0))
    box = "document.querySelector('{}').getBoundingClientRect()"
    outline, first, last = (
        box.format(f) for f in ("#row-2 .frame-of-window", cell(2, 1).replace("'", '"'), cell(2, 3).replace("'", '"'))
    )
    assert window.run(f"return Math.abs({outline}.left - {first}.left)") < 2
    assert window.run(f"return Math.abs({outline}.right - {last}.right)") < 2


def test_leaving_the_matrix_returns_to_the_row_that_was_clicked(shown):
    window = shown(explained())
    window.click(cell(2, 1))
    window.point_at(cell(0, 0))
    assert chosen(window) == "row-0"
    window.point_at("h1")
    assert chosen(window) == "row-2"


def test_rows_are_reached_with_the_keyboard_alone(shown):
    window = shown(explained())
    window.click("h1")  # the window has the focus, nothing in it does
    window.press(TAB)
    assert window.run("return document.activeElement.id") == "row-1"
    for key, row in ((DOWN, 2), (DOWN, 3), (DOWN, 3), (UP, 2), (HOME, 0), (UP, 0), (END, 3)):
        window.press(key)
        assert window.run("return document.activeElement.id") == chosen(window) == f"row-{row}"
    assert window.text("#readout") == "Frame 4 · logit 0 · no relevance, so no ATR"
    assert not any(inside for _, inside, _ in strip(window))


def test_a_tap_on_a_phone_shows_a_row(shown):
    window = shown(explained(), PHONE)
    window.click(cell(2, 1))
    assert chosen(window) == "row-2"
    assert "Frame 3" in window.text("#readout")


def test_every_row_and_frame_has_a_name_that_can_be_read_aloud(shown):
    window = shown(explained())
    assert window.run("return document.querySelector('#row-0').getAttribute('aria-label')") == (
        "Frame 1, logit 4, ATR 2 frames of 4 (1–2)"
    )
    window.point_at(cell(0, 0))
    assert window.run("return document.querySelector('#strip button').getAttribute('aria-label')") == (
        "Frame 1: relevance 3, 75 % of the row, in the ATR window. Show in the player"
    )


def test_the_player_moves_through_the_frames(shown):
    window = shown(explained(), DESKTOP)
    assert window.text("#where") == "1 of 4"
    first = window.run("return document.querySelector('#painted').src")
    window.run("const seek = document.querySelector('#seek'); seek.value = 2; seek.dispatchEvent(new Event('input'))")
    assert window.text("#where") == "3 of 4"
    assert window.run("return document.querySelector('#painted').src") != first
    window.click("#strip li:nth-child(2) button")
    assert window.text("#where") == "2 of 4"
    window.click("#play")
    assert window.text("#play") == "Pause"
    moved = "document.querySelector('#where').textContent != '2 of 4'"
    look = f"const look = () => {moved} ? done(true) : setTimeout(look, 5)"
    assert window.run(f"return new Promise((done) => {{ {look}; look(); }})")
    window.click("#play")
    assert window.text("#play") == "Play"
    window.run("const s = document.querySelector('#strength'); s.value = 25; s.dispatchEvent(new Event('input'))")
    assert window.run("return getComputedStyle(document.querySelector('#painted')).opacity") == "0.25"


def test_the_times_of_frames_are_shown_where_they_are_known(shown):
    window = shown(explained(), times=[0.5, float("nan"), 1.5, 2.0])
    assert window.text("#where") == "1 of 4 · 0.50 s"
    window.click("#strip li:nth-child(2) button")
    assert window.text("#where") == "2 of 4"


def test_a_row_of_a_negative_logit_is_not_against_itself(shown):
    window = shown(explained([[4.0, 0.0], [-1.0, -3.0]]))
    window.point_at(cell(1, 1))
    assert window.text("#readout").startswith("Frame 2 · logit −4 · ATR 2 frames of 2 (1–2)frame 2 adds −3, 75 %")
    assert window.run("return document.querySelectorAll('.amount.against').length") == 0
    assert "brown" not in window.text(".legend")


def test_what_speaks_against_a_rows_logit_is_marked_and_explained(shown):
    window = shown(explained([[4.0, -1.0], [0.0, 3.0]]))
    window.point_at(cell(0, 0))
    against = window.run("return [...document.querySelectorAll('.amount')].map((one) => one.matches('.against'))")
    assert against == [False, True]
    assert "brown bars: against the row’s logit" in window.text(".legend")


def test_signed_relevance_says_what_its_colours_mean(shown):
    signed = torch.ones(1, 3, 4, 24, 32)
    signed[..., :12, :] = -0.5
    assert "yellow speaks for the class, blue against it" in shown(explained(relevance=signed)).text("#colours")
    assert "the lighter, the more" in shown(explained()).text("#colours")


def test_rows_of_a_strided_model_are_steps_of_several_frames(shown):
    window = shown(explained([[2.0, 0.0], [1.0, 3.0]], frames=8))
    window.point_at(cell(1, 0))
    assert window.text("#readout") == (
        "Step 2 (frames 5–8) · logit 4 · ATR 2 steps of 2 (frames 1–8)step 1 adds 1, 25 % of the row"
    )
    captions = window.run("return [...document.querySelectorAll('#strip .which')].map((one) => one.textContent)")
    assert captions == ["1–4", "5–8"]
    assert window.text(".ylabel") == "explained step i"
    assert "a step: 4 frames" in window.text(".legend")


def test_a_model_that_answers_from_some_frames_has_their_numbers_on_its_rows(shown):
    window = shown(explained([[2.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0]], positions=[1, 3]))
    assert window.run("return [...document.querySelectorAll('.row .number')].map((one) => one.textContent)") == [
        "2",
        "4",
    ]
    assert window.text("#readout").startswith("Frame 2 · logit 3 · ATR 2 frames of 4 (1–2)")


def test_numbers_beside_the_rows_are_on_one_line(shown):
    for matrix, positions in ((band(16), None), ([band(16)[11], band(16)[15]], [11, 15])):
        window = shown(explained(matrix, positions=positions))
        heights = window.run("return [...document.querySelectorAll('.number')].map((one) => one.offsetHeight)")
        assert max(heights) < 16


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("frames", [1, 2, 16, 40, 128])
def test_rows_can_be_read_and_numbers_below_do_not_meet(shown, width, frames):
    window = shown(explained(band(frames)), width)
    assert window.run(f"return Math.min(...{RECTANGLES % '.row'}.map((box) => box.height))") >= 24
    numbers = window.run(f"return {RECTANGLES % '.xticks span'}.map((box) => [box.left, box.right, box.height])")
    assert all(right + 2 < left for (_, right, _), (left, _, _) in pairwise(numbers))
    assert all(height < 16 for _, _, height in numbers)
    assert window.text(".xticks span") == "1"
    assert window.run("return document.querySelectorAll('.row .number').length") == frames


def test_the_page_is_printed_with_its_colours(shown):
    window = shown(explained(band(40)))
    window._ask("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"media": "print"}})
    try:
        for what in (".cell", ".legend i", "#strip .amount i", ".top .meter i", "body"):
            script = f"const e = document.querySelector('{what}'); return e && getComputedStyle(e).printColorAdjust"
            assert window.run(script) in ("exact", None), what
        assert (
            window.run("const plot = document.querySelector('.plot'); return plot.scrollHeight - plot.clientHeight")
            == 0
        )
        assert window.run("return getComputedStyle(document.querySelector('.controls')).display") == "none"
    finally:
        window._ask("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"media": ""}})


def test_without_a_matrix_the_page_is_the_player(shown):
    explanation = explained()
    explanation.matrix = explanation.frame_logits = explanation.atr = None
    window = shown(explanation)
    assert window.text("#where") == "1 of 4"
    seen = window.run("return document.body.innerText")
    assert "Where relevance lies" in seen
    assert not re.search("ATR|matrix", seen)


def test_hostile_names_are_only_text(shown):
    said = dict.fromkeys(("title", "model", "video", "weights", "composite"), HOSTILE)
    window = shown(explained(), trained=False, notes=[HOSTILE], top=[{"label": HOSTILE, "score": 0.5}], **said)
    assert window.run("return window.hacked") is None
    assert window.text("h1") == HOSTILE
    assert window.text(".top .name") == HOSTILE
    assert window.run("return document.querySelectorAll('script').length") == 2
    assert window.run("return document.querySelectorAll('.row').length") == 4


def test_the_warning_of_random_weights_is_on_top(shown):
    said = "random weights (seed 0)"
    assert shown(explained(), weights=said, trained=False).text("header .warning") == "Random weights (seed 0)."
    assert shown(explained(), weights="weights of w.pt").run("return document.querySelector('.warning')") is None


def test_the_page_forbids_itself_every_request(windows, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(report(explained(), pixels(4)), encoding="utf-8")
    window = windows(DESKTOP)
    window.open(path)
    fetched = window.run("return performance.getEntriesByType('resource').map((entry) => entry.name.slice(0, 5))")
    assert set(fetched) <= {"data:"}
    asked = "new Image().src = 'http://127.0.0.1:9/'; return fetch('http://127.0.0.1:9/').then(() => 1, () => 0)"
    assert window.run(asked) == 0
    assert sum("Content Security Policy" in complaint for complaint in window.complaints()) >= 2


def test_the_page_refers_to_nothing_outside_itself():
    page = report(explained(), pixels(4), title="a top", weights="random", trained=False)
    assert re.findall(r"""(?:src|href)=["'](?!data:).*?["']""", page) == []
    for outside in ("http:", "https:", "//cdn", "@import", "url(", "ws:"):
        assert outside not in page, outside


def test_times_that_nobody_knows_are_no_nan_in_the_page():
    assert "NaN" not in report(explained(), pixels(4), times=[float("nan")] * 4).partition("application/json")[2]


def test_the_report_of_several_pathways_is_refused():
    explanation = explained()
    explanation.relevance = [explanation.relevance, explanation.relevance]
    with pytest.raises(ValueError, match="several pathways"):
        report(explanation, pixels(4))


def test_the_report_asks_for_matplotlib_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install .*"matplotlib>=3\.7"'):
        report(explained(), pixels(4))
