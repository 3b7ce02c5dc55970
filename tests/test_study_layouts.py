"""Studies of models that take their clips with other axes: the same records, and folders that say which axes."""

import json

import pytest
import torch
from safetensors.torch import load_file
from studies import Given, encode
from test_study_numbers import CLASSES, FRAMES, Net, balanced, pixels
from torch import nn

from lrp3d import study
from lrp3d.commands.command_line import main
from lrp3d.layout import laid_out

LAYOUTS = ("btchw", "b (t c) h w", "(b t) c h w")
TIME = ("reversed", "shuffled", "frozen", "single")
TENSORS = ("logits", "frame_logits", "matrix", "atr", "windows", "empty", "time")
RANGE = [[(end - mean) / std for mean, std in zip(Net.mean, Net.std, strict=True)] for end in (0, 1)]


class Other(nn.Module):
    """`Net` for clips with other axes, which it views as frames, as many networks do."""

    mean, std, num_classes = Net.mean, Net.std, CLASSES

    def __init__(self, layout="btchw", network=None):
        super().__init__()
        self.network = network or Net()

    def _clips(self, clip):
        frames = clip.view(-1, FRAMES, 3, *clip.shape[-2:])
        return frames.transpose(1, 2)

    def frame_logits(self, clip):
        return self.network.frame_logits(self._clips(clip))

    def forward(self, clip):
        return self.network(self._clips(clip))


def made(folder, model, clips, batch_size=2, **how):
    """The records of a study, and its maps."""
    rows = study.make_list([study.Row(f"{number}.mp4", 0) for number in range(len(clips))])
    explainer = study.Explainer(model, mean=Net.mean, std=Net.std, **how)
    config = study.configuration(explainer, study.Reader("videos", frames=FRAMES))
    folder = study.create(folder, config, rows)
    outcome = study.run(folder, explainer, Given(clips), batch_size=batch_size, keep_relevance=True)
    assert outcome.failed == 0
    records = list(folder.records())
    return records, [load_file(folder.relevance_path(record.number))["relevance"] for record in records]


@pytest.fixture(scope="module")
def network():
    return balanced(Net())[0]


EVERYTHING = {"windows": [2, "segment", "centred"], "empty": True, "time": TIME, "input_range": RANGE}


@pytest.fixture(scope="module")
def usual(tmp_path_factory, network):
    """The records of a study of clips (b, c, t, h, w), and its maps."""
    return made(tmp_path_factory.mktemp("bcthw"), network, pixels(5), **EVERYTHING)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_records_do_not_depend_on_the_axes_that_the_model_takes(tmp_path, network, usual, layout):
    expected, maps = usual
    found, own = made(tmp_path, Other(layout, network).eval(), pixels(5), layout=layout, **EVERYTHING)
    for ours, theirs in zip(found, expected, strict=True):
        for name in TENSORS:
            torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), equal_nan=True)
    for ours, theirs in zip(own, maps, strict=True):
        assert ours.shape == (FRAMES, 12, 12)
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_range_every_clip_has_that_of_its_own_pixels_in_every_batch(tmp_path, network, layout):
    clips = pixels(3)
    clips[1] = clips[1] // 4
    expected, maps = made(tmp_path / "bcthw", network, clips, composite="epsilon_gamma_box", time=["reversed"])
    how = {"composite": "epsilon_gamma_box", "time": ["reversed"], "layout": layout}
    found, own = made(tmp_path / "other", Other(layout, network).eval(), clips, batch_size=3, **how)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.matrix, theirs.matrix)
        torch.testing.assert_close(ours.time, theirs.time, equal_nan=True)
    torch.testing.assert_close(own, maps)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_clip_that_is_laid_out_can_be_viewed_as_the_model_likes(layout):
    assert laid_out(torch.rand(1, 3, 4, 5, 5), layout).is_contiguous()


def test_a_layout_that_is_none_is_refused():
    with pytest.raises(ValueError, match="layout names the axes b c t h w once each"):
        study.Explainer(Net().eval(), layout="bcthx")


# What a folder says of them


def config_of(layout):
    return study.configuration(study.Explainer(Net().eval(), layout=layout), study.Reader("videos", frames=FRAMES))


def test_a_folder_says_the_layout_where_it_is_another_and_spells_it_in_one_way():
    assert "layout" not in config_of("bcthw")
    assert "layout" not in config_of("b c t h w")
    assert config_of("btchw")["layout"] == config_of("b t c h w")["layout"] == "btchw"
    assert config_of("b (t c) h w")["layout"] == config_of("b(tc)hw")["layout"]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """The command of a study of three videos."""
    for number in range(3):
        encode(tmp_path / f"{number}.mp4", seed=number)
    (tmp_path / "val.txt").write_text("\n".join(f"{number}.mp4 {number}" for number in range(3)))
    torch.save(Other().state_dict(), tmp_path / "w.pt")
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ["study", "run", "--list", str(tmp_path / "val.txt"), "--model", "test_study_layouts:Other"]
    command += ["--weights", str(tmp_path / "w.pt"), "--frames", str(FRAMES), "--size", "24", "--device", "cpu"]
    return [*command, "--workers", "0", "--batch", "2", "--out", str(tmp_path / "out")]


def test_a_folder_of_another_layout_is_refused(words, tmp_path, capsys):
    assert main([*words, "--layout", "btchw"]) == 0
    records = list(study.load_study(tmp_path / "out").records())
    assert [record.matrix.shape for record in records] == [(FRAMES, FRAMES)] * 3
    assert main([*words, "--layout", "b t c h w"]) == 0
    assert "3 were done before" in capsys.readouterr().out
    assert main(words) == 1
    assert "its layout is btchw, not bcthw. Give another --out" in capsys.readouterr().err


def test_a_folder_without_a_layout_is_one_of_bcthw(words, tmp_path, capsys):
    words[words.index("--model") + 1] = "test_study_numbers:Net"
    torch.save(Net().state_dict(), tmp_path / "w.pt")
    assert main(words) == 0
    assert "layout" not in json.loads((tmp_path / "out/study.json").read_text())["config"]
    assert main([*words, "--layout", "bcthw"]) == 0
    assert "3 were done before" in capsys.readouterr().out
    assert main([*words, "--layout", "btchw"]) == 1
    assert "its layout is bcthw, not btchw" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:0.mp4")
def test_a_model_of_another_layout_than_was_said_is_answered_with_layout(words, capsys):
    words[words.index("--model") + 1] = "test_study_layouts:Folding"
    del words[words.index("--weights") : words.index("--weights") + 2]
    assert main(words) == 1
    assert "say it with --layout, as in --layout btchw" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--layout", "bcthx"])
    assert "layout names the axes b c t h w once each" in capsys.readouterr().err


class Folding(nn.Module):
    """A network of frames (b, t, c, h, w), which fails on clips with other axes."""

    num_classes = CLASSES

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, CLASSES)

    def forward(self, x):
        frames = self.head(self.conv(x.flatten(0, 1)).relu().mean((2, 3)))
        return frames.unflatten(0, x.shape[:2]).mean(1)
