"""What is printed, on the terminal and as JSON."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from terminal import FILES, RANDOM, SMALL, TINY, error

import lrp3d
from lrp3d.commands import output_folder
from lrp3d.video import draw_clip


def test_a_video_is_explained_on_the_terminal(run, clip):
    code, out, err = run("explain", clip, *SMALL)
    assert (code, err) == (0, "")
    assert out.startswith("clip.npy: I3D-R18-f4, 4 frames, explained in ")
    assert RANDOM in out
    assert re.search(r"top classes +\d+\.\d %  class \d+, logit", out)
    assert re.search(r"explained +class \d+, logit [-\d.]+; contrastive LRP, composite paper", out)
    assert re.search(r"ATR +97\.5 % of the relevance within \d\.\d of 4 frames on average, \d at most", out)
    assert re.search(r"conserved +yes \(\de-\d+\)", out)


def test_a_classifier_with_another_rule_and_rules_that_absorb_are_named(run, clip, networks):
    said = "the classifier's rule is ZPlus() instead of Epsilon(epsilon=1e-09), which makes no contrast"
    _, out, _ = run("explain", clip, *TINY, "--composite", "epsilon", "--out", "out")
    assert said in out
    assert re.search(r"conserved +no \(off by \d+ %\); rules absorbed some: \S+ by Epsilon", out)
    assert said in " ".join(json.loads(Path("out/explanation.json").read_text())["notes"])
    assert said in run("explain", clip, *TINY, "--composite", "epsilon", "--whole")[1]
    _, out, _ = run("explain", clip, *TINY, "--composite", "epsilon", "--plain")
    assert said not in out
    assert "rules absorbed some" not in out


def test_the_numbers_are_those_of_the_library(run, clip):
    _, out, _ = run("explain", clip, *SMALL, "--target", 7, "--json")
    found = json.loads(out)["clips"][0]
    torch.manual_seed(0)
    model = lrp3d.models.build("I3D-R18-f4", num_classes=400, width=4).eval()
    read = lrp3d.video.read_clip(clip, 4, size=32, short_side=37, mean=model.mean, std=model.std)
    expected = lrp3d.explain(model, read.tensor, 7)
    logit = expected.logits[0, 7].item()
    assert found["target"] == {"class": 7, "label": "class 7", "logit": logit, "explained": "logit"}
    torch.testing.assert_close(torch.tensor(found["matrix"]), expected.matrix[0])
    assert found["atr"] == expected.atr[0].tolist()
    assert found["max_atr"] == expected.max_atr.item()
    assert found["frames"] == read.indices.tolist()


def test_a_class_is_explained_rather_than_others(run, clip):
    code, out, err = run("explain", clip, *SMALL, "--target", 7, "--against", 3, "--against", 5)
    assert (code, err) == (0, "")
    assert re.search(
        r"explained +class 7 rather than class 3 or class 5, logit above their mean by [-\d.]+; plain", out
    )
    found = json.loads(run("explain", clip, *SMALL, "--target", 7, "--against", "next", "--json")[1])["clips"][0]
    assert found["target"]["label"] == "class 7"
    assert len(found["against"]) == 1
    assert found["target"]["explained"] == "logit above the other's"
    assert run("explain", clip, *SMALL, "--against", "next", "--against", 3)[0] == 2
    assert run("explain", clip, *SMALL, "--against", 400)[0] == 2
    said = error(run, "explain", clip, *SMALL, "--target", 3, "--against", 3, code=2)
    assert said == "lrp3d: --against class 3 is the class of --target: name another one\n"


def no_constant(name):
    raise AssertionError(f"{name} is no json")


def test_json_is_all_that_is_on_stdout_and_has_no_nan(run, clip):
    code, out, err = run("explain", clip, *SMALL, "--json", "--sigma", "0.9")
    said = json.loads(out, parse_constant=no_constant)
    assert (code, err) == (0, "")
    assert said["model"] == "I3D-R18-f4"
    assert said["weights"].startswith(RANDOM)
    assert said["weights_given"] is False
    assert said["sigma"] == 0.9
    assert said["clips"][0]["times"] == [None] * 4  # a tensor file does not say when
    assert len(said["clips"][0]["windows"]) == 4


def test_rows_without_relevance_have_no_atr_and_no_nan(run, clip, networks):
    """A blank network: every logit is 0, and no frame adds anything."""
    with Path("networks.py").open("a") as file:
        file.write("\n\ndef blank():\n    net = Net()\n    nn.init.zeros_(net.fc.weight)\n")
        file.write("    nn.init.zeros_(net.fc.bias)\n    return net\n")
    model = ["--model", "networks:blank", "--size", 16, "--frames", 4]
    code, out, _ = run("explain", clip, *model, "--json")
    found = json.loads(out, parse_constant=no_constant)["clips"][0]
    assert code == 0
    assert (found["atr"], found["avg_atr"], found["max_atr"]) == ([None] * 4, None, None)
    assert "ATR           no frame has relevance" in run("explain", clip, *model)[1]


def test_one_failure_does_not_stop_the_rest(run, clip):
    code, out, err = run("explain", "missing.mp4", clip, *SMALL, "--json")
    assert code == 1
    assert err == "lrp3d: there is no file or folder missing.mp4\n"
    failed, found = json.loads(out)["clips"]
    assert failed == {"video": "missing.mp4", "error": "there is no file or folder missing.mp4"}
    assert found["video"] == clip
    assert "matrix" in found


def test_plain_lrp_and_other_rules_are_said(run, clip):
    _, out, _ = run("explain", clip, *SMALL, "--plain", "--composite", "epsilon_plus")
    assert "plain LRP, composite epsilon_plus" in out
    contrastive, plain = (json.loads(run("explain", clip, *SMALL, "--json", *how)[1]) for how in ((), ("--plain",)))
    assert (contrastive["contrastive"], plain["contrastive"]) == (True, False)
    assert contrastive["clips"][0]["matrix"] != plain["clips"][0]["matrix"]


def test_a_smaller_share_of_relevance_takes_no_more_frames(run, clip):
    shares = (0.5, 0.9, 1.0)
    found = [json.loads(run("explain", clip, *SMALL, "--json", "--sigma", s)[1])["clips"][0]["atr"] for s in shares]
    assert all(few <= more for few, more in zip(found[0], found[1], strict=True))
    assert sum(found[0]) < sum(found[2])


def test_frames_that_follow_one_another_can_be_asked_for(run, clip):
    _, out, _ = run("explain", clip, *SMALL, "--sampling", "dense", "--json")
    assert json.loads(out)["clips"][0]["frames"] == [1, 2, 3, 4]


def test_frames_of_dense_sampling_are_a_stride_apart_in_every_command(run, folder, networks):
    np.save(folder / "long.npy", draw_clip(20, 40).numpy())
    dense = ("--sampling", "dense", "--stride", "3", "--json")
    explained = json.loads(run("explain", "long.npy", *TINY, *dense)[1])
    assert explained["clips"][0]["frames"] == [5, 8, 11, 14]
    assert explained["stride"] == 3
    for command in (("check", "--no-shapley"), ("prototypes", "--layer", "conv")):
        few, every = (json.loads(run(*command, "long.npy", *TINY, *how)[1]) for how in (dense, ("--json",)))
        assert (few["sampling"], few["stride"], every["sampling"]) == ("dense", 3, "uniform")
        assert few != every | {"sampling": "dense", "stride": 3}  # other frames, other numbers


def test_a_clip_of_very_many_frames_is_said_to_take_long(run, clip, networks, monkeypatch):
    monkeypatch.setattr("lrp3d.commands.many_frames.MANY", 5)
    for command, advice in ((("explain",), "--whole takes a long video by a window of fewer"), (("check",), "fewer")):
        _, _, err = run(*command, clip, *TINY, "--frames", 6)
        assert err.startswith("lrp3d: 6 frames are many: the matrix has as many rows, so that time grows with the")
        assert advice in err
        assert run(*command, clip, *TINY)[2] == ""


def test_what_is_lost_of_a_video_is_said(run, folder, clip):
    code, out, _ = run("explain", clip, *SMALL, "--frames", 8)
    assert code == 0
    assert "clip.npy has 6 frames and 8 were asked for: frames repeat" in out


@pytest.mark.parametrize("more", [(), ("--whole",)])
def test_the_folder_in_which_one_is_has_its_name(run, folder, networks, monkeypatch, more):
    (folder / "frames").mkdir()
    for number, frame in enumerate(draw_clip(4, 40)):
        Image.fromarray(frame.numpy()).save(folder / f"frames/{number}.png")
    monkeypatch.chdir(folder / "frames")
    code, out, _ = run("explain", ".", "--model", f"{folder / 'networks.py'}:Net", "--size", 16, "--frames", 4, *more)
    assert code == 0
    assert out.startswith(f"frames: {folder / 'networks.py'}:Net, 4 frames")


def test_one_frame_has_no_matrix_and_that_is_said(run, folder):
    np.save(folder / "one.npy", draw_clip(1, 40).numpy())
    code, out, _ = run("explain", "one.npy", *SMALL, "--frames", 1)
    assert code == 0
    assert "a clip of one frame has no temporal relevance" in out
    assert "ATR" not in out.replace("no temporal", "")


@pytest.mark.parametrize("asked", [("--sigma", "0.975"), ("--compare", "--out", "out"), ("--motion",), ("--floor",)])
@pytest.mark.parametrize("without", ["a frame", "frame logits"])
def test_what_needs_a_matrix_is_refused_where_there_is_none(run, folder, networks, without, asked):
    np.save(folder / "short.npy", draw_clip(4, 40).numpy())
    model, frames, why = {
        "a frame": ("Net", 1, "a clip of one frame has no temporal relevance"),
        "frame logits": ("PooledFirst", 4, "no temporal relevance here: "),
    }[without]
    own = ["--model", f"networks:{model}", "--size", 16, "--frames", frames]
    said = error(run, "explain", "short.npy", *own, *asked)
    assert f"short.npy: {why}" in said
    assert said.endswith(f": leave out {asked[0]} to explain the clip as a whole\n")
    assert run("explain", "short.npy", *own)[0] == 0


def test_the_floor_is_shown_where_weights_are_not_drawn_and_as_asked_for(run, clip, networks):
    own = ["--model", "networks:Net", "--size", 16, "--frames", 4]
    said = run("explain", clip, *own)[1]
    assert re.search(r"floor +\d+ % of the relevance exceeds what the untrained network gives to the same frames", said)
    assert re.search(r" same frames\. Of this excess, 80 % lies in frames? \d.* of 4\.\n", said)
    assert "untrained" not in run("explain", clip, *own, "--no-floor")[1]
    assert "untrained" not in run("explain", clip, *SMALL)[1]
    assert "untrained" in run("explain", clip, *SMALL, "--floor")[1]


def test_a_network_that_cannot_be_reset_has_no_floor_and_that_is_said(run, clip, networks, folder):
    with (folder / "networks.py").open("a") as file:
        file.write(
            "class Scaled(Net):\n"
            "    def __init__(self):\n"
            "        super().__init__()\n"
            "        self.scale = nn.Parameter(torch.rand(4, 1, 1, 1))\n"
            "    def forward(self, clip):\n"
            "        return self.fc((torch.relu(self.conv(clip)) * self.scale).mean((3, 4)).transpose(1, 2)).mean(1)\n"
        )
    scaled = ["--model", "networks:Scaled", "--size", 16, "--frames", 4]
    code, out, _ = run("explain", clip, *scaled)
    assert code == 0
    assert "the untrained network cannot be made: the model itself (Scaled) cannot be reset" in out
    code, _, err = run("explain", clip, *scaled, "--floor")
    assert code == 1
    assert "reset_parameters()" in err


def test_layers_are_shown_and_channels_followed_where_asked_for(run, clip):
    asked = (
        "explain",
        clip,
        *SMALL,
        "--layers",
        "*.layer[34]",
        "--where",
        "features.layer4=1,2",
        "--plain",
        "--out",
        "out",
    )
    code, said, err = run(*asked)
    assert (code, err) == (0, "")
    assert "only through  channels 1, 2 of features.layer4" in said
    assert "layer         features.layer4: most relevance of its" in said
    facts = json.loads(Path("out/explanation.json").read_text())
    assert facts["where"] == {"features.layer4": [1, 2]}
    assert [value != 0 for value in facts["layers"]["features.layer4"]["channels"][:4]] == [False, True, True, False]
    page = Path("out/report.html").read_text()
    assert "Only what flows through channels 1, 2 of features.layer4 is shown." in page
    assert "the row sums to the part of it that flows through these channels" in page
    assert 'id="inside"' in page
    code, said, _ = run("explain", clip, *SMALL, "--layers", "features.*", "--plain", "--out", "many")
    named = json.loads(Path("many/explanation.json").read_text())["layers"]
    assert (code, said.count("most relevance of its")) == (0, 16)
    assert f"and {len(named) - 16} more layers, which the page and explanation.json name" in said
    assert all(f">{name}<" in Path("many/report.html").read_text() for name in named)
    assert run("explain", clip, *SMALL, "--where", "layer4")[0] == 2
    assert (
        "fits no module that ran; did you mean 'features.layer3'?"
        in run("explain", clip, *SMALL, "--layers", "layer3")[2]
    )


RELU_TWICE = """
from torch import nn
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv3d(4, 4, 1), nn.ReLU()
    def forward(self, x):
        return self.relu(x + self.conv(self.relu(x)))
def network():
    pool = nn.AdaptiveAvgPool3d(1)
    return nn.Sequential(nn.Conv3d(3, 4, 3), Block(), pool, nn.Flatten(), nn.Linear(4, 3)).eval()
"""


def test_the_pattern_of_the_help_fits_and_a_misfit_is_answered_with_a_command(run, clip):
    assert "'*layer?'" in run("explain", "--help")[1]
    code, said, err = run("explain", clip, *SMALL, "--layers", "*layer?")
    assert (code, err) == (0, "")
    assert all(f"features.layer{i}: most" in said for i in (1, 2, 3, 4))
    Path("twice.py").write_text(RELU_TWICE)
    code, said, err = run("explain", clip, "--model", "twice.py:network", "--size", 64, "--layers", "*")
    assert code == 0
    assert (
        "warning: relevance at layers is kept without 1.relu, which the patterns of --layers fit as well: they" in err
    )
    assert "1.conv: most" in said
    err = run("explain", clip, *SMALL, "--layers", "stage?")[2]
    assert "'stage?' fits no module that ran; lrp3d inspect shows their names" in err


def test_prototypes_are_found_among_videos(run, clip):
    code, said, err = run(
        "prototypes", clip, clip, *SMALL, "--layer", "features.layer4", "--channel", "1", "--out", "p.json"
    )
    assert (code, err) == (0, "")
    assert "channel 1" in said
    assert len(json.loads(Path("p.json").read_text())["channels"]["1"]) == 2
    assert run("prototypes", clip, *SMALL, "--layer", "features.layer4")[0] == 0
    assert "has 32 channels" in run("prototypes", clip, *SMALL, "--layer", "features.layer4", "--channel", "99")[2]


def test_prototypes_are_shown_on_a_page_with_their_frames(run, clip):
    asked = ["prototypes", clip, clip, *SMALL, "--layer", "features.layer4", "--channel", "1", "--channel", "2"]
    assert run(*asked, "--out", "p.html")[0] == 0
    page = Path("p.html").read_text()
    assert "<h2>Channel 1</h2>" in page
    assert "<h2>Channel 2</h2>" in page
    clips = re.findall("<figure.*?</figure>", page)
    assert len(clips) == 4
    for shown in clips:  # each with its name, its share and its frames, so that nothing sorts them apart
        assert f"<b>{clip}</b>" in shown
        assert "% of the clip&#x27;s relevance" in shown
        assert shown.count("data:image/jpeg;base64,") == 4
        assert f'alt="frame 4 of {clip}"' in shown
    assert "<table" not in page
    assert "all relevance for the explained class that reaches the layer" in page
    assert str(clip) in page
    assert "random weights" in page


def test_a_whole_video_is_explained_window_by_window(run, clip):
    asked = ("explain", clip, *SMALL, "--whole", "--stride", "1")
    code, said, err = run(*asked, "--out", "out")
    assert (code, err) == (0, "")
    assert "wrote out/timeline.html" in said
    assert "classes       frames 1 to " in said
    assert "random weights" in Path("out/timeline.html").read_text()
    facts = json.loads(run(*asked, "--json", "--out", "out")[1])["videos"][0]
    assert len(facts["rows"]) == 6
    for option in (["--motion"], ["--compare"], ["--animate", "gif", "--out", "o"], ["--theme", "dark"]):
        assert f"{option[0]}" in (said := run(*asked, *option)[2])
        assert "cannot be combined with --whole: only single clips have it" in said
    assert (
        "--every says which frames of a whole video are taken: it goes with"
        in run("explain", clip, *SMALL, "--every", "2")[2]
    )
    assert "--compare is for the page: say where" in run("explain", clip, *SMALL, "--compare")[2]
    assert "fewer than one window of 9" in run("explain", clip, *SMALL, "--whole", "--frames", "9")[2]


def test_motion_is_shown_where_asked_for(run, clip, networks):
    asked = ["explain", clip, "--model", "networks:Net", "--size", 16, "--frames", 4, "--plain", "--no-floor"]
    assert "of the relevance is dynamic" in run(*asked, "--motion", "--out", "out")[1]
    assert "This does not say how much the network needs motion" in Path("out/report.html").read_text()
    assert "dynamic" not in run(*asked)[1]


def test_a_moving_picture_is_written_where_it_is_asked_for(run, clip, folder):
    code, _, err = run("explain", clip, *SMALL, "--out", "out", "--animate", "gif", "--theme", "dark")
    assert (code, err) == (0, "")
    with Image.open("out/relevance.gif") as moving, Image.open("out/matrix.png") as matrix:
        assert moving.n_frames == 4
        assert max(matrix.convert("RGB").getpixel((1, 1))) < 64
    assert "say where with --out DIR" in run("explain", clip, *SMALL, "--animate", "gif")[2]


def test_captions_of_a_moving_picture_name_the_number_that_a_row_explains(run, clip, monkeypatch):
    captions = []
    monkeypatch.setattr("lrp3d.figures.animation", lambda *given, **how: captions.append(how["captions"]) or given[2])
    for against in ((), ("--against", "next")):
        assert run("explain", clip, *SMALL, "--out", "out", "--animate", "gif", "--no-floor", *against)[::2] == (0, "")
    assert all(", logit above the other's by " in caption for caption in captions[1])
    assert all(", logit " in caption and "above" not in caption for caption in captions[0])


@pytest.mark.slow
def test_nothing_of_an_earlier_clip_stays_beside_a_later_one(run, clip, folder, monkeypatch):
    run("explain", clip, *SMALL, "--out", "out", "--animate", "gif", "--no-floor")
    run("explain", clip, *SMALL, "--out", "out", "--no-floor")
    assert {path.name for path in Path("out").iterdir()} == FILES
    monkeypatch.setattr(output_folder, "is_installed", lambda name: False)
    run("explain", clip, *SMALL, "--out", "out", "--no-floor")
    assert {path.name for path in Path("out").iterdir()} == {"explanation.safetensors", "explanation.json"}


@pytest.mark.slow
def test_the_page_can_compare_methods_and_the_best_classes(run, clip, folder):
    code, _, err = run("explain", clip, *SMALL, "--out", "out", "--compare", "--no-floor")
    assert (code, err) == (0, "")
    page = Path("out/report.html").read_text(encoding="utf-8")
    views = json.loads(page.partition('id="data">')[2].partition("</script>")[0])["views"]
    found = [(view["class"], view["method"]) for view in views]
    top = [one["label"] for one in json.loads(Path("out/explanation.json").read_text())["top"]]
    assert found[:3] == [(top[0], "CLRP"), (top[0], "interventions"), (top[0], "LRP")]
    assert found[3:7] == [(name, method) for name in top[1:3] for method in ("CLRP", "LRP")]
    assert len(found) == len(set(found)) == 11  # five classes by two methods, and the interventions
    assert "command: <code>lrp3d explain " in page


def test_a_video_that_fails_shows_where_the_error_comes_from_if_that_is_asked_for(run, clip, monkeypatch):
    monkeypatch.setattr("lrp3d.commands.one_clip.explain_clip", lambda *arguments: 1 / 0)
    assert run("explain", clip, *SMALL)[::2] == (1, "lrp3d: clip.npy: ZeroDivisionError: division by zero\n")
    with pytest.raises(ZeroDivisionError):
        run("explain", clip, *SMALL, "-v")


def test_a_clip_with_a_negative_share_is_said_to_speak_against_the_class():
    from lrp3d.commands.prototypes import _share_words

    assert _share_words(-0.01, contrastive=True).endswith(": here the channel speaks against the class")
    assert _share_words(-0.01, contrastive=False).endswith(": here the channel has the other sign than the logit")
    assert ":" not in _share_words(0.01, contrastive=True)
