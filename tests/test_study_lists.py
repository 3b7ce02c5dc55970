"""Lists of clips: the same clips and classes, whatever the data set's custom."""

import os
from pathlib import Path

import pytest

from lrp3d.commands.labels import read_labels
from lrp3d.study import Row, class_list, make_list, read_list


KINETICS = "label,youtube_id,time_start,time_end,split"
LABELS = ("abseiling", "Holding something next to something", "tai chi")


def read(folder: Path, name: str, text: str, **more):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return [(item.name, item.label) for item in read_list(file, **more).items]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("val.csv", "a b/c d.mp4 2\ne.mp4 0\n", [("a b/c d.mp4", 2), ("e.mp4", 0)]),
        ("val.csv", "a, b.mp4 2\n", [("a, b.mp4", 2)]),
        ("val.csv", "a b.mp4,2\ne.mp4,0\n", [("a b.mp4", 2), ("e.mp4", 0)]),
        ("val.csv", '"a, b.mp4", 2\n', [("a, b.mp4", 2)]),
        ("val.txt", "take 12 3.mp4\t1", [("take 12 3.mp4", 1)]),
        ("val.csv", "three.mp4|0\none.mp4|1\n", [("one.mp4", 1), ("three.mp4", 0)]),
        ("val.csv", "path|label\na, b.mp4|tai chi\n", [("a, b.mp4", 2)]),
        ("val.txt", "a|b.mp4 0\nc.mp4 1\n", [("a|b.mp4", 0), ("c.mp4", 1)]),
        ("val.txt", "a.mp4 tai chi", [("a.mp4", 2)]),
        ("val.txt", "x/take 7 120 1\nx/take two 80 2\n", [("x/take 7", 1), ("x/take two", 2)]),
        ("val.txt", "x/a 1 120 1\nx/b 1 80 2\n", [("x/a", 1), ("x/b", 2)]),
        ("val.txt", "x/a;1;120;1", [("x/a", 1)]),
        ("val.csv", "100218;Holding something next to something", [("100218", 1)]),
        ("val.csv", "tai+chi/y.mp4,tai+chi,3,0", [("tai+chi/y.mp4", 2)]),
        ("test.txt", "a.mp4\nb.mp4", [("a.mp4", None), ("b.mp4", None)]),
        ("val.csv", f'\ufeff{KINETICS}\n"tai chi",-x,7,17,val', [("tai chi/-x_000007_000017", 2)]),
        (
            "val.json",
            '[{"id": "7", "label": "holding a cup", "template": "Holding [something] next to [something]"}]',
            [("7", 1)],
        ),
    ],
)
def test_every_convention_is_read(tmp_path, name, text, expected):
    assert read(tmp_path, name, text, labels=LABELS) == expected


def test_a_folder_of_classes_is_a_list(tmp_path):
    for name in ("yoga/b.mp4", "yoga/frames/img_00001.jpg", "archery/a.webm", "archery/notes.txt", ".git/x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = read_list(tmp_path)
    assert clips.labels == ("archery", "yoga")
    found = [(item.name, item.label) for item in clips.items]
    assert found == [("archery/a.webm", 0), ("yoga/b.mp4", 1), ("yoga/frames", 1)]


def test_neither_order_nor_repetition_changes_a_list():
    rows = [Row(f"{name}.mp4", label) for name, label in (("a", 1), ("b", 0), ("c", 2))]
    first, second = make_list(rows), make_list([*reversed(rows), rows[1]])
    assert first == second
    assert first.digest == second.digest != make_list(rows[:2]).digest
    assert [item.number for item in first.items] == [0, 1, 2]


def test_a_clip_with_two_labels_in_two_lines_is_two_clips():
    clips = make_list([Row("a.mp4", 1), Row("a.mp4", 0)])
    assert [item.label for item in clips.items] == [0, 1]
    assert clips.notes == ("1 clip has several classes and is explained for each (a.mp4)",)


def test_a_limit_spreads_over_the_list():
    rows = [Row(f"{i:02d}.mp4", 0) for i in range(10)]
    assert [item.name for item in make_list(rows, limit=4).items] == ["00.mp4", "02.mp4", "05.mp4", "07.mp4"]


def test_a_subset_of_classes_keeps_its_clips_only():
    rows = [Row("a.mp4", "yoga"), Row("b.mp4", "archery"), Row("c.mp4", "arm_wrestling")]
    clips = make_list(rows, labels=("archery", "arm wrestling", "yoga"), classes=["Yoga''.", "arm wrestling"])
    assert [(item.name, item.label) for item in clips.items] == [("a.mp4", 2), ("c.mp4", 1)]


def test_the_numbers_of_a_full_data_set_become_those_of_a_mini_model():
    rows = [Row("a.mp4", 2), Row("b.mp4", 0)]
    full, mini = ("abseiling", "archery", "yoga"), ("archery", "yoga")
    clips = make_list(rows, labels=mini, list_labels=full, classes=mini)
    assert [(item.name, item.label) for item in clips.items] == [("a.mp4", 1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("a.mp4 1 4\nb.mp4 2", "several labels"),
        ("a.mp4 5", "class 5, and there are 3 labels"),
        ("a.mp4 juggling", "'juggling', which is none of the 3 labels"),
        ("x/a 30 120 1\nx/b 1 80 2\n", "start at frame 30"),
        ("x/a 2 120 1\nx/b 1 80 2\n", "start at frame 2"),
        ("a.mp4,1,x", "line 1: expected path,label"),
        ("label,youtube_id\nx,y", "line 1: its header names youtube_id and no time_start and no time_end"),
        ("youtube_id,time_start,label\nx,3,y", "line 1: its header names youtube_id and no time_end; a clip of"),
        ('[{"name": 1}]', 'list of objects with "id"'),
        ('[{"id": ', "no complete json"),
    ],
)
def test_a_line_that_breaks_the_form_is_named(tmp_path, text, problem):
    with pytest.raises(ValueError, match=problem) as error:
        read(tmp_path, "val.csv", text, labels=LABELS)
    assert "val.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no list"):
        read_list(tmp_path / "val.csv")


@pytest.mark.skipif(os.name == "nt", reason="such names exist elsewhere only")
def test_what_is_said_of_a_list_is_one_line_whatever_its_name(tmp_path):
    file = tmp_path / "a\nb"
    file.write_text("a.mp4,1\na.mp4,1")
    assert read_list(file).notes[0].startswith(r"a\nb: ")
    file.write_text("a\n\nb")
    assert read_labels(file).notes[0].startswith(r"a\nb has blank lines")
    file.write_text("")
    for read_file in (read_list, read_labels, class_list):
        with pytest.raises(ValueError, match=r"^a\\nb[^\n]*$"):
            read_file(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_list_comes_through_a_pipe_and_is_not_waited_for_where_nobody_writes(tmp_path):
    pipe = tmp_path / "list"
    os.mkfifo(pipe)
    for read_file in (read_list, read_labels, class_list):
        with pytest.raises(ValueError, match="a pipe that nobody writes to"):
            read_file(pipe)
    ends = os.pipe()  # as the shell's <(...) makes one
    with os.fdopen(ends[1], "w") as writer:
        writer.write("a\nb\n")
    assert read_labels(Path(f"/dev/fd/{ends[0]}")) == ("a", "b")
    os.close(ends[0])


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no such device here")
def test_a_list_without_end_is_refused_before_memory_is_gone():
    with pytest.raises(ValueError, match=r"zero has more than [\d,]+ bytes, and no list"):
        read_labels(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("path,label\na.mp4,1\nb.mp4,0", [("a.mp4", 1), ("b.mp4", 0)], "line 1 names the columns"),
        ("label,path\r\n1,a.mp4\r\n0,b.mp4\r\n", [("a.mp4", 1), ("b.mp4", 0)], "line 1 names the columns"),
        ("video_id,class\nx,archery\ny,yoga", [("x", 0), ("y", 1)], "line 1 names the columns"),
        ("id,path,label,split\n7,a.mp4,2,val\n8,b.mp4,0,val", [("a.mp4", 2), ("b.mp4", 0)], "not read: id, split"),
        ('"path";"label"\n"a;b.mp4";"0"', [("a;b.mp4", 0)], "line 1 names the columns"),
        ("filename\tlabel\na b.mp4\t0\n", [("a b.mp4", 0)], "line 1 names the columns"),
        ("path label\nmy a.mp4 1\nb.mp4 0", [("b.mp4", 0), ("my a.mp4", 1)], "line 1 names the columns"),
        ("Datei,Klasse\na.mp4,1\nb.mp4,0", [("a.mp4", 1), ("b.mp4", 0)], "taken for a header and skipped"),
        ("# mine\na.mp4 1\n\nb.mp4 0", [("a.mp4", 1), ("b.mp4", 0)], "lines that begin with # are skipped"),
        ("sep=;\npath;label\na.mp4;0", [("a.mp4", 0)], "line 2 names the columns"),
        ("a.mp4,yoga,3,0\nb.mp4,run,1,2", [("a.mp4", 1), ("b.mp4", 0)], "behind the class is not read"),
        ("a.mp4,1\na.mp4,1\nb.mp4,0", [("a.mp4", 1), ("b.mp4", 0)], "1 line repeats another"),
        ("a.mp4 0\nb.mp4", [("a.mp4", 0), ("b.mp4", None)], "1 of 2 clips has no class"),
        ("a.mp4 1\nb.mp4 3", [("a.mp4", 1), ("b.mp4", 3)], "no clip has class 0"),
        ("a.mp4,\nb.mp4,yoga", [("a.mp4", None), ("b.mp4", 0)], "1 of 2 clips has no class"),
        ("./a.mp4,1\na.mp4,1\nx//b.mp4,0\nx/b.mp4,0", [("a.mp4", 1), ("x/b.mp4", 0)], "2 lines repeat others"),
        ("yoga,-3B32lodo2M,59,69,val", [("yoga/-3B32lodo2M_000059_000069", 0)], "taken for Kinetics'"),
    ],
)
def test_what_is_no_clip_of_a_list_is_skipped_and_said(tmp_path, text, expected, said):
    (tmp_path / "val.csv").write_bytes(text.encode())
    clips = read_list(tmp_path / "val.csv")
    assert [(item.name, item.label) for item in clips.items] == expected
    assert any(said in note for note in clips.notes), clips.notes


def test_spreadsheets_write_numbers_empty_columns_and_utf_16(tmp_path):
    (tmp_path / "val.csv").write_bytes("path,label\na.mp4,3.0,\nb.mp4,0.0,".encode("utf-16"))
    assert [item.label for item in read_list(tmp_path / "val.csv").items] == [3, 0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("path,label", "a header and no clip"),
        ("split,label\nval,1", "no column of paths"),
        ("a.mp4,1\nb.mp4,archery", "give the classes' names, or one kind"),
        ("a.mp4 1\nb.mp4,2", "line 2: no class stands at the end"),
        ("x/a 1\nx/b", "line 2: no class stands at the end"),
        ("a.mp4,3.5", "class 3.5: numbers of classes are whole"),
        ("x/a 120 -1\nx/b 100 2", "class -1: numbers of classes go from 0"),
        ("a.mp4,1000000000000", "no number of a class"),
        ("a.mp4," + "9" * 5000, "no number of a class"),
        ("https://x/y.mp4,1", "is an address"),
        (",3", "a clip without a name"),
        ("a.mp4;1;2", "several labels"),
        (KINETICS + "\nyoga,abc,inf,3,val", "line 2: expected label,youtube_id"),
        ("a.mp4,nan\nb.mp4,yoga", "class nan: numbers of classes are whole; leave it out"),
        ("a.mp4,1e0\nb.mp4,0", "class 1e0: numbers of classes are whole"),
        ("a.mp4 3 train\nb.mp4 4 val", "line 1: train stands behind class 3: name the columns in a header"),
        ("yoga,a.mp4\nrun,b.mp4", "videos in its second column"),
        ("0,a.mp4\n1,b.mp4", "videos in its second column"),
        ("0|a.mp4\n1|b.mp4", "videos in its second column"),
        ('{"a.mp4": 0, "b.mp4": 1}', "is json, but no list of objects"),
        ('{"path": "a.mp4", "label": 0}\n{"path": "b.mp4", "label": 1}', "no complete json"),
        ("[" * 100_000, "nests too deeply"),
        ("a.mp4," + "x" * 140_000, "a line of 140,006 letters, and no field has so many"),
        ("clip;klasse\narch/a1;0\nyoga/y1;1", "if 'clip' and 'klasse' name columns, call them 'path' and 'label'"),
        ("a.mp4,1\nb\x85\u202e.mp4,yoga", r"^val\.csv: b\\x85\\u202e\.mp4 has a class by name, [^\n]*$"),
        ('[{"id": null}]', "object 1: an id is text or a number"),
        (
            '[{"id": 7, "label": 1' + "0" * 400 + "}]",
            r"7 has class of more than 18 digits, which is no number of a class",
        ),
        (
            '[{"id": 7, "label": -1' + "0" * 400 + "}]",
            r"7 has class of more than 18 digits, which is no number of a class",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_or_in_none_is_refused(tmp_path, text, problem):
    with pytest.raises(ValueError, match=problem):
        read(tmp_path, "val.csv", text)


UCF = "ApplyEyeMakeup/v_a.avi 1\nArchery/v_b.avi 3\n"


@pytest.mark.parametrize(
    ("text", "more", "expected"),
    [
        (UCF, {"labels": ("ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling")}, [0, 2]),
        (UCF, {"num_classes": 3}, [0, 2]),
        (UCF, {"num_classes": 4}, [1, 3]),
        (UCF + "ApplyLipstick/v_c.avi 2", {}, [0, 1, 2]),
    ],
)
def test_lists_that_count_classes_from_one_are_counted_from_zero(tmp_path, text, more, expected):
    (tmp_path / "trainlist01.txt").write_text(text)
    clips = read_list(tmp_path / "trainlist01.txt", **more)
    assert [item.label for item in clips.items] == expected
    assert len(clips.notes) == 1


@pytest.mark.parametrize("form", ["lines", "json", "folder"])
def test_names_that_only_the_alphabet_numbers_are_said(tmp_path, form):
    place = tmp_path / {"lines": "val.csv", "json": "val.json", "folder": "val"}[form]
    if form == "folder":
        for name in ("zebra/a.mp4", "ape/b.mp4"):
            (place / name).parent.mkdir(parents=True)
            (place / name).touch()
    elif form == "json":
        place.write_text('[{"id": "a", "template": "zebra"}, {"id": "b", "template": "ape"}]')
    else:
        place.write_text("a.mp4,zebra\nb.mp4,ape\n")
    clips = read_list(place, num_classes=2)
    assert clips.alphabetical
    assert clips.notes[-1].endswith("numbered in alphabetical order, as no labels were given: 0 ape, 1 zebra")
    assert not read_list(place, num_classes=2, labels=("zebra", "ape")).alphabetical
    (said,) = read_list(place, num_classes=400).notes[-1:]
    assert said.endswith("0 ape, 1 zebra; the model has 400 classes and the list 2, so that its own numbers are others")


@pytest.mark.parametrize("template", ["null", '""'])
def test_a_label_is_the_class_where_the_template_is_empty(tmp_path, template):
    text = f'[{{"id": "a", "template": {template}, "label": "tai chi"}}, {{"id": "b", "template": {template}}}]'
    assert read(tmp_path, "val.json", text, labels=LABELS) == [("a", 2), ("b", None)]


def test_folders_that_contradict_the_labels_are_said():
    rows = [Row("abseiling/a.mp4", 2), Row("tai chi/b.mp4", 0)]
    assert "are the labels those of the list?" in make_list(rows, labels=LABELS).notes[0]


def test_classes_to_keep_that_no_clip_has_are_said():
    clips = make_list([Row("a.mp4", "yoga")], classes=["yoga", "yogaa"])
    assert clips.notes[0] == "1 of 2 classes to keep have no clip in the list (yogaa)"


def test_notes_on_the_folder_in_which_one_is_have_its_name(tmp_path, monkeypatch):
    (tmp_path / "videos/yoga").mkdir(parents=True)
    (tmp_path / "videos/yoga/a.mp4").touch()
    monkeypatch.chdir(tmp_path / "videos")
    assert read_list(".").notes[0].startswith("videos: class names are numbered")


def test_folders_that_are_numbers_count_as_numbers(tmp_path):
    for name in ("2/a.mp4", "10/b.mp4", "0/c.mp4", "2/._a.mp4", "__MACOSX/x/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = read_list(tmp_path)
    assert [(item.name, item.label) for item in clips.items] == [("0/c.mp4", 0), ("10/b.mp4", 10), ("2/a.mp4", 2)]
    assert any("taken for numbers of classes" in note for note in clips.notes)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("l.txt", "# nothing\n", "l.txt has comments only"),
        ("l.csv", "video,class\n", "l.csv has a header and no clip"),
        ("l.csv", "1,x/1.mp4\n2,x/2.mp4\n", "l.csv has videos in its second column"),
        ("l.json", '{"x.mp4": 1}', "l.json is json, but no list of objects"),
        ("l.json", '[{"id": 1', "l.json is no complete json"),
        ("l.txt", "x.mp4 1.5\n", "l.txt, line 1: class 1.5"),
    ],
)
def test_what_is_wrong_with_a_list_is_a_whole_sentence(tmp_path, name, text, said):
    with pytest.raises(ValueError, match=f"^{said}"):
        read(tmp_path, name, text, labels=LABELS)


def test_numbers_among_names_of_classes_are_places_among_the_labels_and_that_is_said(tmp_path):
    (tmp_path / "l.txt").write_text("a.mp4 abseiling\nb.mp4 1\n")
    clips = read_list(tmp_path / "l.txt", labels=LABELS)
    assert [item.label for item in clips.items] == [0, 1]
    assert clips.notes == (
        "l.txt: of the classes by number none is 0: the list's classes are taken to count from 0",
        "l.txt: 1 clip has a class by number (b.mp4) and 1 by name (a.mp4): a number is taken for a place among the "
        "labels, counted from 0, and not for a name",
    )


def test_a_number_that_is_the_name_of_another_class_is_refused():
    sorted_as_text = ("0", "1", "10", "2")
    for more in ([], [Row("b", "10")]):
        with pytest.raises(
            ValueError, match="a has class 2: a number counts the labels from 0, and label 3 has it for"
        ):
            make_list([Row("a", 2), *more], labels=sorted_as_text)
    with pytest.raises(ValueError, match="class 10: a number counts the labels from 0, and label 2 has it for a name"):
        make_list([Row("a", 10), Row("b", 1)], labels=sorted_as_text)


def test_numbers_that_are_names_are_read_where_both_mean_one_class_or_the_lists_labels_say_it():
    numbered = tuple(map(str, range(11)))
    assert [item.label for item in make_list([Row("a", 2)], labels=numbered).items] == [2]
    assert [item.label for item in make_list([Row("a", 1), Row("b", 2)], labels=("1", "2")).items] == [0, 1]
    of_text = make_list([Row("a", 2)], labels=("0", "1", "10", "2"), list_labels=numbered)
    assert [item.label for item in of_text.items] == [3]
    some_named = ("x", "y", "0")
    assert [item.label for item in make_list([Row("a", 0), Row("b", 1)], labels=some_named).items] == [0, 1]
