"""The matrix of a clip's page seen closely: numbers in its cells, and zoom, by mouse and by keyboard alone."""

import pytest
import torch
from shown_report import (
    DESKTOP,
    DOWN,
    END,
    HOME,
    LUMINANCE,
    PHONE,
    RECTANGLES,
    RIGHT,
    band,
    cell,
    explained,
    faults,
    sticking_out,
    switch,
)

CELLS = "[...document.querySelectorAll('.cell')]"


def numbers(window, row):
    return window.run(f"return [...document.querySelectorAll('#row-{row} .cell')].map((one) => one.textContent)")


def zoom(window):
    return window.text("#zoom")


def in_view(window, selector):
    """Whether all of something can be seen in the part of the matrix that is scrolled, and clear of its numbers."""
    return window.run(f"""
      const box = document.querySelector("{selector}").getBoundingClientRect();
      const frame = document.querySelector(".plot").getBoundingClientRect();
      const ticks = document.querySelector(".xticks").getBoundingClientRect();
      const chip = document.querySelector("{selector}").parentElement.querySelector(".number").getBoundingClientRect();
      return box.left >= chip.right - 1 && box.right <= frame.right + 1 && box.top >= frame.top - 1
        && box.bottom <= Math.min(ticks.top, innerHeight) + 1;""")


def focus_matrix(window):
    window.run("document.querySelector('.row[tabindex=\\'0\\']').focus()")


# Numbers


def test_numbers_come_into_the_cells_on_demand_and_go_again(shown):
    window = shown(explained())
    assert numbers(window, 0) == ["", "", "", ""]
    window.click("#numbers")
    assert numbers(window, 0) == ["3.0", "1.0", "0", "0"]
    assert numbers(window, 1) == ["0", "8.0", "0", "0"]
    window.click("#numbers")
    assert numbers(window, 0) == ["", "", "", ""]


@pytest.mark.parametrize(
    ("matrix", "first", "factor"),
    [
        ([[0.52, -0.034], [0.0, 0.2]], [".52", "−.03"], ""),
        ([[12.3, -0.2], [0.0, 4.6]], ["12", "0"], ""),
        ([[250.0, 31.4], [0.0, 4.6]], ["250", "31"], ""),
        ([[0.00042, -0.00003], [0.0, 0.0002]], ["4.2", "−.3"], "numbers: × 10−4"),
        ([[31800.0, 400.0], [0.0, 2.0]], ["3.2", "0"], "numbers: × 104"),
        ([[0.0, 0.0], [0.0, 0.0]], ["0", "0"], ""),
    ],
)
def test_numbers_have_two_digits_of_the_largest_whatever_its_size(shown, matrix, first, factor):
    window = shown(explained(matrix))
    window.click("#numbers")
    assert numbers(window, 0) == first
    assert ("numbers" in window.text(".legend")) == bool(factor)
    assert factor in window.text(".legend")


def test_numbers_are_those_of_the_class_and_method_that_are_shown(shown):
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    window = shown(explanation, title="a")
    window.click("#numbers")
    switch(window, "#of-method", "CLRP, untrained")
    assert numbers(window, 0) == ["1.5", ".5", "0", "0"]


CONTRAST = f"""{LUMINANCE}
return Math.min(...[...document.querySelectorAll(".cell")].map((one) => {{
  const shown = getComputedStyle(one);
  const [high, low] = [shown.color, shown.backgroundColor].map(light).sort((a, b) => b - a);
  return (high + .05) / (low + .05);
}}));
"""


@pytest.mark.parametrize(("scheme", "media"), [("light", ""), ("dark", ""), ("dark", "print")])
@pytest.mark.parametrize("least", [pytest.param(0, marks=pytest.mark.slow), -1])
def test_numbers_stand_out_from_every_colour(shown, least, scheme, media):
    """At least 4.5 to 1 (WCAG 2.1, 1.4.3)."""
    window = shown(explained(torch.linspace(least, 1, 256).reshape(16, 16).tolist()))
    window.click("#numbers")
    window.emulate(media, scheme)
    try:
        assert window.run(CONTRAST) >= 4.5
    finally:
        window.emulate()


@pytest.mark.parametrize("media", ["", "print"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("frames", [2, pytest.param(8, marks=pytest.mark.slow), 16])
def test_numbers_fit_into_their_cells(shown, frames, width, media):
    window = shown(explained((-0.88 * torch.tensor(band(frames))).tolist()), width)  # each has a sign and two digits
    window.click("#numbers")
    window.emulate(media)
    try:
        assert window.run(f"return {CELLS}.filter((one) => one.scrollWidth > one.clientWidth).length") == 0
        assert window.run(f"return Math.min(...{RECTANGLES % '.cell'}.map((box) => box.height))") >= 18
        assert window.run("return document.documentElement.scrollWidth") <= width
    finally:
        window.emulate()


def test_numbers_are_offered_where_they_fit_and_zoom_where_they_do_not(shown):
    for frames, of_numbers, of_zoom in ((16, True, False), (17, False, True)):
        window = shown(explained(band(frames)))
        visible = "return document.querySelector('{}').getClientRects().length > 0"
        assert window.run(visible.format("#numbering")) is of_numbers
        assert window.run(visible.format(".zooming")) is of_zoom


# A matrix of many frames


@pytest.mark.parametrize("frames", [17, 64, 128])
def test_a_matrix_of_many_frames_is_a_page_of_few_elements(shown, frames):
    """An element for every cell took axe-core half a minute at 128 frames."""
    window = shown(explained(band(frames)))
    assert window.run("return document.querySelectorAll('*').length") < 15 * frames + 200


COLOURS = """
const shot = document.querySelector("#matrix canvas");
const seen = shot.getContext("2d").getImageData(0, 0, shot.width, shot.height).data;
const told = data.views.find((one) => one.method === document.querySelector("#of-method").value).rows
  .flatMap((row) => row.colours.flatMap((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16))));
return told.length === seen.length * 3 / 4 && told.every((value, i) => value === seen[4 * Math.floor(i / 3) + i % 3]);
"""


def test_the_picture_of_many_frames_has_the_colour_of_every_cell(shown):
    explanation = explained(band(40))
    explanation.floor = explanation.matrix.flip(2)
    window = shown(explanation)
    box = "document.querySelector('{}').getBoundingClientRect()"
    for side in ("left", "right", "top", "bottom"):
        assert window.run(f"return {box.format('#matrix')}.{side} - {box.format('#matrix canvas')}.{side}") == 0
    assert window.run(COLOURS)
    switch(window, "#of-method", "CLRP, untrained")
    assert window.run(COLOURS)


@pytest.mark.parametrize("frames", [17, 128])
def test_pointing_at_a_matrix_of_many_frames_shows_the_row_and_the_column_under_the_pointer(shown, frames):
    window = shown(explained(band(frames)))
    for row, column in ((2, 0), (2, 5), (3, frames - 1)):
        window.run(f"document.querySelector('#row-{row}').scrollIntoView({{block: 'center'}})")
        window.click_at(f"#row-{row}", (column + 0.5) / frames)
        assert window.text("#readout").startswith(f"Frame {row + 1} ·")
        assert f"frame {column + 1} adds" in window.text("#readout")
        assert window.run("return document.querySelector('.cell.pointed').dataset.column") == str(column)
        middle = "(box) => box.left + box.width / 2"
        at = window.run(f"return ({middle})(document.querySelector('.cell.pointed').getBoundingClientRect())")
        row_box = window.run(
            f"const b = document.querySelector('#row-{row}').getBoundingClientRect(); return [b.left, b.width]"
        )
        assert at == pytest.approx(row_box[0] + row_box[1] * (column + 0.5) / frames, abs=1)


# Zoom


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("frames", [32, 128])
def test_the_matrix_is_zoomed_until_its_rows_can_be_tapped_and_stays_square(shown, frames, width):
    window = shown(explained(band(frames)), width)
    before = window.run("return document.querySelector('#matrix').clientWidth")
    last = 16 if width == PHONE and frames == 128 else 8
    for times, steps in ((1, 0), (2, 1), (4, 1), (8, 1), (last, 1), (last, 1)):
        for _ in range(steps):
            window.run("document.querySelector('#zoom-in').click()")
        assert zoom(window) == f"{times} ×"
        wide, tall = window.run("const m = document.querySelector('#matrix'); return [m.clientWidth, m.clientHeight]")
        assert wide >= times * (before - 28)
        assert tall == pytest.approx(wide, rel=0.01)
        assert window.run("return document.documentElement.scrollWidth") == width
        assert sticking_out(window) == []
    assert window.run(f"return Math.min(...{RECTANGLES % '.row'}.map((box) => box.height))") >= 24
    window.run("document.querySelector('#zoom-out').click()")
    assert zoom(window) == f"{last // 2} ×"
    window.run("document.querySelector('#zoom-whole').click()")
    assert zoom(window) == "1 ×"


def test_keys_zoom_while_the_focus_or_the_pointer_is_at_the_matrix_and_nowhere_else(shown):
    window = shown(explained(band(64)))
    window.point_at("h1")
    window.click("#seek")
    window.press("+")
    assert zoom(window) == "1 ×"
    focus_matrix(window)
    for key, times in (("+", 2), ("=", 4), ("+", 8), ("+", 8), ("-", 4), ("0", 1), ("-", 1)):
        window.press(key)
        assert zoom(window) == f"{times} ×"
    window.click("h1")
    window.point_at("#row-3")
    window.press("+")
    assert zoom(window) == "2 ×"


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_cell_in_focus_stays_in_view_when_zoomed_and_moved(shown, width):
    window = shown(explained(band(64)), width)
    window.run("document.querySelector('.plot').scrollIntoView({block: 'end'})")
    focus_matrix(window)
    own = window.run("return Number(document.activeElement.id.slice(4))")
    for _ in range(3):
        window.press("+")
        assert window.run("return document.activeElement.id") == f"row-{own}"
        assert in_view(window, cell(own, own))
    window.press(END)
    assert in_view(window, cell(63, 63))
    window.press(HOME)
    assert in_view(window, cell(0, 0))
    for _ in range(12):
        window.press(RIGHT)
    assert in_view(window, cell(0, 12))
    for _ in range(12):
        window.press(DOWN)
    assert in_view(window, cell(12, 12))
    window.press("-")
    assert in_view(window, cell(12, 12))


def test_a_click_on_a_zoomed_cell_does_not_scroll_it_away(shown):
    window = shown(explained(band(64)))
    focus_matrix(window)
    for key in ("+", "+", "+", HOME):
        window.press(key)
    place = "const plot = document.querySelector('.plot'); return [plot.scrollLeft, plot.scrollTop]"
    before = window.run(place)
    window.click_at("#row-2", 1.5 / 64)
    assert window.run(place) == before
    assert window.text("#readout").startswith("Frame 3")
    assert "frame 2 adds" in window.text("#readout")


def test_the_buttons_keep_the_focus_where_zoom_ends(shown):
    window = shown(explained(band(32)))
    window.run("document.querySelector('#zoom-in').focus()")
    for _ in range(5):
        window.press(" ")
    assert zoom(window) == "8 ×"
    assert window.run("return document.activeElement.id") == "zoom-in"
    assert window.run("return document.activeElement.getAttribute('aria-disabled')") == "true"
    assert window.text("#play") == "Play"  # the space bar was the button's


def test_a_zoomed_matrix_is_printed_whole(shown):
    window = shown(explained(band(64)))
    focus_matrix(window)
    for _ in range(3):
        window.press("+")
    window.emulate(media="print")
    try:
        assert window.run("return document.documentElement.scrollWidth") == DESKTOP
        assert window.run(
            "return document.querySelector('#matrix').getBoundingClientRect().right"
            " <= document.querySelector('.plot').getBoundingClientRect().right + 1"
        )
    finally:
        window.emulate()


@pytest.mark.parametrize(
    ("width", "scheme", "views"),
    [
        (PHONE, "light", {16: "#numbers", 64: "#zoom-in"}),
        pytest.param(DESKTOP, "dark", {16: "#numbers", 32: "#all-windows"}, marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_in_numbers_and_zoom(shown, width, scheme, views):
    for frames, what in views.items():
        window = shown(explained(band(frames)), width)
        window.emulate(scheme=scheme)
        try:
            window.run(f"document.querySelector('{what}').click()")
            assert faults(window) == []
            assert sticking_out(window) == []
        finally:
            window.emulate()
