"""Runs: every clip once, whatever breaks, and the same numbers whoever made them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from studies import encode
from torch import nn

import lrp3d
from lrp3d import study
from lrp3d.commands.command_line import main
from lrp3d.study import Record

NETWORK = """
import os, time
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 6, (3, 3, 3), stride=(1, 2, 2), padding=1)
        self.body = nn.Conv3d(6, 6, (3, 3, 3), padding=1)
        self.head = nn.Linear(6, 3)

    def frame_logits(self, clip):
        x = torch.relu(self.body(torch.relu(self.stem(clip))))
        return self.head(x.mean((3, 4)).transpose(1, 2))

    def forward(self, clip):
        time.sleep(float(os.environ.get("SLOW", 0)))
        return self.frame_logits(clip).mean(1)
"""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Eleven clips of three classes, two of them damaged, and a module with a network."""
    folder = tmp_path_factory.mktemp("videos")
    lines = []
    for number in range(9):
        encode(folder / "v" / f"clip {number}.mp4", seed=number)
        lines.append(f"v/clip {number}.mp4 {number % 3}")
    (folder / "v" / "broken.mp4").write_bytes(b"nothing")
    lines += ["v/broken.mp4 0", "v/not there.mp4 1"]
    (folder / "val.txt").write_text("\n".join(lines))
    (folder / "shuffled.txt").write_text("\n".join(reversed(lines)))
    (folder / "networks.py").write_text(NETWORK)
    return folder


@pytest.fixture(autouse=True)
def _where_the_network_is(videos, monkeypatch):
    monkeypatch.syspath_prepend(str(videos))


def arguments(videos, out, *more, name="val.txt"):
    clips = ["--list", str(videos / name), "--dataset", "made up", "--frames", "4", "--size", "32"]
    speed = ["--workers", "0", "--device", "cpu"]
    return ["study", "run", *clips, "--model", "networks:Network", "--out", str(out), *speed, *more]


def start(videos, out, *more, **environment):
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lrp3d", *arguments(videos, out, *more)],
        env={**os.environ, "PYTHONPATH": str(videos), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def merged(out):
    assert main(["study", "merge", str(out), "--min-score", "0", "--wrong-too"]) == 0
    return (out / "summary.json").read_bytes()


@pytest.fixture(scope="module")
def single(videos, tmp_path_factory):
    """A run in one process."""
    out = tmp_path_factory.mktemp("single") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(videos))
        assert main(arguments(videos, out)) == 0
    return out


def test_a_run_records_every_clip_that_can_be_read_and_names_the_others(single, videos, capfd):
    made = study.load_study(single)
    records = list(made.records())
    assert [record.name for record in records] == [f"v/clip {number}.mp4" for number in range(9)]
    assert set(made.failures()) == {item.number for item in made.items} - {record.number for record in records}
    reasons = sorted(made.failures().values())
    assert len(reasons) == 2
    assert "cannot be opened as a video" in reasons[0]
    assert "no file or folder v/not there.mp4" in reasons[1]
    one = records[4]
    assert one.matrix.shape == (4, 4)
    assert one.logits.shape == (3,)
    assert one.label == 1
    assert one.target == one.prediction
    torch.testing.assert_close(one.matrix.sum(1), one.frame_logits)
    torch.testing.assert_close(one.logits[one.target], one.frame_logits.mean())
    assert one.indices == (2, 7, 12, 17)


def test_the_last_line_counts_failures_and_a_run_again_explains_nothing_twice(single, videos, capsys):
    before = {path: path.stat().st_mtime_ns for path in single.rglob("*.safetensors")}
    assert main(arguments(videos, single)) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 clips explained (9 were done before), 2 failed")
    assert {path: path.stat().st_mtime_ns for path in single.rglob("*.safetensors")} == before


def test_a_run_in_which_no_clip_works_fails(tmp_path, videos, capsys):
    (tmp_path / "bad.txt").write_text("nothing.mp4 0")
    assert main([*arguments(tmp_path, tmp_path / "out", name="bad.txt")]) == 1
    said = f"0 clips explained, 1 failed: see {tmp_path / 'out/errors.jsonl'} (the first: there is no file or folder "
    assert f"{said}nothing.mp4 below the root; the root is {tmp_path})" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("--batch", "4", "--workers", "1")])
def test_two_processes_under_torchrun_come_to_the_bytes_of_one(tmp_path, videos, single, more):
    alone = single
    if more:
        alone = tmp_path / "alone"
        assert main(arguments(videos, alone, "--batch", "4")) == 0
    out = tmp_path / "out"
    ranks = [start(videos, out, *more, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    said = [process.communicate(timeout=600) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    assert "shard 1 of 2 (torchrun)" in said[1][0]
    assert merged(out) == merged(alone)


@pytest.mark.slow
def test_killed_in_the_middle_and_resumed_it_comes_to_the_same_bytes(tmp_path, videos, single):
    out = tmp_path / "out"
    process = start(videos, out, "--workers", "1", SLOW="0.2")
    deadline = time.monotonic() + 300
    while len(list(out.glob("records/*/*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    readers = below(process.pid)
    assert readers or not Path("/proc/self/stat").exists()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = study.load_study(out).done()
    assert 3 <= len(done) < 9
    assert main(arguments(videos, out)) == 0
    assert merged(out) == merged(single)
    while any(map(parent, readers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(parent, readers))  # nobody is left of those that read ahead


def parent(pid):
    """The parent of a running process, 0 if it has ended (Linux; elsewhere nobody is seen)."""
    try:
        state, above = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(above)


def below(pid):
    """The processes that a process started, and those that they started."""
    running = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    found, generation = [], [pid]
    while generation:
        generation = [child for child in running if parent(child) in generation]
        found += generation
    return found


def test_shards_in_any_order_of_any_list_come_to_the_same_bytes(tmp_path, videos, single):
    out = tmp_path / "out"
    for shard in ("2/3", "0/3", "1/3"):
        assert main(arguments(videos, out, "--shard", shard, name="shuffled.txt")) == 0
    assert merged(out) == merged(single)


def test_a_summary_names_no_path_and_no_time(single):
    text = merged(single).decode()
    assert ".mp4" not in text
    assert str(single.parent) not in text
    assert "seconds" not in text
    keys = list(json.loads(text))
    assert keys == sorted(keys)


def test_another_configuration_is_refused_and_what_differs_is_said(tmp_path, videos, single, capsys):
    before = sorted((path, path.read_bytes()) for path in single.rglob("*") if path.is_file())
    changes = [
        (("--plain",), "its contrast (false with --plain) is true, not false"),
        (("--frames", "6"), "frames is 4, not 6"),
        (("--sampling", "dense"), "sampling is uniform, not dense"),
        (("--limit", "5"), "clips is 11 clips"),
    ]
    for more, said in changes:
        assert main(arguments(videos, single, *more)) == 1
        assert said in capsys.readouterr().err
    assert sorted((path, path.read_bytes()) for path in single.rglob("*") if path.is_file()) == before


def test_other_weights_are_another_configuration():
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    digest = study.weights_digest(first)
    assert digest != study.weights_digest(second)
    second.load_state_dict(first.state_dict())
    assert digest == study.weights_digest(second)


def test_other_rules_under_a_registered_name_are_another_configuration(monkeypatch):
    monkeypatch.setattr(lrp3d.composites.named, "REGISTERED", {})

    def config_of(rule):
        lrp3d.register_composite("mine", lrp3d.Composite(layers={nn.Conv3d: rule}), replace=True)
        return study.configuration(study.Explainer(nn.Linear(2, 3), composite="mine"), study.Reader("videos", frames=4))

    first, second = config_of(lrp3d.rules.Flat()), config_of(lrp3d.rules.WSquare())
    assert first["composite"] == second["composite"] == "mine"
    assert first["rules"] != second["rules"]


def test_a_record_of_another_configuration_is_not_summarised(tmp_path, videos, single):
    shutil.copytree(single, tmp_path / "out")
    path = tmp_path / "out/records/000/000001.safetensors"
    replace(Record.load(path), config="other").save(path)
    with pytest.raises(study.StudyError, match="another configuration"):
        study.merge(study.load_study(tmp_path / "out"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(study.StudyError, match="delete it, and run the study again"):
        study.merge(study.load_study(tmp_path / "out"))


def test_maps_and_windows_are_kept_where_they_were_asked_for(tmp_path, videos):
    out = tmp_path / "out"
    assert main(arguments(videos, out, "--keep-relevance", "--windows", "1,4,segment", "--limit", "3")) == 0
    made = study.load_study(out)
    one = next(made.records())
    assert len(one.windows) == 3
    assert int(one.windows[1]) == one.prediction  # a window as long as the clip
    kept = load_file(made.relevance_path(one.number))["relevance"]
    assert kept.shape == (4, 32, 32)
    assert float(kept.float().sum()) > 0
    summary = study.merge(made)
    assert summary["windows"][1]["accuracy"] == summary["accuracy"]["top1"]


def test_a_map_that_is_gone_is_made_anew_and_said(tmp_path, videos, capsys):
    out = tmp_path / "out"
    given = arguments(videos, out, "--keep-relevance", "--limit", "3")
    assert main(given) == 0
    made = study.load_study(out)
    gone = made.relevance_path(min(made.done()))
    before = load_file(gone)["relevance"]
    gone.unlink()
    capsys.readouterr()
    assert main(given) == 0
    assert re.search(rf"{gone.name} is not there, .* made anew", capsys.readouterr().err.replace("\n", " "))
    assert load_file(gone)["relevance"].equal(before)


# Success means written


def test_damaged_and_misplaced_records_are_said_and_made_anew(tmp_path, videos, single, capsys):
    out = tmp_path / "out"
    shutil.copytree(single, out)
    made = study.load_study(out)
    one, two, three, four = (made.record_path(number) for number in sorted(made.done())[:4])
    one.write_bytes(one.read_bytes()[:-8])
    content = bytearray(two.read_bytes())
    content[-1] ^= 1  # one bit of a number
    two.write_bytes(content)
    shutil.copy(four, three)
    shutil.copy(four, four.with_name("000099.safetensors"))
    assert main(arguments(videos, out)) == 0
    said = capsys.readouterr()
    assert "3 clips explained (6 were done before)" in said.out
    assert said.err.count("made anew") == 3
    assert "000099.safetensors is of no clip" in said.err
    four.with_name("000099.safetensors").unlink()
    assert merged(out) == merged(single)


def test_a_full_disk_ends_in_one_line_that_names_what_could_not_be_written(tmp_path, videos, monkeypatch, capsys):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(arguments(videos, tmp_path / "out")) == 1
    record = tmp_path / "out" / "records" / "000" / "000001.safetensors"
    assert capsys.readouterr().err.splitlines()[-1] == f"lrp3d: {record}: No space left on device"
    assert not list((tmp_path / "out").glob("records/*/*"))


def test_what_was_decided_to_read_a_list_is_said_and_kept(tmp_path, videos, capsys):
    (videos / "headed.csv").write_text("path,label\nv/clip 0.mp4,0\n")
    assert main(arguments(videos, tmp_path / "out", name="headed.csv")) == 0
    assert "headed.csv: line 1 names the columns (path,label)" in capsys.readouterr().err
    assert "headed.csv: line 1 names the columns (path,label)" in study.load_study(tmp_path / "out").notes
    assert main(["study", "merge", str(tmp_path / "out")]) == 0
    assert "note: headed.csv: line 1 names the columns" in capsys.readouterr().out


def test_the_models_own_classes_tell_what_a_list_without_labels_means(tmp_path, videos, capsys):
    (videos / "named.txt").write_text("v/clip 0.mp4 zebra\nv/clip 1.mp4 ape\n")
    assert main(arguments(videos, tmp_path / "named", name="named.txt")) == 0
    said = "0 ape, 1 zebra; the model has 3 classes and the list 2, so that its own numbers are others"
    assert said in capsys.readouterr().err
    assert said in study.load_study(tmp_path / "named").notes[-1]
    (videos / "from one.txt").write_text("v/clip 0.mp4 1\nv/clip 1.mp4 3\n")
    assert main(arguments(videos, tmp_path / "out", name="from one.txt")) == 0
    assert [record.label for record in study.load_study(tmp_path / "out").records()] == [0, 2]


def test_nobody_knows_whether_ones_own_model_without_a_file_of_weights_is_trained(single, tmp_path, videos):
    assert study.load_study(single).config["trained"] is None
    summary = study.merge(study.load_study(single), correct=False, min_score=0)
    page = study.report([("mine", summary)]).markdown()
    assert "Nobody said whether the weights of networks:Network are trained" in page
    assert "are random" not in page
    # A study of before, which called them trained, is continued.
    shutil.copytree(single, tmp_path / "before")
    stored = json.loads((single / "study.json").read_text())
    config = {**stored["config"], "trained": True}
    (tmp_path / "before" / "study.json").write_text(json.dumps({**stored, "config": config}))
    (tmp_path / "before" / "clips.json").write_text((single / "clips.json").read_text())
    clips = study.read_list(videos / "val.txt", num_classes=3)
    given = {name: value for name, value in stored["config"].items() if name != "clips"}
    assert study.create(tmp_path / "before", given, clips).config == config


@pytest.mark.skipif(os.name == "nt", reason="no such signal here")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_leaves_nothing_behind_and_is_continued(name, tmp_path, videos):
    told = getattr(signal, name)
    running = start(videos, tmp_path / "out", "--workers", "1", SLOW="0.3")
    while running.poll() is None and not list(tmp_path.rglob("*.safetensors")):
        time.sleep(0.05)
    running.send_signal(told)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 128 + told
    assert f"told to end ({name}): run it again to continue" in said
    assert "leaked" not in said
    assert main(arguments(videos, tmp_path / "out")) == 0
    assert len(study.load_study(tmp_path / "out").done()) == 9


def test_frames_that_repeat_are_said_by_the_run_too(tmp_path, videos, capsys):
    dense = ("--sampling", "dense", "--stride", "100", "--limit", "4")
    assert main(arguments(videos, tmp_path / "out", *dense)) == 0
    said = capsys.readouterr().out
    assert re.search(r"past the end the last frame repeats \(the records of \d clips have notes\)", said)


def test_time_is_changed_where_it_was_asked_for_and_reported(tmp_path, videos):
    out = tmp_path / "out"
    assert main(arguments(videos, out, "--time", "reversed,single", "--limit", "3")) == 0
    made = study.load_study(out)
    assert made.config["time"] == ["reversed", "single"]
    one = next(iter(made.records()))
    assert one.time.shape == (3, 4)
    assert int(one.time[0, 0]) == one.prediction
    assert float(one.time[0, 2]) == pytest.approx(one.avg_atr)
    summary = study.merge(made, correct=False, min_score=0)
    assert [row["time"] for row in summary["time"]] == ["as it is", "reversed", "single"]
    assert summary["time"][0]["accuracy"] == summary["accuracy"]["top1"]
    assert summary["time"][0]["same_prediction"] == 100
    assert summary["time"][2]["avg_atr"] is None
    assert "Does the network need time?" in study.report([("mine", summary)]).markdown()
    with pytest.raises(SystemExit):
        main(arguments(videos, out, "--time", "backwards"))
