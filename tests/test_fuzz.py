"""A small part of the fuzzing runs in every suite, and finds what is planted; `python -m benchmarks.fuzz` goes on."""

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from benchmarks import fuzz
from benchmarks.fuzzing import checkpoints, child, images, judging, kinds, lists, tensors, videos
from benchmarks.fuzzing.kind import Kind
from lrp3d import study

CASES = 20
BY_NAME = {kind.name: kind for kind in kinds.KINDS}


def run(kind: Kind, case: int, folder: Path, seed: int = 0):
    place = folder / f"{kind.name} {seed} {case}"
    place.mkdir()
    return judging.run_case(kind, seed, case, place)


@pytest.mark.parametrize("name", BY_NAME)
def test_only_documented_errors_come_out_of_mutated_files(tmp_path, name):
    outcomes = [run(BY_NAME[name], case, tmp_path) for case in range(CASES)]
    assert [(outcome.case, outcome.findings) for outcome in outcomes if outcome.findings] == []
    assert any(outcome.read for outcome in outcomes), "some damage is survived"
    assert not all(outcome.read for outcome in outcomes), "and some is not"


@pytest.mark.parametrize("kind", [videos, images, tensors, checkpoints])
def test_what_is_not_damaged_is_read(tmp_path, monkeypatch, kind):
    """Else a reader that refuses everything would pass."""
    for name in ("mutated", "mutated_file", "with_checksums"):
        monkeypatch.setattr(kind, name, lambda data, *more: data, raising=False)
    monkeypatch.setattr(images, "TEMPLATES", (None,))
    outcomes = [run(kind.KIND, case, tmp_path, seed=3) for case in range(CASES // 2)]
    assert not any(outcome.findings for outcome in outcomes)
    assert sum(outcome.read for outcome in outcomes) >= CASES / 4


def raising(error: Exception):
    def read(*arguments, **options):
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (KeyError("x"), r"KeyError: 'x' (test_fuzz.py, line "),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "no"), "UnicodeDecodeError: "),
        (ValueError("val.csv:\nno list"), "an error of several lines, ValueError: "),
        (ValueError(""), "an error of several lines, ValueError: "),
    ],
)
def test_an_error_that_nobody_documents_is_found(tmp_path, monkeypatch, error, found):
    monkeypatch.setattr(lists, "read_list", raising(error))
    (sentence,) = run(lists.KIND, 4, tmp_path).findings
    assert sentence.startswith(found)


def test_a_list_read_wrongly_is_found(tmp_path, monkeypatch):
    row = study.make_list([study.Row("a.mp4", 0)])
    monkeypatch.setattr(lists, "read_list", lambda *_, **__: replace(row, items=(replace(row.items[0], label=-1),)))
    assert any("has class -1" in sentence for sentence in run(lists.KIND, 4, tmp_path).findings)


def test_a_model_that_changes_as_it_refuses_a_checkpoint_is_found(tmp_path, monkeypatch):
    def load(model, path, *arguments, **options):
        next(model.parameters()).data.zero_()
        raise checkpoints.CheckpointError("half of it fits")

    monkeypatch.setattr(checkpoints, "load_checkpoint", load)
    findings = run(checkpoints.KIND, 3, tmp_path).findings
    assert findings == ("the model that could not be loaded is another one now",)


def test_a_pickle_that_runs_code_is_found(tmp_path, monkeypatch):
    def read(path):
        checkpoints.alarm("a pickle ran code")
        raise checkpoints.CheckpointError("too late")

    monkeypatch.setattr(checkpoints, "read_checkpoint", read)
    assert "a pickle ran code" in run(checkpoints.KIND, 3, tmp_path).findings
    assert checkpoints.ran == []


def files_of(kind: Kind, seed: int, case: int, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    kind.prepare(folder, Random(f"{seed} {kind.name} {case}"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_a_seed_and_a_number_make_the_same_files_again(tmp_path, kind):
    made = [files_of(kind, 1, case, tmp_path / f"{number}") for number, case in enumerate((8, 8, 9))]
    assert made[0] == made[1] != made[2]


def test_seeds_are_the_same_when_they_are_made_again():
    for module in (videos, images, tensors, checkpoints):
        assert module.seeds() == module.seeds.__wrapped__()


# The process that runs the cases of the command. What it does there is planted here, where functions have names.


def _hang(kind, seed, case, folder):
    time.sleep(60)


def _crash(kind, seed, case, folder):
    os.abort()


def _take_memory(kind, seed, case, folder):
    return judging.Outcome(kind.name, case, details=(b"x" * (case * 2**20)).decode()[:0])


def _serve(run_case, pipe, seed):
    child.warm_up = lambda: None
    child.run_case = run_case
    child.serve(pipe, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("planted", "found"), [(_hang, "no end after 2 s"), (_crash, "the process died of SIGABRT")])
def test_a_case_that_hangs_or_crashes_is_a_finding_and_the_next_one_runs(monkeypatch, planted, found):
    with child.Child(0, 2, serve=partial(_serve, planted)) as runner:
        assert runner.run(4).findings == (found,)
        runner.serve, runner.limit = child.serve, 20
        assert runner.run(4).findings == ()


@pytest.mark.slow
def test_memory_that_grows_is_a_finding_of_its_case_alone():
    with child.Child(0, 20, most_memory=300 * 2**20, serve=partial(_serve, _take_memory)) as runner:
        found = [runner.run(case).findings for case in (10, 400, 10)]
    assert found[0] == found[2] == ()
    assert found[1][0].startswith("memory grew by ")


@pytest.mark.slow
def test_the_command_says_what_it_found_and_how_to_see_it_again(tmp_path, capsys, monkeypatch):
    assert fuzz.main(["--cases", "6", "--only", "lists"]) == 0
    assert "6 cases of seed 0: no findings" in capsys.readouterr().out
    found = judging.Outcome("lists", 4, ("KeyError: 'x'",), details="Traceback\n")
    monkeypatch.setattr(child.Child, "run", lambda self, case: replace(found, case=case))
    assert fuzz.main(["--seed", "7", "--case", "10", "--keep", str(tmp_path / "kept")]) == 1
    assert "lists, --seed 7 --case 10: KeyError: 'x'" in capsys.readouterr().out
    assert len(list((tmp_path / "kept").iterdir())) == 1
