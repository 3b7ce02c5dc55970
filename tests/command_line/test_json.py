"""--json of every command: the results alone are on stdout, as json without NaN."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
import torch
from terminal import SMALL, TINY, error, in_a_process

import lrp3d
from lrp3d.commands.command_line import COMMANDS


def no_constant(name):
    raise AssertionError(f"{name} is no json")


@pytest.fixture
def results(run):
    """What a command prints with --json, which nothing else may stand beside."""

    def running(*arguments, code=0):
        ended, out, _ = run(*arguments, "--json")
        assert ended == code
        return json.loads(out, parse_constant=no_constant)

    return running


@pytest.mark.parametrize("command", [name.__name__.rpartition(".")[2].replace("_", "-") for name in COMMANDS])
def test_every_command_offers_json(run, command):
    steps = (
        re.findall(r"^    (run|merge|report) ", run(command, "--help")[1], re.MULTILINE) if command == "study" else []
    )
    for words in [[command, step] for step in steps] or [[command]]:
        assert "--json" in run(*words, "--help")[1]


@pytest.mark.slow
def test_the_demo_says_what_lies_on_the_frames_that_decide(results):
    found = results("demo")
    deciding = found["clips"][0]["deciding"]
    assert deciding["frames"] == [9, 13]
    assert f"{100 * deciding['shares']['CLRP']:.0f} % by CLRP" in deciding["verdict"]
    columns = torch.tensor(found["clips"][0]["matrix"]).abs().sum(0)
    assert deciding["shares"]["CLRP"] == pytest.approx(float(columns[[9, 13]].sum() / columns.sum()), rel=1e-4)


def test_quiet_is_about_what_people_read(results, clip):
    for asked in (["inspect", *SMALL], ["explain", clip, *SMALL, "--frames", 2]):
        assert results(*asked, "--quiet").keys() == results(*asked).keys()


def test_inspect_lists_operations_and_problems(results, networks):
    found = results("inspect", *SMALL)
    assert found["problems"] == []
    assert found["operations"][0]["rule"].startswith("ZBeta")
    found = results("inspect", "--model", "networks:Normed", "--size", 16, code=1)
    assert any("logcumsumexp" in problem for problem in found["problems"])
    assert not all(row["supported"] for row in found["operations"])


def test_checks_and_prototypes_print_what_they_write(results, listed, networks):
    for command in (["check", "--no-shapley", *TINY], ["prototypes", "--layer", "features.layer4", *SMALL]):
        found = results(*command, *listed, "--out", "numbers.json")
        assert found == json.loads(Path("numbers.json").read_text())


def test_a_study_prints_counts_summary_and_files(results, listed, folder):
    found = results("study", "run", *listed, *SMALL, "--out", "s", "--workers", 0)
    assert (found["before"], found["failed"]) == (0, 0)
    assert found["explained"] == 3
    summary = results("study", "merge", "s")
    written = json.loads(Path("s/summary.json").read_text())
    assert summary["counts"] == written["counts"]
    assert summary["wrote"] == ["s/summary.json"]
    found = results("study", "report", "s")
    assert "s/report/report.html" in found["wrote"]
    assert all(Path(name).is_file() for name in found["wrote"])


def test_a_converted_checkpoint_says_what_it_is(results, converted):
    arguments = ["--model", "TAM2D-R18-f4", "--option", "width=4", "--option", "kernel_size=5"]
    found = results("convert-checkpoint", "source.pth", "again.safetensors", *arguments)
    assert (found["file"], found["model"], found["classes"]) == ("again.safetensors", "TAM2D-R18-f4", 3)
    assert found["parameters"] == lrp3d.models.count_parameters(converted)


def test_training_prints_its_epochs(results, listed):
    found = results("train", *listed, *SMALL, "--epochs", 1, "--batch", 2, "--workers", 0, "--out", "run")
    assert [epoch["epoch"] for epoch in found["epochs"]] == [0]
    assert Path(found["weights"]).is_file()


def test_open_prints_its_address_at_once(folder):
    (folder / "page.html").write_text("<title>mine</title>")
    process = in_a_process("open", ".", "--no-browser", "--json")
    try:
        text = ""
        while "}" not in text:
            text += process.stdout.readline()
        found = json.loads(text)
        assert found["pages"] == ["page.html"]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert b"mine" in opener.open(found["address"], timeout=60).read()
    finally:
        process.terminate()
        process.communicate()


def test_a_failure_prints_no_json_and_one_line(run):
    assert "there is no file" in error(run, "check", "missing.mp4", *SMALL, "--json")
