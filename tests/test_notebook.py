"""An explanation shows itself: as text, as a figure, as HTML that needs no matplotlib."""

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn

import lrp3d
from lrp3d.figures.colours import colormap
from lrp3d.explanation.display import png


@pytest.fixture(scope="module")
def explanation():
    torch.manual_seed(0)
    model = lrp3d.models.build("I3D-R18-f4", num_classes=10, width=4).eval()
    return lrp3d.explain(model, torch.rand(6, 3, 4, 32, 32), target=3)


def test_the_text_has_shapes_and_headline_numbers(explanation):
    said = repr(replace(explanation, about={"weights": "random"}))
    assert "6 clip(s), contrastive (CLRP)" in said
    assert "(6, 3, 4, 32, 32)" in said
    assert "matrix        (6, 4, 4)" in said
    assert re.search(r"avg-ATR +\[.*\.\.\.\] of 4 frames, max-ATR", said)
    assert "  weights       random" in said
    assert len(said.splitlines()) < 9


def labels(explanation):
    """What stands at the beginning of each line below the first."""
    return [line[2:14].rstrip() for line in repr(explanation).splitlines()[1:]]


def test_lines_are_in_one_order_whatever_is_known():
    model, clip = lrp3d.models.tsn_resnet(18, num_classes=3, width=8).eval(), torch.rand(1, 3, 4, 32, 32)
    of_matrix = ["relevance", "matrix", "avg-ATR", "conserved"]
    alone = replace(lrp3d.explain(model, clip, 1), avg_atr=torch.ones(1))
    against = replace(alone, against=torch.tensor([[0]]))
    assert labels(alone) == ["target", *of_matrix]
    assert labels(against) == ["target", "rather than", *of_matrix]
    every = replace(
        against,
        where={"fc": [0]},
        sign=-torch.ones(1),
        avg_atr=torch.tensor([torch.nan]),
        atr=against.atr.where(torch.tensor([True, True, True, False]), torch.nan),
        layers={"fc": torch.rand(1, 3)},
        motion=torch.ones(1),
        floor=against.matrix,
        about={"video": "a.mp4"},
    )
    assert labels(every) == [
        *["only through", "target", "lone logit", "rather than", "relevance", "matrix", "avg-ATR"],
        *["no average", "no relevance", "conserved", "layer", "motion", "above floor", "video"],
    ]


@pytest.mark.parametrize(("against", "named"), [([[0]], "[0]"), ([[0, 2], [1, 2]], "[0 or 2, 1 or 2]")])
def test_other_classes_are_written_as_the_target_is(explanation, against, named):
    lines = repr(replace(explanation, against=torch.tensor(against))).splitlines()
    assert f"  rather than   {named}" in lines


def test_the_figure_is_the_matrix_of_the_clip_that_was_asked_for(explanation):
    axes = explanation.plot(2).axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), explanation.matrix[2])
    assert axes.get_title().startswith("class 3, logit ")
    np.testing.assert_allclose(explanation.plot(-1).axes[0].images[0].get_array(), explanation.matrix[5])
    with pytest.raises(IndexError, match="no clip 6 in an explanation of 6"):
        explanation.plot(6)


def test_a_figure_is_drawn_into_given_axes(explanation):
    axes = Figure().add_subplot()
    assert explanation.plot(ax=axes, title="mine", footnote="below") is axes.figure
    assert axes.get_title() == "mine"


def test_columns_of_a_strided_network_are_steps():
    model = lrp3d.models.i3d_resnet(18, num_classes=10, width=4, temporal_stride=True).eval()
    figure = lrp3d.explain(model, torch.rand(1, 3, 16, 32, 32)).plot()
    assert figure.axes[0].get_xlabel() == "step j that contributes\n(white outlines: ATR windows)"


def test_without_a_matrix_frames_are_bars_and_images_are_pixels(explanation):
    bars = replace(explanation, matrix=None).plot(1).axes[0]
    assert [bar.get_height() for bar in bars.patches] == pytest.approx(explanation.frame_relevance[1].tolist())
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    still = lrp3d.explain(model, torch.rand(2, 3, 9, 12))
    image = still.plot(1).axes[0].images[0].get_array()
    np.testing.assert_allclose(image, still.relevance[1].sum(0), rtol=1e-6)


def pictures(html):
    found = re.findall(r"data:image/png;base64,([^\"]+)", html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(picture)))) for picture in found]


def test_html_shows_the_first_clips_and_counts_the_others(explanation):
    html = explanation._repr_html_()
    assert [picture.shape for picture in pictures(html)] == [(4, 4, 3)] * 4
    assert "and 2 more" in html


@pytest.mark.parametrize("signed", [False, True])
def test_html_and_figures_have_the_same_colours(signed):
    values = torch.linspace(-1 if signed else 0, 1, 101).expand(3, -1)
    found = np.asarray(Image.open(io.BytesIO(png(values)))).astype(int)
    expected = 255 * colormap(signed)(np.linspace(0, 1, 101))[:, :3]
    assert np.abs(found - expected).max() < 16  # a handful of colours stand for all of them


def test_html_is_safe_from_what_it_is_about(explanation):
    html = replace(explanation, about={"video": "<script>alert(1)</script>"})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_html_needs_no_matplotlib():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import torch, lrp3d\n"
        "model = lrp3d.models.build('I3D-R18-f2', num_classes=2, width=4).eval()\n"
        "assert '<img' in lrp3d.explain(model, torch.rand(1, 3, 2, 32, 32))._repr_html_()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


def test_what_an_explanation_is_about_is_saved_and_moved_with_it(explanation, tmp_path):
    about = {"model": "I3D", "video": "clip \N{SNOWMAN}.mp4"}
    moved = replace(explanation, about=about).to(torch.float64)
    assert moved.matrix.dtype == torch.float64
    moved.save(tmp_path / "clip.safetensors")
    assert lrp3d.Explanation.load(tmp_path / "clip.safetensors").about == about
