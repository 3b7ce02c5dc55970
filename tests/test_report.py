"""The report in a real browser: what is shown, what pointing and keys do, and that nothing leaves the page."""

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import browser
import pytest
import torch

from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.explanation.explanation import Explanation, Ledger
from lrp3d.explanation.clip_report import report
from lrp3d.video import draw_clip

SMALL_PHONE, PHONE, DESKTOP = 360, 390, 1280
RECTANGLES = "[...document.querySelectorAll('%s')].map((one) => one.getBoundingClientRect())"
UP, DOWN, END, HOME, TAB = "\ue013", "\ue015", "\ue010", "\ue011", "\ue004"
LEFT, RIGHT, ESCAPE = "\ue012", "\ue014", "\ue00c"
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


@pytest.mark.parametrize("width", [SMALL_PHONE, PHONE, DESKTOP])
@pytest.mark.parametrize("frames", [2, 16, 64])
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


def test_columns_are_reached_with_the_keyboard_too(shown):
    window = shown(explained())
    window.click("h1")
    window.press(TAB)
    window.press(RIGHT)
    assert window.text("#readout").endswith("frame 3 adds 0, 0 % of the row")
    window.press(DOWN)  # the column stays
    assert window.text("#readout").endswith("frame 3 adds 2, 50 % of the row")
    for _ in range(5):
        window.press(LEFT)
    assert window.text("#readout").endswith("frame 1 adds 0, 0 % of the row")
    window.press(ESCAPE)
    assert "adds" not in window.text("#readout")


def test_the_space_bar_plays_and_the_page_opens_on_the_strongest_frame(shown):
    relevance = torch.ones(1, 3, 4, 24, 32) / 100
    relevance[:, :, 2] *= 5
    window = shown(explained(relevance=relevance))
    assert window.text("#where") == "3 of 4"
    now = "return [...document.querySelectorAll('#curve i')].map((bar) => bar.classList.contains('now'))"
    assert window.run(now) == [False, False, True, False]
    heights = "return [...document.querySelectorAll('#curve i')].map((bar) => bar.style.getPropertyValue('--tall'))"
    assert window.run(heights) == ["20%", "20%", "100%", "20%"]
    window.click("h1")
    window.press(" ")
    assert window.text("#play") == "Pause"
    window.press(" ")
    assert window.text("#play") == "Play"
    window.run("document.querySelector('#curve i').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert window.text("#where") == "1 of 4"


def switch(window, select, value):
    window.run(
        f"const s = document.querySelector('{select}'); s.value = '{value}'; s.dispatchEvent(new Event('change'))"
    )


def test_class_and_method_are_switched_and_what_is_shown_is_what_is_saved(shown):
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    other = explained([[0.0, 0, 0, 1]] * 4)
    others = [("b", "CLRP", other), ("a", "interventions", -explanation.matrix[0])]
    window = shown(explanation, title="a", others=others, made={"command": "lrp3d explain clip.mp4"})
    methods = "return [...document.querySelectorAll('#of-method option')].map((o) => [o.value, o.disabled])"
    assert window.run(methods) == [["CLRP", False], ["CLRP, untrained", False], ["interventions", False]]
    csv = window.run("return matrixFile('csv')").splitlines()
    assert csv[0] == "row,logit,atr,first,last,column 1,column 2,column 3,column 4"
    assert csv[1] == "1,4,2,1,2,3,1,0,0"
    switch(window, "#of-method", "CLRP, untrained")
    assert window.run("return matrixFile('csv')").splitlines()[1] == "1,4,2,1,2,1.5,0.5,0,0"
    switch(window, "#of-class", "b")
    assert dict(window.run(methods)) == {"CLRP": False, "CLRP, untrained": True, "interventions": True}
    assert json.loads(window.run("return matrixFile('json')"))["matrix"][0]["values"] == [0, 0, 0, 1]
    assert json.loads(window.run("return matrixFile('json')"))["command"] == "lrp3d explain clip.mp4"
    assert strip(window)[3][0] == "100 %"
    assert "command: lrp3d explain clip.mp4" in window.text(".how")
    assert window.run("return matrixFile('png').toDataURL().slice(0, 15)") == "data:image/png;"


def test_a_matrix_of_another_shape_is_no_other_view():
    with pytest.raises(ValueError, match=r"interventions has a matrix \(3, 3\)"):
        report(explained(), pixels(4), others=[("a", "interventions", torch.eye(3))])


def test_windows_of_all_rows_and_wider_cells_come_on_demand(shown):
    window = shown(explained(band(64)))
    opaque = "(one) => getComputedStyle(one).opacity === '1'"
    seen = f"[...document.querySelectorAll('.frame-of-window')].filter({opaque}).length"
    assert window.run(f"return {seen}") == 1
    window.click("#all-windows")
    assert window.run(f"return {seen}") == 64
    before = window.run("return document.querySelector('.cell').clientWidth")
    switch(window, "#zoom", "4")
    assert window.run("return document.querySelector('.cell').clientWidth") >= 3.5 * before
    assert window.run("return document.documentElement.scrollWidth") == DESKTOP


CONTRAST = """
const light = (colour) => {
  const part = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255);
  const [r, g, b] = part.map((value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const ground = (one) => {
  const own = getComputedStyle(one).backgroundColor;
  return own === "rgba(0, 0, 0, 0)" && one.parentElement ? ground(one.parentElement) : own;
};
return Math.min(...[...document.querySelectorAll("p, h1, h2, li, dd span, button, .number, figcaption, output, label")]
  .filter((one) => one.getClientRects().length && one.textContent.trim())
  .map((one) => [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a))
  .map(([high, low]) => (high + .05) / (low + .05)));
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_letter_stands_out_in_both_schemes(shown, scheme):
    """At least 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    top = [{"label": "spinning", "score": 0.5}]
    window = shown(explained(), weights="random", trained=False, top=top)
    window.emulate(scheme=scheme)
    try:
        paper = window.run("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) == (scheme == "dark")
        assert window.run(CONTRAST) >= 4.5
    finally:
        window.emulate()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_axe_finds_nothing(shown, width, scheme):
    axe = pytest.importorskip("axe_core_python", reason="axe-core is not installed: pip install axe-core-python")
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    window = shown(explanation, width, title="a", top=[{"label": "a", "score": 0.5}], weights="random", trained=False)
    window.emulate(scheme=scheme)
    try:
        window.run((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8") + "; window.axe = axe")
        found = window.run(
            "return axe.run().then((all) => all.violations.map((one) => one.id + ': ' + one.nodes[0].html))"
        )
        assert found == []
    finally:
        window.emulate()


def test_a_page_of_sixteen_frames_is_small():
    video = torch.randint(0, 255, (16, 224, 224, 3), dtype=torch.uint8)  # noise compresses worst
    page = report(explained(band(16), relevance=torch.rand(1, 3, 16, 224, 224)), video)
    assert len(page) < 2e6


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
    window.emulate(media="print", scheme="dark")
    try:
        for what in (".cell", ".legend i", "#strip .amount i", ".top .meter i", "body"):
            script = f"const e = document.querySelector('{what}'); return e && getComputedStyle(e).printColorAdjust"
            assert window.run(script) in ("exact", None), what
        assert (
            window.run("const plot = document.querySelector('.plot'); return plot.scrollHeight - plot.clientHeight")
            == 0
        )
        assert window.run("return getComputedStyle(document.querySelector('.controls')).display") == "none"
        assert window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        window.emulate()


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
