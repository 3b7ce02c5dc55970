"""The folder of a study: damage in it is named, and nothing is lost without a word."""

import errno
import importlib
import json
import linecache
import os
import shutil
import sys

import pytest
from lrp3d.study.running import config
from studies import Given, Hungry, drawn, make_study
from torch import nn

import lrp3d
from lrp3d import study


@pytest.mark.parametrize("what", ["", "records", "study.json"])
def test_a_folder_that_is_removed_under_a_run_ends_in_an_error(tmp_path, what):
    made = make_study(tmp_path / "out", 4)

    class Removing(Given):
        def __call__(self, item):
            if item.number == 2:
                path = tmp_path / "out" / what
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return super().__call__(item)

    with pytest.raises((OSError, study.StudyError)):
        study.run(made, study.Explainer(Hungry().eval()), Removing(drawn(4)))
    assert not (tmp_path / "out" / "records" / "000").exists() or what == "study.json"


def test_a_folder_that_takes_no_files_is_refused_before_a_clip_is_read(tmp_path):
    made = make_study(tmp_path, 1)
    (tmp_path / "records").rmdir()
    (tmp_path / "records").write_bytes(b"")

    def read(item):
        raise AssertionError("read in vain")

    with pytest.raises(OSError, match="records"):
        study.run(made, study.Explainer(Hungry().eval()), read)


def test_a_list_of_more_classes_than_the_model_has_is_refused_before_anything_is_written(tmp_path):
    made = study.create(tmp_path, {}, study.make_list([study.Row("0.mp4", 999_999)]))
    with pytest.raises(ValueError, match="class 999999"):
        study.run(made, study.Explainer(Hungry().eval()), Given(drawn(1)))
    assert not made.done()


def test_what_is_wrong_with_a_record_is_told_without_the_advice_to_delete_it(tmp_path):
    """Also where the folder has a name like the advice: who makes the record anew needs no other."""
    made = make_study(tmp_path / "a; delete it", 2)
    path = made.record_path(1)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    with pytest.raises(study.StudyError, match=r"; delete it, and run the study again$") as refused:
        made.record(1)
    assert made.sound([0, 1]) == (set(), [refused.value.reason])
    assert str(refused.value) == f"{refused.value.reason}; delete it, and run the study again"
    assert str(path) in refused.value.reason


def test_damage_in_the_list_of_failures_is_named(tmp_path):
    made = make_study(tmp_path, 3)
    path = tmp_path / "errors.jsonl"
    path.write_bytes(b'{"number": 0, "err')
    made.fail(made.items[1], "bad")
    with pytest.warns(UserWarning, match=r"errors\.jsonl, line 1, is damaged"):
        assert made.failures() == {1: "bad"}
    path.write_bytes(b"\xff\n")
    with pytest.raises(study.StudyError, match=r"errors\.jsonl, line 1, holds bytes that are no UTF-8"):
        made.failures()


def test_a_folder_that_takes_no_records_is_named_before_a_clip_is_explained(tmp_path, monkeypatch):
    made = make_study(tmp_path, 1)

    def full(**_):
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(OSError, match="File too large") as error:
        made.check_writable()
    assert error.value.filename == str(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_in_the_place_of_a_file_is_damage_and_is_not_waited_for(tmp_path):
    made = make_study(tmp_path, 2)
    record = made.record_path(1)
    record.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(record)
    with pytest.raises(ValueError, match=r"is no record of a study \(.*is not a regular file"):
        study.Record.load(record)
    (tmp_path / "clips.json").unlink()
    os.mkfifo(tmp_path / "clips.json")
    with pytest.raises(study.StudyError, match=r"damaged study\.json or clips\.json"):
        study.load_study(tmp_path)


def test_another_list_in_the_folder_of_a_study_is_damage(tmp_path):
    make_study(tmp_path, 2)
    (tmp_path / "clips.json").write_text('[["0.mp4", 0], ["x.mp4", 0]]')
    with pytest.raises(study.StudyError, match=r"damaged study\.json or clips\.json"):
        study.load_study(tmp_path)


def test_a_network_with_other_settings_is_another_study_even_where_the_weights_fit(tmp_path):
    clips = study.make_list([study.Row("a.mp4", 0)])
    one, other = (nn.Conv3d(3, 4, 3, stride=stride) for stride in (1, 2))
    other.load_state_dict(one.state_dict())
    assert config.weights_digest(one) == config.weights_digest(other)
    study.create(tmp_path / "new", {"network": config.network_digest(one)}, clips)
    with pytest.raises(study.StudyError, match="its network is"):
        study.create(tmp_path / "new", {"network": config.network_digest(other)}, clips)
    study.create(tmp_path / "of before", {"frames": 8}, clips)
    study.create(tmp_path / "of before", {"frames": 8, "network": config.network_digest(one)}, clips)


def test_a_study_whose_classes_are_called_otherwise_is_another_one(tmp_path):
    named = study.make_list([study.Row("a.mp4", 0)], labels=["red", "blue"])
    study.create(tmp_path, {"frames": 8}, named)
    with pytest.raises(study.StudyError, match="its class 0 is called 'red', not 'blue'"):
        study.create(tmp_path, {"frames": 8}, study.make_list([study.Row("a.mp4", 0)], labels=["blue", "red"]))
    again = study.create(tmp_path, {"frames": 8}, study.make_list([study.Row("a.mp4", 0)]))
    assert again.labels == ("red", "blue")


def network_from(folder, monkeypatch, forward):
    """A network of a file whose forward is written so."""
    (folder / "own_network.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.conv = nn.Conv3d(3, 3, 1)\n\n    def forward(self, x):\n        return {forward}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_network", raising=False)
    importlib.invalidate_caches()
    linecache.clearcache()
    return importlib.import_module("own_network").Net()


def test_the_source_of_ones_own_network_is_part_of_a_configuration(tmp_path, monkeypatch):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = config.network_digest(network_from(tmp_path / "one", monkeypatch, "x + self.conv(x)"))
    other = config.network_digest(network_from(tmp_path / "two", monkeypatch, "x - 3 * self.conv(x)"))
    assert first != other
    assert first == config.network_digest(network_from(tmp_path / "one", monkeypatch, "x + self.conv(x)"))


def test_the_range_of_inputs_is_part_of_a_configuration():
    model = lrp3d.models.build("TSN-R18-f4", num_classes=3, width=4).eval()
    reader = study.Reader("", frames=4)
    ranges = [(0.0, 1.0), (-4.0, 5.0)]
    first, second = (study.configuration(study.Explainer(model, input_range=ends), reader) for ends in ranges)
    assert first != second
    assert json.loads(json.dumps(first)) == first
