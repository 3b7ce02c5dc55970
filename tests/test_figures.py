"""Figures show the numbers they were given, to one scale, and leave matplotlib's global state alone."""

import io
import subprocess
import sys

import av
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from PIL import Image

from lrp3d.figures import (
    animation,
    atr_windows,
    clip_summary,
    matrix_heatmap,
    moving,
    overlay,
    overlay_strip,
    side_by_side,
    style,
)
from lrp3d.figures.canvas import ticks
from lrp3d.figures.colours import LIGHT, colormap
from lrp3d.figures.painting import smoothed

NOTE = "weights are random"


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pixels():
    return (noise(8, 24, 32, 3) * 255).byte()


@pytest.fixture
def matrix():
    return noise(8, 8, seed=1) ** 3


def every_figure(pixels, matrix):
    length = torch.tensor([3.0, 2, 4, torch.nan, 5, 8, 1, 2])
    return {
        "heat map": lambda **how: matrix_heatmap(matrix, **how),
        "summary": lambda **how: clip_summary(pixels, matrix.sum(1), matrix, length, **how),
        "strip": lambda **how: overlay_strip(pixels, noise(3, 8, 24, 32), **how),
        "windows": lambda **how: atr_windows(length, matrix, frame_logits=matrix.sum(1) - 1, pixels=pixels, **how),
        "methods": lambda **how: side_by_side(pixels, {"LRP": matrix, "CLRP": matrix - 0.1}, deciding=[2, 5], **how),
    }


NAMES = ["heat map", "summary", "strip", "windows", "methods"]


def written(figure):
    inside = [text.get_text() for axes in figure.axes for text in [axes.title, *axes.texts]]
    return inside + [text.get_text() for text in figure.texts]


def boxes_of_what_is_written(figure):
    shown = []
    for axes in figure.axes:
        labels = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts]
        shown += [text for text in labels if text.get_text() and text.get_visible()]
    boxes = {f"{text.get_text()} {i}": text.get_window_extent() for i, text in enumerate(shown)}
    thumbnails = [artist for axes in figure.axes for artist in axes.artists]
    return boxes | {f"thumbnail {i}": image.get_window_extent() for i, image in enumerate(thumbnails)}


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_written_with_its_title_and_footnote(pixels, matrix, name):
    figure = every_figure(pixels, matrix)[name](title="spinning a top", footnote=NOTE)
    assert isinstance(figure, Figure)
    assert {"spinning a top", NOTE} <= set(written(figure))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert Image.open(buffer).size[0] > 300


def require_legible(figure):
    figure.savefig(io.BytesIO(), format="png")
    boxes = boxes_of_what_is_written(figure)
    for first, box in boxes.items():
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0, first
        for second, other in boxes.items():
            assert first == second or not box.overlaps(other), (first, second)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_written_lies_on_anything_or_outside(pixels, matrix, name):
    require_legible(every_figure(pixels, matrix)[name](title="spinning a top", footnote=NOTE))


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 8, 8), (3, 24, 40), (32, 40, 24)])
def test_few_and_many_frames_are_legible_too(frames, height, width):
    clip, wide = torch.zeros(frames, height, width, 3, dtype=torch.uint8), torch.ones(frames, frames)
    length = torch.full((frames,), float(frames))
    require_legible(clip_summary(clip, wide.sum(1) * -0.777, wide, length, title="a top", footnote=NOTE))
    require_legible(overlay_strip(clip, noise(frames, height, width), title="a top", footnote=NOTE))
    require_legible(atr_windows(length, wide, pixels=clip, title="a top", footnote=NOTE))


@pytest.mark.parametrize("shape", [(1, 1), (1, 8), (4, 16), (2, 64), (32, 32)])
def test_matrices_of_every_shape_are_legible(shape):
    require_legible(matrix_heatmap(torch.ones(shape), title="a top", footnote=NOTE))


def test_titles_and_footnotes_of_several_lines_have_room(pixels, matrix):
    """Long names are wrapped before they get here; what was lost of a video stands below its origin."""
    for draw in every_figure(pixels, matrix).values():
        require_legible(draw(title="spinning\na very large top", footnote=f"{NOTE}\na frame was lost\nand another"))


def test_footnotes_use_the_width_and_leave_no_word_alone_on_a_line(pixels, matrix):
    sentence = "The class says whether the two red or green squares have the same colour; blue ones do not matter. "
    for words in range(14, 57, 3):
        note = " ".join((3 * sentence).split()[:words])
        figure = side_by_side(pixels, dict.fromkeys("abcd", matrix), footnote=note)
        [below] = figure.texts
        box = below.get_window_extent()
        assert box.x1 < figure.bbox.x1
        lines = below.get_text().split("\n")
        assert " ".join(lines) == note
        if len(lines) > 1:
            assert box.width > 0.65 * figure.bbox.width
            assert len(lines[-1]) > 0.15 * max(map(len, lines))


def test_a_row_without_relevance_has_no_window(matrix):
    matrix[2] = 0
    framed = matrix_heatmap(matrix, windows=(torch.zeros(8), torch.full((8,), 7.0))).axes[0].patches
    assert {round(patch.get_y() + 0.5) for patch in framed} == {0, 1, 3, 4, 5, 6, 7}


def test_rows_are_named_after_their_own_frames():
    axes = matrix_heatmap(torch.ones(2, 8), positions=[2, 6]).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["3", "7"]


def test_steps_of_several_frames_are_not_called_frames(pixels):
    figure = clip_summary(pixels, torch.ones(2), torch.eye(2), torch.ones(2))
    said = [axes.get_xlabel() for axes in figure.axes] + [axes.get_ylabel() for axes in figure.axes]
    assert {"step j that contributes", "explained step i", "logit; ATR in steps"} <= set(said)


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_with_numbers_says_what_they_are(pixels, matrix, name):
    figure = every_figure(pixels, matrix)[name]()
    numbered = 0
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if any(label.get_text() for label in axis.get_ticklabels()):
                numbered += 1
                assert axis.label.get_text()
    assert numbered


@pytest.mark.parametrize("name", ["heat map", "strip", "windows"])
def test_given_axes_are_drawn_into(pixels, matrix, name):
    figure = Figure(figsize=(9, 4))
    axes = figure.add_subplot()
    assert every_figure(pixels, matrix)[name](ax=axes, title="here", footnote=NOTE) is figure
    assert axes.get_title() == "here"
    assert tuple(figure.get_size_inches()) == (9, 4)


def test_the_heat_map_shows_the_matrix(matrix):
    image = matrix_heatmap(matrix.unsqueeze(0)).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), matrix)
    assert image.get_clim() == (0, pytest.approx(matrix.max().item()))


def test_signed_relevance_is_centred_on_zero(matrix):
    image = matrix_heatmap(matrix - 0.9).axes[0].images[0]
    low, high = image.get_clim()
    assert low == -high
    assert high == pytest.approx((matrix - 0.9).abs().max().item())


@pytest.mark.parametrize("signed", [False, True])
def test_lightness_grows_with_relevance(signed):
    """So that a picture reads the same in grey."""
    colours = colormap(signed)(np.linspace(0, 1, 200))[:, :3]
    assert (np.diff(colours @ [0.2126, 0.7152, 0.0722]) > -1e-3).all()


@pytest.mark.parametrize("empty", [torch.zeros(4, 4), torch.full((4, 4), torch.nan)])
def test_a_matrix_without_relevance_is_drawn(empty):
    matrix_heatmap(empty).savefig(io.BytesIO())


def test_many_frames_keep_their_tick_labels_apart():
    for frames in (1, 2, 10, 16, 32, 64, 300):
        numbers = ticks(frames)
        assert numbers[0] == 1
        assert numbers[-1] <= frames
        assert len(numbers) <= 12


def test_frames_are_not_stretched(pixels, matrix):
    for figure in (overlay_strip(pixels, noise(8, 24, 32)), clip_summary(pixels, matrix.sum(1), matrix)):
        figure.savefig(io.BytesIO(), format="png")
        assert figure.axes[0].images
        for image in figure.axes[0].images:
            box = image.get_window_extent()
            rows, columns = image.get_array().shape[:2]
            assert box.height / box.width == pytest.approx(rows / columns, rel=1e-3)


def test_the_summary_tells_each_frames_logit_and_atr(pixels, matrix):
    logits, length = torch.arange(8.0), torch.tensor([3.0, 2, 4, torch.nan, 5, 8, 1, 2])
    said = written(clip_summary(pixels, logits, matrix, length))
    assert "frame 1: logit 0.00, ATR 3" in said
    assert "frame 4: logit 3.00, no ATR" in said
    bars = clip_summary(pixels, logits - 2, matrix).axes[2].patches
    assert [bar.get_x() for bar in bars] == [0] * 8  # bars begin at zero
    np.testing.assert_allclose([bar.get_width() for bar in bars], logits - 2)
    assert len({bar.get_facecolor() for bar in bars}) == 2


def test_rows_of_a_strided_model_stand_for_blocks_of_frames(pixels):
    said = written(clip_summary(pixels, torch.tensor([1.0, 2.0]), torch.eye(2), torch.tensor([1.0, 2.0])))
    assert [text for text in said if ": " in text] == ["step 1: logit 1.00, ATR 1", "step 2: logit 2.00, ATR 2"]


def test_logits_beside_the_matrix_keep_their_digits_and_a_scale_whatever_their_size(pixels):
    """Those of 12.3 and 1.4 were 12 and 1."""
    logits = torch.tensor([12.34, 1.4, -0.06, 3.0, 1.0, 1.0, 1.0, 1.0])
    figure = clip_summary(pixels, logits, torch.eye(8), torch.ones(8))
    said = written(figure)
    assert {"frame 1: logit 12.3, ATR 1", "frame 2: logit 1.4, ATR 1"} <= set(said)
    assert [tick.get_text() for tick in figure.axes[2].get_xticklabels()] == ["0", "12.3"]
    above = clip_summary(pixels, logits / 1000, torch.eye(8), torch.ones(8), quantity="logit above the other's")
    assert "frame 1: lead 0.0123, ATR 1" in written(above)
    assert above.axes[2].get_xlabel() == "lead: logit above the other's; ATR in frames"
    below = clip_summary(pixels, -logits, torch.eye(8), torch.ones(8))
    assert [tick.get_text() for tick in below.axes[2].get_xticklabels()] == ["\N{MINUS SIGN}12.3", "0"]


def test_overlay_paints_where_relevance_is_and_nowhere_else(pixels):
    relevance = torch.zeros(8, 24, 32)
    relevance[3, 10:14, 10:14] = 1
    painted = overlay(pixels, relevance, smooth=0, quantile=1.0).astype(int)
    coloured = np.ptp(painted, axis=-1) > 3
    assert coloured[3, 10:14, 10:14].all()
    assert coloured.sum() == 16


def test_colour_channels_are_summed_before_painting(pixels):
    relevance = noise(1, 3, 8, 24, 32) - 0.4
    summed = overlay(pixels, relevance.sum((0, 1)))
    assert np.array_equal(overlay(pixels, relevance), summed)
    assert np.array_equal(overlay(pixels, relevance[0]), summed)


def test_for_lightens_and_against_darkens():
    flat = torch.full((1, 24, 32, 3), 128, dtype=torch.uint8)
    relevance = torch.zeros(1, 24, 32)
    relevance[0, :8], relevance[0, 16:] = 1, -1
    painted = overlay(flat, relevance, smooth=0)[0].mean((1, 2))
    assert painted[:8].min() > painted[8:16].max()
    assert painted[8:16].min() > painted[16:].max()


def test_a_hot_pixel_does_not_leave_the_rest_dark(pixels):
    relevance = noise(8, 24, 32)
    hot = relevance.clone()
    hot[0, 0, 0] = 1e6
    changed = np.abs(overlay(pixels, hot, smooth=0).astype(int) - overlay(pixels, relevance, smooth=0))
    assert changed[1:].max() <= 2


def test_all_frames_share_one_scale(pixels):
    relevance = noise(8, 24, 32)
    relevance[4] *= 0.01
    assert "5 · 0 %" in written(overlay_strip(pixels, relevance))
    painted = overlay(torch.zeros_like(pixels), relevance, smooth=0).mean((1, 2, 3))
    assert painted[4] < 0.3 * painted[3]


def test_smoothing_keeps_a_flat_picture_flat():
    flat = np.full((2, 9, 7), 3.0)
    np.testing.assert_allclose(smoothed(flat, 2.0), flat)
    spike = np.zeros((2, 21, 21))
    spike[0, 10, 10] = 1
    blurred = smoothed(spike, 2.0)
    assert blurred[1].max() == 0
    assert blurred[0, 10, 12] == pytest.approx(blurred[0, 8, 10])
    assert blurred[0, 10, 10] == pytest.approx(1 / (2 * np.pi * 4), rel=0.01)


def test_windows_are_placed_where_most_relevance_is():
    row = torch.tensor([[0.0, 2, 5, 1, 0]]).repeat(5, 1)
    bars = atr_windows(torch.tensor([3.0, 2, 2, 2, 3]), row).axes[0].patches
    spans = [(bar.get_x() + 0.5, bar.get_x() + bar.get_width() - 0.5) for bar in bars]
    assert spans == [(1, 3), (2, 3), (2, 3), (3, 4), (3, 5)]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_own_frames_stand_out_from_the_bars_of_many_frames(theme):
    """At least 3 to 1, as for whatever must be seen to read a chart (WCAG 2.1, 1.4.11)."""
    from matplotlib.colors import to_rgb

    def light(colour):
        parts = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    with style(theme):
        logits = torch.tensor([1.0, -1.0] * 32)
        axes = atr_windows(torch.ones(64), torch.eye(64), frame_logits=logits).axes[0]
    squares = {int(x): line.get_color() for line in axes.lines for x in line.get_xdata()}
    assert sorted(squares) == list(range(1, 65))
    for number, bar in enumerate(axes.patches, 1):
        low, high = sorted((light(squares[number]), light(bar.get_facecolor())))
        assert (high + 0.05) / (low + 0.05) >= 3


def test_frames_without_weight_are_hollow_and_avg_atr_is_said():
    figure = atr_windows(torch.tensor([1.0, 2.0]), torch.ones(2, 2), frame_logits=torch.tensor([3.0, -1.0]))
    filled, hollow = figure.axes[0].patches
    assert filled.get_facecolor()[3] == 1
    assert hollow.get_facecolor()[3] == 0
    below = figure.axes[0].get_xlabel()
    assert "hollow: no positive logit" in below
    assert "avg-ATR 1.0 frames" in below


def test_known_windows_are_drawn_as_they_are():
    figure = atr_windows(torch.tensor([2.0, 2.0, 1.0]), torch.eye(3), windows=([0, 0, 2], [1, 1, 2]))
    assert [bar.get_x() for bar in figure.axes[0].patches] == [0.5, 0.5, 2.5]


def test_a_gif_holds_every_frame_at_its_speed(pixels, tmp_path):
    path = animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif", fps=5)
    with Image.open(path) as image:
        assert image.n_frames == 8
        assert image.info["duration"] == 200
        assert image.size[1] >= 160
    assert [file.name for file in tmp_path.iterdir()] == ["clip.gif"]


@pytest.mark.parametrize(("height", "width"), [(24, 32), (33, 47)])
def test_an_mp4_shows_the_clip_beside_its_relevance(tmp_path, height, width):
    clip = torch.full((6, height, width, 3), 200, dtype=torch.uint8)
    path = animation(clip, torch.zeros(6, height, width), tmp_path / "clip.mp4", min_height=1)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 6
    assert abs(int(frames[0][5, 5, 0]) - 200) < 8
    assert abs(int(frames[0][5, -5, 0]) - 110) < 8


def test_captions_of_a_narrow_clip_are_folded_not_cut(tmp_path):
    clip, caption = torch.zeros(2, 160, 100, 3, dtype=torch.uint8), "frame 1, 0.00 s, logit above the other's by 0.021"
    sizes, ink = [], []
    for name, said in (("short", "frame 1"), ("long", caption)):
        path = animation(clip, torch.zeros(2, 160, 100), tmp_path / f"{name}.gif", captions=[said, "frame 2"])
        with Image.open(path) as image:
            sizes.append(image.size)
            ink.append((np.asarray(image.convert("L"))[160:] < 128).any(0).nonzero()[0].max())
    assert sizes[0][1] < sizes[1][1]
    assert ink[1] < sizes[1][0] - 1


def test_a_failed_animation_leaves_no_file(pixels, tmp_path, monkeypatch):
    def interrupted(frames, fps):
        raise KeyboardInterrupt

    monkeypatch.setattr(moving, "_gif", interrupted)
    with pytest.raises(KeyboardInterrupt):
        animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda p: matrix_heatmap(torch.ones(2, 3, 3)), "one clip at a time"),
        (lambda p: clip_summary(p, torch.ones(3), torch.eye(3)), "3 logits do not fit 8 frames"),
        (lambda p: side_by_side(p, {"LRP": torch.eye(3)}), "a column for each of 8 frames"),
        (lambda p: style("grey").__enter__(), "'light', 'dark'"),
        (lambda p: overlay(p, torch.ones(8, 24, 31)), r"\(8, 24, 31\)"),
        (lambda p: overlay(p, torch.full((8, 24, 32), torch.nan)), "NaN"),
        (lambda p: overlay(p / 255, torch.ones(8, 24, 32)), "uint8"),
        (lambda p: atr_windows(torch.ones(3), torch.eye(4)), "square matrix"),
        (lambda p: atr_windows(torch.ones(3), torch.eye(3), pixels=p), "3 rows"),
        (lambda p: animation(p, torch.ones(8, 24, 32), "clip.avi"), "gif or .mp4"),
        (lambda p: animation(p, torch.ones(8, 24, 32), "clip.gif", fps=0), "fps"),
    ],
)
def test_what_does_not_belong_together_is_refused(pixels, draw, said):
    with pytest.raises(ValueError, match=said):
        draw(pixels)


@pytest.mark.parametrize("name", NAMES)
def test_matplotlib_is_asked_for_by_name(pixels, matrix, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install .*"matplotlib>=3\.7"'):
        every_figure(pixels, matrix)[name]()


def test_mp4_asks_for_pyav_by_name(pixels, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r'pip install .*"av>=12"'):
        animation(pixels, noise(8, 24, 32), tmp_path / "clip.mp4")


def test_pyplot_is_never_touched():
    code = (
        "import sys, torch, lrp3d.figures as figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figures.matrix_heatmap(torch.eye(3)); figures.atr_windows(torch.ones(3), torch.eye(3))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=600)


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_seen_on_dark_paper_too(pixels, matrix, name):
    """No letter of the ink of light paper is left, and the style ends where it was asked to."""
    with style("dark") as dark:
        figure = every_figure(pixels, matrix)[name](title="spinning a top", footnote=NOTE)
    assert figure.get_facecolor() == to_rgba(dark.paper)
    for axes in figure.axes:
        for text in [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *axes.texts]:
            if text.get_text():
                assert max(to_rgb(text.get_color())) > 0.5, text.get_text()
    assert matrix_heatmap(matrix).get_facecolor() == (1, 1, 1, 1)


def test_each_method_says_what_it_gives_to_the_marked_frames(pixels, matrix):
    figure = side_by_side(pixels, {"LRP": matrix, "CLRP": matrix.flip(1)}, deciding=[0, 3])
    share = matrix[:, [0, 3]].sum() / matrix.sum()
    assert figure.axes[1].get_title() == f"LRP: {100 * share:.0f} % on the marked frames"
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    np.testing.assert_allclose(heights, 100 * matrix.sum(0) / matrix.sum())
    assert len({bar.get_facecolor() for bar in figure.axes[1].patches}) == 2


def test_frames_that_decide_are_marked_above_the_matrix_in_it_and_under_relevance(pixels, matrix):
    def borders(ax):
        return [box for box in ax.patches if box.get_edgecolor() == to_rgba(LIGHT.mark) and not box.get_fill()]

    plain, marked = (clip_summary(pixels, torch.ones(8), matrix, deciding=frames) for frames in ((), (1, 6)))
    assert [len(borders(figure.axes[0])) for figure in (plain, marked)] == [0, 2]
    assert [box.get_x() for box in borders(marked.axes[0])] == pytest.approx([1.02, 6.02])
    lines = [line.get_xdata()[0] for line in marked.axes[1].lines if line.get_color() == LIGHT.mark]
    assert lines == [0.5, 1.5, 5.5, 6.5]
    strip = overlay_strip(pixels, noise(8, 24, 32), deciding=(1, 6))
    assert len(borders(strip.axes[0])) == 2
    assert [text.get_text()[0] for text in strip.axes[0].texts if text.get_color() == LIGHT.mark] == ["2", "7"]
    strided = clip_summary(pixels, torch.ones(4), matrix[:4, :4], deciding=(3,))
    assert [line.get_xdata()[0] for line in strided.axes[1].lines if line.get_color() == LIGHT.mark] == [0.5, 1.5]


def test_a_moving_picture_marks_the_frame_on_its_curve(pixels, tmp_path):
    curve = torch.ones(8)
    path = animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif", captions=list("abcdefgh"), curve=curve)
    with Image.open(path) as image:
        places = []
        for number in range(8):
            image.seek(number)
            last = np.asarray(image.convert("RGB")).astype(int)[-2]
            orange = (last[:, 0] - last[:, 2]) > 100
            places.append(np.flatnonzero(orange).mean() / len(last))
    np.testing.assert_allclose(places, (np.arange(8) + 0.5) / 8, atol=0.02)
    with pytest.raises(ValueError, match="one entry for each of 8 frames"):
        animation(pixels, noise(8, 24, 32), tmp_path / "clip.gif", curve=curve[:3])


def test_times_stand_below_the_columns(matrix):
    axes = matrix_heatmap(matrix, times=[0.5 * i for i in range(8)]).axes[0]
    named = [label.get_text() for label in axes.get_xticklabels()]
    assert all(text.endswith(" s") for text in named)
    assert "2\n0.5 s" in named


def test_what_speaks_against_the_class_is_marked_without_colour():
    values = torch.eye(4)
    values[1, 2] = -0.5
    (strokes,) = matrix_heatmap(values).axes[0].lines
    assert (strokes.get_xdata().tolist(), strokes.get_ydata().tolist()) == ([2], [1])


def test_where_a_row_is_negative_strokes_do_not_claim_to_be_against_the_class():
    """A row of a negative logit is negative as a whole: what carries it is not against it."""
    values = torch.eye(4)
    values[1, 2] = -0.5
    assert "white strokes: against the class" in matrix_heatmap(values).axes[0].get_xlabel()
    values[3] = -values[3]
    assert "white strokes: negative" in matrix_heatmap(values).axes[0].get_xlabel()
