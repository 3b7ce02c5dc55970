"""The demo, checks, inspection, conversion and help; what is not installed."""

import html
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from terminal import FILES, RANDOM, SMALL, TINY, error, in_a_process

import lrp3d
from lrp3d.extras import install_command
from lrp3d.faithfulness.scores import MEASURES


def test_the_demo_needs_nothing_at_all_and_shows_the_truth(run, folder):
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert "the answer is known: it is 'same', as the two red or green squares have the same colour or not" in out
    assert "only frames 10 and 14 show them" in out
    assert "explained     same" in out
    assert {file.name for file in (folder / "out" / "demo").iterdir()} == FILES | {"methods.png"}
    saved = lrp3d.Explanation.load("out/demo/explanation.safetensors")
    assert saved.matrix is not None
    share = lrp3d.planted.finding(saved.matrix[0], [9, 13]).share
    assert f"{100 * share:.0f} % by CLRP" in out  # the words are the numbers of the pictures
    assert "CLRP fails to find frames 10 and 14" in out
    assert "(chance: 12.5 %)" in out
    assert "The same network untrained puts" in out
    assert "Only what exceeds these shares was learned." in out
    # The page says it too, as a note, which pictures have as their footnote.
    assert "CLRP fails to find frames 10 and 14" in Path("out/demo/report.html").read_text()


@pytest.mark.parametrize("given", [("--frames", "3"), ("--size", "99"), ("--option", "width=3")])
def test_the_demo_refuses_what_its_own_clip_and_network_leave_no_choice_in(given, run, folder):
    said = error(run, "demo", *given, code=2)
    assert f"{given[0]}: the drawn clip has its own network" in said
    assert not (folder / "out").exists()


def test_the_demo_takes_a_model_of_the_paper(run, folder):
    code, out, err = run("demo", "--model", "I3D-R18-f4", "--option", "width=4", "--size", 32)
    assert (code, err) == (0, "")
    assert "a drawn clip: I3D-R18-f4, 4 frames" in out
    assert RANDOM in out
    assert {file.name for file in (folder / "out" / "demo").iterdir()} == FILES


def test_inspect_lists_every_operation_and_what_stands_in_the_way(run, networks):
    code, out, _ = run("inspect", *SMALL)
    assert code == 0
    assert re.search(r"^features\.conv1 .*ZBeta", out, re.MULTILINE)
    assert "UNSUPPORTED" not in out
    code, out, _ = run("inspect", "--model", "networks:Normed", "--size", 16)
    assert code == 1
    assert "UNSUPPORTED" in out
    assert "Cannot be explained:" in out


def test_inspect_says_what_it_inspects_and_takes_weights(run, folder, networks, converted):
    code, out, _ = run("inspect", "--weights", "tam.safetensors", "--size", 32)
    assert code == 0
    assert out.startswith("TAM2D-R18-f4, a clip of 4 frames of 32 pixels; weights of tam.safetensors\n")
    wrong = error(run, "inspect", "--model", "networks:Net", "--weights", "source.pth", "--size", 16)
    assert "source.pth does not fit Net" in wrong
    code, out, _ = run("inspect", "--model", "networks:Net", "--size", 16, "--json")
    said = json.loads(out)
    assert "random, unless it loads some" in said["weights"]
    assert any("clips of 8 are taken" in note for note in said["notes"])


def test_a_failed_conversion_writes_nothing(run, folder):
    torch.save({"layer9.weight": torch.zeros(1)}, "wrong.pth")
    error(run, "convert-checkpoint", "wrong.pth", "out.safetensors", "--model", "I3D-R18-f4")
    error(run, "convert-checkpoint", "missing.pth", "out.safetensors", "--model", "I3D-R18-f4")
    assert [file.name for file in folder.iterdir()] == ["wrong.pth"]


def test_a_pickle_is_read_only_where_it_is_trusted(run, folder):
    import argparse

    model = lrp3d.models.build("I3D-R18-f4", num_classes=2, width=4)
    torch.save({"state_dict": model.state_dict(), "args": argparse.Namespace(lr=0.1)}, "ibm.pth")
    arguments = ["convert-checkpoint", "ibm.pth", "ibm.safetensors", "--model", "I3D-R18-f4", "--option", "width=4"]
    said = error(run, *arguments)
    assert "lrp3d convert-checkpoint IN OUT --model NAME --trust-pickle" in said
    code, _, err = run(*arguments, "--trust-pickle")
    assert code == 0
    assert err.startswith("lrp3d: warning: unpickling ibm.pth")
    assert torch.equal(lrp3d.models.load_model("ibm.safetensors").fc.weight, model.fc.weight)


@pytest.mark.parametrize("command", ["explain", "demo", "inspect", "convert-checkpoint"])
def test_every_command_has_help_with_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: lrp3d {command} " in " ".join(out.split())


def test_the_help_of_all_lists_the_commands_and_exit_codes(run):
    code, out, _ = run("--help")
    assert code == 0
    for word in ("explain", "demo", "inspect", "convert-checkpoint", "Exit codes: 0", "LRP3D_TRACEBACK"):
        assert word in out
    assert run("--version")[1] == f"lrp3d {lrp3d.__version__}\n"


def test_it_is_also_a_module():
    process = in_a_process("explain")
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (2, "")
    assert err == "lrp3d explain: the following arguments are required: VIDEO (see lrp3d explain --help)\n"


# What is not installed


def test_pictures_without_matplotlib_are_refused_before_anything_is_done(run, clip, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = error(run, "explain", clip, *SMALL, "--out", "out")
    assert said.startswith("lrp3d: what --out writes needs matplotlib: ")
    assert said.endswith(f"{install_command('matplotlib')}\n")
    assert not (folder / "out").exists()
    assert run("explain", clip, *SMALL)[0] == 0


def test_the_demo_without_matplotlib_tells_its_result_and_what_is_missing(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = run("demo")
    assert (code, err) == (0, "")
    assert "TAM5-R18-f16-match-d4, 16 frames, explained in " in out
    assert {file.name for file in (folder / "out" / "demo").iterdir()} == {
        "explanation.safetensors",
        "explanation.json",
    }
    last = out.splitlines()[-1]
    assert "not drawn: methods.png, relevance.png, matrix.png, atr.png, report.html." in last
    assert install_command("matplotlib") in last


def test_videos_without_pyav_name_the_extra(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (folder / "clip.mp4").write_text("a video")
    said = error(run, "explain", "clip.mp4", *SMALL)
    assert said.startswith("lrp3d: clip.mp4: reading videos and images needs PyAV: ")
    assert said.endswith(f"{install_command('av')}\n")


def test_no_bar_is_drawn_where_nobody_looks(run, clip):
    """stderr is no terminal here."""
    assert run("explain", clip, *SMALL)[2] == ""


def test_check_prints_a_table_with_a_verdict_and_writes_all_numbers(run, clip, networks):
    code, out, err = run("check", clip, clip, *TINY, "--no-shapley", "--out", "check.json")
    assert (code, err) == (0, "")
    assert "gain (freeze)" in out
    assert "2 clips; means with 95 % intervals over clips" in out
    assert json.loads(Path("check.json").read_text())["clips"] == 2
    assert run("check", clip, clip, *TINY, "--no-shapley", "--out", "check.html")[0] == 0
    page = Path("check.html").read_text()
    assert "gain (freeze)" in page
    assert re.search("<h2>[^<]{,100}</h2><ul[^>]*><li>", page)
    assert re.search("<b>-</b>: .*random numbers and gradient x input are not held against other classes", page)
    assert f"<b>gain (freeze)</b>: {html.escape(MEASURES['gain (freeze)'])}" in page
    assert run("check", *TINY)[0] == 2
    assert run("check", clip, *TINY, "--target", "label")[0] == 2


def test_what_was_decided_about_the_model_is_said_by_every_command(run, clip, folder):
    Path("own.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    frames = 4\n\n    def __init__(self):\n"
        "        super().__init__()\n        self.conv, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.Linear(4, 3)\n\n"
        "    def forward(self, x):\n        return self.fc(self.conv(x).relu().mean((2, 3, 4)))\n"
    )
    said = "the model states no mean and std: ImageNet's are used"
    for command in (["explain"], ["check", "--no-shapley"], ["prototypes", "--layer", "conv"]):
        code, out, _ = run(*command, clip, "--model", "own.py:Net", "--size", "24")
        assert code == 0
        assert said in out


def test_alone_it_says_its_help(run):
    assert run()[:2] == run("--help")[:2]


@pytest.mark.parametrize("where", ["before", "behind"])
def test_quiet_prints_nothing_but_writes_all_the_same(run, clip, folder, where):
    given = ["explain", clip, *SMALL, "--out", "out", "--device", "auto"]
    assert run(*(["-q", *given] if where == "before" else [*given, "-q"])) == (0, "", "")
    assert (folder / "out" / "explanation.json").exists()


def test_a_folders_pages_are_served_on_this_machine_alone(folder):
    from threading import Thread
    from urllib.request import ProxyHandler, build_opener

    from lrp3d.commands.open import server

    for name in ("a", "b & c"):
        (folder / name).mkdir()
        (folder / name / "report.html").write_text(f"page {name}")
    with server(folder) as serving:
        host, port = serving.server_address
        assert host == "127.0.0.1"
        thread = Thread(target=serving.serve_forever)
        thread.start()
        ask = build_opener(ProxyHandler({})).open
        try:
            with ask(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                links = re.findall(r'href="(.*?)"', answer.read().decode())
            assert links == ["a/report.html", "b%20%26%20c/report.html"]
            with ask(f"http://127.0.0.1:{port}/{links[1]}", timeout=10) as answer:
                assert answer.read() == b"page b & c"
            with ask(f"http://127.0.0.1:{port}/favicon.ico", timeout=10) as answer:
                assert (answer.status, answer.read()) == (204, b"")  # no error in the browser's console
        finally:
            serving.shutdown()
            thread.join()


def test_completion_is_a_script_of_all_commands_or_names_what_is_missing(run):
    if importlib.util.find_spec("shtab") is None:
        assert "completion needs shtab" in run("--print-completion", "bash")[2]
    else:
        assert "convert-checkpoint" in run("--print-completion", "bash")[1]
