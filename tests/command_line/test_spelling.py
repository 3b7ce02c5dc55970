"""The command line names its own options, where the library names arguments of Python."""

from pathlib import Path

import pytest
from terminal import error

from lrp3d.commands.spelling import as_options


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("say it with layout=, as in layout='btchw'", "say it with --layout, as in --layout btchw"),
        ("leave out where=, or leave out floor= and motion=", "leave out --where, or leave out --floor and --motion"),
        ("motion=True splits temporal relevance", "--motion splits temporal relevance"),
        ("(contrastive=False tells which)", "(--plain tells which)"),
        ("with workers=0", "with --workers 0"),
        ("got channel=[4, 9]", "got --channel 4 --channel 9"),
        ("where={'a': [1], 'b': [2, 3]}: the output", "--where a=1 --where b=2,3: the output"),
    ],
)
def test_arguments_become_options(message, said):
    assert as_options(message) == said


@pytest.mark.parametrize(
    "message",
    [
        "the model states frames=-3, which no clip can have",  # what a file or a model says is repeated as it is
        "num_classes=77 was asked for, and the checkpoint has 3",
        "a.safetensors says kernel_size=2",
        "where={'conv': ...} takes numbers",
        "max_layers=3",
    ],
)
def test_what_is_no_advice_stays_as_it_is(message):
    assert as_options(message) == message


def test_a_command_says_options(run, clip, networks):
    model = ["--model", "networks:Net", "--size", 16]
    said = error(run, "explain", clip, *model, "--where", "conv=99")
    assert said.startswith("lrp3d: clip.npy: --where conv=99: the output of 'conv'")
    said = error(run, "explain", clip, *model, "--layout", "btchw")
    assert said.endswith(
        "if the model takes clips with other axes than btchw, say it with --layout, as in --layout bcthw; if it takes "
        "another number or size of frames, with --frames or --size\n"
    )
    assert error(run, "prototypes", clip, *model, "--layer", "conv", "--channel", 99).endswith("got --channel 99\n")
    assert "--layer '*' fits 2 modules (conv, fc): name one" in error(run, "prototypes", clip, *model, "--layer", "*")


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ("return {'a': self.fc(self.seen(clip)), 'b': clip.mean()}", "returns these alone"),
        ("return self.fc(self.seen(clip))[:, 0]", "returns logits[:, None]"),
        ("return self.fc(self.seen(clip)) * float('-inf')", "returns the others, as in logits[:, :10]"),
        ("return self.half().conv(clip)", "is in float32"),
    ],
)
def test_what_no_option_can_pick_is_advised_of_the_model(run, clip, networks, folder, body, advice):
    with (folder / "networks.py").open("a") as file:
        file.write(
            "\n\nclass Own(Net):\n"
            "    def seen(self, clip):\n        return torch.relu(self.conv(clip)).mean((2, 3, 4))\n\n"
            f"    def forward(self, clip):\n        {body}\n"
        )
    said = error(run, "explain", clip, "--model", "networks:Own", "--size", 16, "--frames", 4)
    assert f"let --model name a model, or a function that makes one, that {advice}" in said
    assert "output=" not in said
    assert "command line" not in said


def test_a_model_without_frame_logits_is_answered_with_what_the_command_line_has(run, clip, networks):
    model = ["--model", "networks:PooledFirst", "--size", 16]
    for asked in (["--motion"], ["--floor"], ["--compare", "--out", "out"]):
        said = error(run, "explain", clip, *model, *asked)
        assert said.endswith(f"leave out {asked[0]} to explain the clip as a whole\n")
    lists = ["--list", "list.csv", "--root", "."]
    Path("list.csv").write_text(f"{clip} 0\n")
    said = run("study", "run", *lists, *model, "--out", "study")[2]
    assert "lrp3d explain explains the clip alone, and with --rows-at" in said
