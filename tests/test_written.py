"""What is written shows the names of others as they are: no formula, no control, no way out of a folder."""

import csv
import io
import json
import re
import resource
import unicodedata
import warnings
from functools import partial
from pathlib import Path

import pytest
import torch
from lrp3d.files import as_json, replacing
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from PIL import Image
from safetensors.torch import save_file
from studies import summary_of

import lrp3d
from lrp3d.figures import atr_windows, clip_summary, lettering, matrix_heatmap, overlay_strip
from lrp3d.figures.canvas import in_lines
from lrp3d.figures.lettering import MissingLetters, em, lettered
from lrp3d.filenames import safe_name, unique_names
from lrp3d.printed import printable, say
from lrp3d.study import report
from lrp3d.study.reporting import charts
from lrp3d.study.cells import csv_rows, csv_text

MARKUP = ["pay $5 or $10", "$\\frac{$", "$x", "_lead", "__", "\\$5", "a_b^c %s {} #", "</script><!--"]
CONTROL = ["two\nlines", "tab\there", "\x1b[31mred", "nul\0", "\ud800"]
HARDEST = ["$\\frac{$\x1b[31mred", "W" * 300]
NAMES = [*MARKUP, *CONTROL, "x" * 500, *HARDEST, "שלום עולם", "café", "cafe\u0301", "", " "]


def drawn(figure):
    """Every text of a figure, after it was drawn: coarsely, as this is about letters and not about pixels."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=20)
    assert max(Image.open(buffer).size) < 1_600  # 80 inches
    return [text for text in figure.findobj(Text) if text.get_text()]


def every_figure(name):
    """What draws each kind of figure with a name wherever it takes one."""
    matrix, clip = torch.eye(4) + 0.1, torch.zeros(4, 16, 24, 3, dtype=torch.uint8)
    curve = [{"window": 2, "size": 2, "accuracy": 50.0}, {"window": "segment", "size": 3.5, "accuracy": 51.0}]
    said = {"title": name, "footnote": name}
    return [
        partial(matrix_heatmap, matrix, label=name, **said),
        partial(clip_summary, clip, matrix.sum(1), matrix, torch.ones(4), **said),
        partial(overlay_strip, clip, torch.rand(4, 16, 24), label=name, **said),
        partial(atr_windows, torch.ones(4), matrix, pixels=clip, **said),
        partial(charts.heatmaps, {name: matrix, "other": matrix}),
        partial(charts.class_curve, [5.0, 6.0], [0.1, 0.2], [7.0, 8.0], title=name),
        partial(charts.human_scatter, [5.0, 6.0], [0], [1], title=name),
        partial(charts.accuracy_scatter, [1.0, 2.0, 3.0], [60.0, 61.0, 60.5], [name, "_b", "c"], title=name),
        partial(charts.window_curves, {name: curve, "_b": curve}, title=name),
    ]


@pytest.mark.filterwarnings("ignore::lrp3d.figures.lettering.MissingLetters")  # of old matplotlib, about Hebrew
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_every_name_is_drawn_as_text_in_every_figure(name):
    """The hardest ones in every figure, the others in one kind each, as all kinds write through one door."""
    kinds, turn = every_figure(name), NAMES.index(name)
    for draw in kinds if name in HARDEST else kinds[turn % len(kinds) :][:1]:
        for text in drawn(draw()):
            assert not (text.get_parse_math() and "$" in text.get_text())
            assert all(letter == "\n" or printable(letter) == letter for letter in text.get_text())


@pytest.mark.parametrize("name", ["_pay $5 or $10"])
def test_a_name_stands_in_figures_letter_by_letter(name):
    for draw in every_figure(name):
        said = " ".join(text.get_text() for text in drawn(draw()))
        assert name in said or "temporal" in said or "classes" in said
    models = charts.accuracy_scatter([1.0, 2.0, 3.0], [60.0, 61.0, 60.5], [name, "_b", "c"])
    assert [text.get_text() for text in models.axes[0].get_legend().get_texts()] == [name, "_b", "c"]


def test_lines_of_figures_are_no_wider_than_was_asked():
    for name in ("W" * 200, "i" * 900, "making a very long cake " * 20):
        lines = in_lines(name, 4, 10, lines=5).split("\n")
        assert len(lines) <= 5
        assert all(sum(map(em, line)) <= 4 * 72 / 10 for line in lines)
        assert lines[-1].endswith("…")


@pytest.fixture
def fonts(monkeypatch):
    """Fonts that a test says are installed; nothing is remembered before or after."""
    remembering = (lettering._fallbacks, lettering._installed, lettering._warned, lettering.em)

    def installed(*paths):
        for one in remembering:
            one.cache_clear()
        monkeypatch.setattr(font_manager, "findSystemFonts", lambda: list(paths))
        monkeypatch.setattr(lettering, "_draws_no_text", lambda path: False)
        monkeypatch.setattr(font_manager.fontManager, "ttflist", [])

    yield installed
    for one in remembering:
        one.cache_clear()


def test_letters_come_from_an_installed_font_that_has_them(fonts):
    """Also from one that was installed after matplotlib last looked."""
    usual, other = (FT2Font(font_manager.findfont(name)) for name in ("DejaVu Sans", "STIXGeneral"))
    lacking = [chr(code) for code in other.get_charmap() if not usual.get_char_index(code)]
    letter = next(letter for letter in lacking if unicodedata.category(letter) in ("Sm", "So", "Ll", "Lu", "Lo"))
    fonts("no font at all", other.fname)
    assert lettered(f"a{letter}")[0] == f"a{letter}"
    assert lettered(f"a{letter}")[1]["fontfamily"][-1] == "STIXGeneral"
    assert lettered("a")[1]["fontfamily"] == ["sans-serif"]


def test_letters_that_no_font_has_are_boxes_and_said_once(fonts):
    fonts()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert lettered("打太极拳 $5")[0] == "□□□□ $5"
        assert lettered("中文")[0] == "□□"
    assert len(said) == 1
    assert said[0].category is MissingLetters
    assert re.fullmatch("no installed font has the Chinese.*太.*apt-get install fonts-noto-cjk.*", str(said[0].message))


# The terminal


def test_a_name_takes_one_line_of_the_terminal_and_does_nothing_there():
    out = io.StringIO()
    say("\x1b[2J\x1b]0;owned\x07 a\nb\rc\u2028d\u202ee\x9bf", stream=out)
    assert out.getvalue() == "\\x1b[2J\\x1b]0;owned\\x07 a\\nb\\rc\\u2028d\\u202ee\\x9bf\n"
    say("打太极拳 é ‍", stream=out)
    assert out.getvalue().endswith("打太极拳 é ‍\n")


def test_letters_that_a_terminal_lacks_are_escaped():
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, "ascii", write_through=True)
    say("太 caf\udce9", stream=terminal)
    assert raw.getvalue() == b"\\u592a caf\\xe9\n"


def test_nothing_but_say_prints():
    printed = re.compile(r"^ *print\(|\.std(out|err)\.write", re.MULTILINE)
    for path in Path(lrp3d.__file__).parent.rglob("*.py"):
        if path.name != "for_captum.py":  # its argument `verbose` means what it means there
            assert not printed.search(path.read_text()), path


# Files


ELSEWHERE = ["..", ".", "", "...", "/", "../../a", "a/b", "a\\b", "a:b"]
NO_FOLDER = ["a\0b", "a\nb", "con", "LPT1.x", "a.", " a ", "x" * 999, "拳" * 99, "-", "\ud800"]


@pytest.mark.parametrize("name", ELSEWHERE + NO_FOLDER)
def test_a_folder_named_after_anything_is_one_folder_below(tmp_path, name):
    below = tmp_path / "out" / safe_name(name)
    below.mkdir(parents=True)
    assert below.resolve().parent == (tmp_path / "out").resolve()
    assert len(below.name.encode()) <= 200
    assert not set(below.name) & set('<>:"/\\|?*\n\0')


def test_names_that_some_file_system_takes_for_one_are_told_apart():
    names = unique_names(["clip", "CLIP", "clip", "clip-2", "caf\u00e9", "cafe\u0301", "..", "."])
    assert names[0] == "clip"
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)


def test_a_file_for_which_there_is_no_room_is_named_and_nothing_is_left(tmp_path):
    path = tmp_path / "old.png"
    path.write_bytes(b"before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large") as said, replacing(path) as temporary:
            matrix_heatmap(torch.eye(4)).savefig(temporary, format="png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.value.filename == str(path)
    assert [file.name for file in tmp_path.iterdir()] == ["old.png"]
    assert path.read_bytes() == b"before"


# Tables


FORMULAS = ["=cmd|'/c calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "'=1", "''=1", "＝1"]
NO_FORMULAS = ["'tis", "a;=1", "-1.5", "+5", "1e-3", "it's", 'a"b,c', "", "-", "plain"]


@pytest.mark.parametrize("cell", FORMULAS + NO_FORMULAS)
def test_a_cell_is_no_formula_and_comes_back_as_it_was(cell):
    text = csv_text([["name", "n"], [cell, -1.5]])
    assert csv_rows(text) == [["name", "n"], [cell, "-1.5"]]
    (_, [written, number]) = csv.reader(io.StringIO(text, newline=""))
    assert number == "-1.5"
    assert written[:1] not in set("=@\t\r\n＝")
    assert written[:1] not in set("+-") or float(written)


@pytest.mark.slow
def test_reports_of_hostile_names_are_files_of_their_own(tmp_path):
    hostile = ["=1+1", "a|b", "x](y)", "<img src=x>", "$5", "_lead"]
    small = {"classes": 2, "clips": 4}
    alike = [("a/b", summary_of(dataset="A B", **small)), ("A/b", summary_of(dataset="A-B", **small))]
    made = report([("..", summary_of(labels=hostile)), *alike])
    written = list(made.write(tmp_path / "report"))
    beside = sum(
        getattr(part, "data", None) is not None for part in made.parts
    )  # figures have their numbers beside them
    assert len({str(path).casefold() for path in written}) == len(written) == len(made.parts) + beside + 2
    assert all((tmp_path / "report") in path.parents for path in written)
    page = (tmp_path / "report/report.html").read_text()
    pictures = re.findall(r"<(?:img|svg)[^>]*>", page)
    assert pictures
    own = r'<svg class="chart" role="img" |<img width="\d+" style="--wide:\d+px" src="data:image/'
    assert all(re.match(own, picture) for picture in pictures)


@pytest.mark.parametrize("said", ["{", "[]", '{"ledger": 3}', '{"ledger": [], "colour": 1}', "[" * 10000])
def test_a_damaged_explanation_is_refused_by_its_name(tmp_path, said):
    file = tmp_path / "explanation.safetensors"
    save_file({"logits": torch.zeros(1, 2)}, file, {"lrp3d": said})
    with pytest.raises(ValueError, match="is a damaged explanation") as caught:
        lrp3d.Explanation.load(file)
    assert str(caught.value).count(file.name) == 1


def test_what_is_written_as_json_has_no_nan_and_no_infinity_at_any_depth():
    value = {"atr": torch.tensor([2.5, torch.nan]), "rows": [{"low": -torch.inf, "names": ("a", 1)}]}
    written = json.dumps(as_json(value), allow_nan=False)
    assert json.loads(written) == {"atr": [2.5, None], "rows": [{"low": None, "names": ["a", 1]}]}
    assert as_json(value, digits=1)["atr"] == [2.0, None]
