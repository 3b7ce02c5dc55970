"""The report in a real browser: what is shown, what pointing and keys do, and that nothing leaves the page."""

import json
import re
import sys

import pytest
import torch
from shown_report import (
    DESKTOP,
    DOWN,
    END,
    ESCAPE,
    HOME,
    HOSTILE,
    LEFT,
    RIGHT,
    TAB,
    UP,
    band,
    cell,
    chosen,
    explained,
    pixels,
    strip,
    switch,
)

from lrp3d.explanation.clip_report import Provenance, report


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


@pytest.mark.parametrize("random_weights", [False, True])
def test_the_floor_of_a_network_with_random_weights_is_called_another_draw(random_weights):
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    page = report(explanation, pixels(4), origin=Provenance(random_weights=random_weights))
    assert ("is untrained, too" in page) == random_weights
    assert ("can come from training" in page) != random_weights


def split(static, dynamic):
    """An explanation of two frames with both parts of its matrix."""
    explanation = explained((torch.tensor(static) + torch.tensor(dynamic)).tolist())
    explanation.static_matrix, explanation.dynamic_matrix = (torch.tensor(part)[None] for part in (static, dynamic))
    explanation.motion = explanation.dynamic_matrix.sum((1, 2)) / explanation.matrix.sum((1, 2))
    return explanation


COLOURS_OF_PANELS = """
return Promise.all([...document.querySelectorAll("#motion img")].map(async (image) => {
  await image.decode();
  const brush = Object.assign(document.createElement("canvas"), { width: 2, height: 2 }).getContext("2d");
  brush.drawImage(image, 0, 0);
  return [...brush.getImageData(0, 0, 2, 2).data].filter((_, i) => i % 4 < 3).join();
}));
"""


def test_static_and_dynamic_matrices_have_one_scale_with_numbers_and_axes(shown):
    window = shown(split([[4.0, 0.0], [0.0, 3.0]], [[-0.1, 0.0], [0.0, 0.15]]))
    keys = window.run("return [...document.querySelectorAll('#motion .key')].map((one) => one.innerText)")
    words = [re.sub(r"\s+", " ", key) for key in keys]
    assert words == ["−4 4 logit", "−4 4 logit", "−0.15 0.15 logit"]
    captions = window.run("return [...document.querySelectorAll('#motion figcaption')].map((one) => one.textContent)")
    assert captions == ["static: 99 % of the matrix", "dynamic: 1 % of the matrix", "dynamic: in stronger colours"]
    assert "Grey cells have no relevance" in window.text("#motion .hint")
    grey = "153,153,153"
    colours = [each.split(",") for each in window.run(COLOURS_OF_PANELS)]
    assert all(",".join(each[3:6]) == grey for each in colours)  # none is the same colour in every matrix
    assert ",".join(colours[0][:3]) == ",".join(colours[2][9:]) == "255,248,196"
    assert window.text("#motion .across") == "1frame j that contributes2"
    assert window.text("#motion .down") == "2explained frame i1"


def test_parts_without_negative_relevance_are_drawn_from_none_to_the_strongest_cell(shown):
    window = shown(split([[4.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, 2.0]]))
    keys = window.run("return [...document.querySelectorAll('#motion .key')].map((one) => one.innerText)")
    assert [re.sub(r"\s+", " ", key) for key in keys] == ["0 4 logit", "0 4 logit"]
    assert "Grey" not in window.text("#motion .hint")


def test_the_floor_has_a_scale_and_says_how_much_is_above_it(shown):
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    window = shown(explanation)
    keys = window.run("return [...document.querySelectorAll('#floor .key')].map((one) => one.innerText)")
    assert [re.sub(r"\s+", " ", key) for key in keys] == ["0 8 logit"] * 3
    assert window.text("#floor figure:nth-child(3) figcaption") == "above it: 50 % of the relevance"


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


def test_the_page_says_whose_matrix_it_shows_and_what_its_rows_sum_to(shown):
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    others = [("b", "CLRP", explained([[0.0, 0, 0, 1]] * 4)), ("a", "interventions", -explanation.matrix[0])]
    window = shown(explanation, title="a", others=others)
    seen = "return [...document.querySelectorAll('#of-another, #of-sums, #of-measures')].map((one) => !one.hidden)"
    assert window.run(seen) == [False, True, False]
    switch(window, "#of-method", "interventions")
    assert window.run(seen) == [True, False, True]
    assert "are of a by interventions; all else on this page is of a by CLRP." in window.text("#of-another")
    assert "does not sum to that logit" in window.text("#of-measures")
    switch(window, "#of-method", "CLRP, untrained")
    assert window.run(seen) == [True, True, False]
    switch(window, "#of-class", "b")
    assert "are of b by CLRP; all else on this page is of a by CLRP." in window.text("#of-another")


def test_rows_that_explain_a_lead_over_others_are_not_said_to_sum_to_a_logit(shown):
    explanation = explained()
    assert "for the logit of frame i; the row sums to that logit" in shown(explanation).text("#of-sums")
    explanation.against = torch.tensor([[0]])
    explanation.contrastive = False
    window = shown(explanation)
    said = "for how far the logit of frame i is above the other's; the row sums to that difference"
    assert said in window.text("#of-sums")
    assert "for the clip’s logit above the other's" in window.text("#colours")


def test_how_to_read_speaks_of_steps_where_rows_are_steps(shown):
    window = shown(explained([[2.0, 0.0], [1.0, 3.0]], frames=8))
    assert "every step for the logit of step i" in window.text("#of-sums")
    assert "shortest run of steps that contains step i" in window.text(".how")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (0.0, "yes the sum of relevance is exact"),
        (2e-7, "yes relative error of the sum of relevance: 2e-7"),
        (0.12, "no the sum of relevance is off by 12 %"),
    ],
)
def test_how_precisely_relevance_was_conserved_is_a_whole_phrase(error, said):
    explanation = explained()
    explanation.conservation = torch.tensor([error])
    words = re.sub("<.*?>", "", report(explanation, pixels(4)).partition("Conserved")[2].partition("</div>")[0])
    assert words == said


def test_a_matrix_of_another_shape_is_no_other_view():
    with pytest.raises(ValueError, match=r"interventions has a matrix \(3, 3\)"):
        report(explained(), pixels(4), others=[("a", "interventions", torch.eye(3))])


def test_windows_of_all_rows_come_on_demand(shown):
    window = shown(explained(band(64)))
    opaque = "(one) => getComputedStyle(one).opacity === '1'"
    seen = f"[...document.querySelectorAll('.frame-of-window')].filter({opaque}).length"
    assert window.run(f"return {seen}") == 1
    window.click("#all-windows")
    assert window.run(f"return {seen}") == 64


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


def test_negative_rows_beside_a_map_that_never_is_are_explained_where_relevance_is_contrastive(shown):
    window = shown(explained([[-4.0, 0.0], [-1.0, -3.0]]))
    assert window.text("#negative").startswith("All 2 frames have a negative logit and so a negative row")
    assert "the map does, which is never negative" in window.text("#negative")
    assert shown(explained([[4.0, 0.0], [-1.0, -3.0]])).text("#negative").startswith("1 of 2 frames has a negative")
    plain = explained([[-4.0, 0.0], [-1.0, -3.0]])
    plain.contrastive = False
    part = explained([[-4.0, 0.0], [-1.0, -3.0]])
    part.where = {"features": [0]}  # whose rows sum to no logit, beside a map of both signs
    for explanation in (plain, part, explained()):
        assert shown(explanation).run("return document.querySelector('#negative')") is None


def test_quarters_of_map_and_matrix_are_compared_where_they_are_shares(shown):
    last = [[4.0 * (i == j == 3) for j in range(4)] for i in range(4)]
    said = shown(explained(last)).text("#differ")
    assert "the four quarters of the clip hold 25, 25, 25 and 25 % of the map" in said
    assert "in it, they hold 0, 0, 0 and 100 %" in said
    part = explained(last)
    part.where = {"features": [0]}
    mixed = explained([[-2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 4.0]])
    for explanation in (part, mixed):
        assert shown(explanation).run("return document.querySelector('#differ')") is None


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
    page = report(explained(), pixels(4), title="a top", origin=Provenance(weights="random", trained=False))
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
