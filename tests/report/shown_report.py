"""What tests of the report explain, and where on the page they look."""

from pathlib import Path

import pytest
import torch

from lrp3d.metrics.atr import avg_atr, frame_atr, max_atr
from lrp3d.explanation.explanation import Explanation, Ledger
from lrp3d.video import draw_clip

SMALL_PHONE, PHONE, DESKTOP = 360, 390, 1280
RECTANGLES = "[...document.querySelectorAll('%s')].map((one) => one.getBoundingClientRect())"
UP, DOWN, END, HOME, TAB = "\ue013", "\ue015", "\ue010", "\ue011", "\ue004"
LEFT, RIGHT, ESCAPE = "\ue012", "\ue014", "\ue00c"
LUMINANCE = """
const light = (colour) => {
  const part = colour.match(/[\\d.]+/g).slice(0, 3).map((value) => value / 255);
  const [r, g, b] = part.map((value) => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
"""  # of a colour as browsers compute it (WCAG 2.1)
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


def cell(row, column):
    return f"#row-{row} [data-column='{column}']"


def strip(window):
    """What the strip says of every frame: its share, whether it is in the window, whether it is the row's own."""
    return window.run(
        "return [...document.querySelectorAll('#strip li')].map((item) => [item.querySelector('.share').textContent,"
        " item.classList.contains('inside'), item.classList.contains('own')])"
    )


def switch(window, select, value):
    window.run(
        f"const s = document.querySelector('{select}'); s.value = '{value}'; s.dispatchEvent(new Event('change'))"
    )


def chosen(window):
    return window.run("return document.querySelector('.row.chosen').id")


def faults(window):
    """What axe-core, which knows the rules of accessible pages, finds wrong with the page."""
    axe = pytest.importorskip("axe_core_python", reason="axe-core is not installed: pip install axe-core-python")
    window.run((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8") + "; window.axe = axe")
    return window.run("return axe.run().then((all) => all.violations.map((one) => one.id + ': ' + one.nodes[0].html))")


def sticking_out(window):
    """What lies beside the page, but for what is scrolled inside a region of its own."""
    return window.run(
        "return [...document.querySelectorAll('body *')].filter((one) => one.getClientRects().length"
        " && !one.closest('.scroll > *, .zoomed *')"
        " && (one.getBoundingClientRect().right > innerWidth + 1 || one.getBoundingClientRect().left < -1))"
        ".map((one) => one.outerHTML.slice(0, 80))"
    )


def focused(window):
    return window.run("return document.activeElement.textContent")
