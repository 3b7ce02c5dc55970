"""The look of the report: on phones and desktops, in both schemes, in print, and for those who do not see it."""

import re
from itertools import pairwise

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
    SMALL_PHONE,
    band,
    cell,
    chosen,
    explained,
    faults,
    sticking_out,
)

from lrp3d.explanation.clip_report import report


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
    assert sticking_out(window) == []


CONTRAST = (
    LUMINANCE
    + """
const ground = (one) => {
  const own = getComputedStyle(one).backgroundColor;
  return own === "rgba(0, 0, 0, 0)" && one.parentElement ? ground(one.parentElement) : own;
};
return Math.min(...[...document.querySelectorAll("p, h1, h2, li, dd span, button, .number, figcaption, output, label")]
  .filter((one) => one.getClientRects().length && one.textContent.trim())
  .map((one) => [light(getComputedStyle(one).color), light(ground(one))].sort((a, b) => b - a))
  .map(([high, low]) => (high + .05) / (low + .05)));
"""
)


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


@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_axe_finds_nothing(shown, width, scheme):
    explanation = explained()
    explanation.floor = explanation.matrix / 2
    window = shown(explanation, width, title="a", top=[{"label": "a", "score": 0.5}], weights="random", trained=False)
    window.emulate(scheme=scheme)
    try:
        assert faults(window) == []
    finally:
        window.emulate()


@pytest.mark.parametrize("size", [64, 224])
def test_a_page_of_sixteen_frames_takes_two_megabytes_at_most(size):
    """With all that `explain --compare` puts on it, and of noise, which compresses worst."""
    video = torch.randint(0, 255, (16, size, size, 3), dtype=torch.uint8)
    explanation = explained(torch.rand(16, 16).tolist(), relevance=torch.rand(1, 3, 16, size, size))
    explanation.floor = torch.rand(1, 16, 16)
    others = [(f"class {i}", method, explanation) for i in range(5) for method in ("LRP", "CLRP")]
    others.append(("class 0", "interventions", torch.rand(16, 16)))
    assert len(report(explanation, video, others=others).encode()) <= 2_000_000


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


def test_numbers_beside_the_rows_are_on_one_line(shown):
    for matrix, positions in ((band(16), None), ([band(16)[11], band(16)[15]], [11, 15])):
        window = shown(explained(matrix, positions=positions))
        heights = window.run("return [...document.querySelectorAll('.number')].map((one) => one.offsetHeight)")
        assert max(heights) < 16


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("frames", [1, 2, 16, 40, 128])
def test_the_matrix_is_square_and_its_numbers_do_not_meet(shown, width, frames):
    window = shown(explained(band(frames)), width)
    wide, tall = window.run(f"return {RECTANGLES % '#matrix'}.map((box) => [box.width, box.height])[0]")
    assert tall == pytest.approx(wide, rel=0.01)
    beside = window.run(
        f"return {RECTANGLES % '.row:not(.chosen) .number:not(.thin)'}.map((box) => [box.top, box.bottom])"
    )
    assert all(bottom < top + 1 for (_, bottom), (top, _) in pairwise(beside))
    assert len(beside) >= min(frames, 8) - 1
    numbers = window.run(f"return {RECTANGLES % '.xticks span'}.map((box) => [box.left, box.right, box.height])")
    assert all(right + 2 < left for (_, right, _), (left, _, _) in pairwise(numbers))
    assert all(height < 16 for _, _, height in numbers)
    assert window.text(".xticks span") == "1"
    assert window.run("return document.querySelectorAll('.row .number').length") == frames


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_a_long_strip_is_no_longer_than_the_matrix_and_shows_the_frame_of_the_row(shown, width):
    window = shown(explained(band(128)), width)
    assert window.run("return document.querySelector('#strip').clientHeight") <= 700
    own_is_seen = """
      const strip = document.querySelector("#strip").getBoundingClientRect();
      const own = document.querySelector("#strip .own").getBoundingClientRect();
      return strip.top <= own.top && own.bottom <= strip.bottom;"""
    window.run("document.querySelector('.row[tabindex=\\'0\\']').focus()")
    for key in (END, HOME, DOWN):
        window.press(key)
        assert window.run(own_is_seen)
    window.emulate(media="print")
    try:
        assert window.run("const s = document.querySelector('#strip'); return s.scrollHeight - s.clientHeight") == 0
    finally:
        window.emulate()


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
