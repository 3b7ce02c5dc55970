"""Lists: the same clips and classes, whatever the data set's custom."""

import json
import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from studies import encode

from lrp3d.commands import UsageError
from lrp3d.commands.labels import find_class, read_labels
from lrp3d.study import Item, Reader, Row, class_list, human_classes, make_list, read_list
from lrp3d.study.listing.classes import bare
from lrp3d.study.running.reader import normalised
from lrp3d.video import IMAGENET_MEAN, IMAGENET_STD, ClipWarning, VideoError, draw_clip, read_clip

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
    assert [item.label for item in make_list([Row("a.mp4", 1), Row("a.mp4", 0)]).items] == [0, 1]


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


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        (Item(0, "a b.mp4"), "a b.mp4"),
        (Item(0, "7"), "7.webm"),
        (Item(0, "a.mp4"), "a.mkv"),
        (Item(0, "x", places=("tai chi/x", "tai_chi/x")), "tai_chi/x.mp4"),
        (Item(0, "frames.mp4"), "frames"),
        (Item(0, "v1.2_x"), "v1.2_x.mp4"),
    ],
)
def test_a_clip_is_found_under_the_names_that_it_may_have(tmp_path, listed, there):
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).touch()
    assert Reader(tmp_path).locate(listed) == tmp_path / there


def test_a_clip_that_is_nowhere_is_an_error_of_the_video(tmp_path):
    with pytest.raises(VideoError, match=r"no file or folder a\.mp4"):
        Reader(tmp_path)(Item(0, "a.mp4"))


def test_frames_are_read_and_the_flow_beside_them_is_not(tmp_path):
    folder = tmp_path / "x"
    folder.mkdir()
    for number, image in enumerate(draw_clip(6, 40).numpy(), 1):
        Image.fromarray(image).save(folder / f"img_{number:05d}.jpg", quality=95)
        Image.fromarray(image * 0).save(folder / f"flow_x_{number:05d}.jpg")
    read = Reader(tmp_path, frames=6, size=40, short_side=40)(Item(0, "x"))
    assert read.indices.tolist() == list(range(6))
    assert abs(read.frames.astype(float) - draw_clip(6, 40).numpy()).mean() < 20


def test_what_is_read_is_what_read_clip_gives(tmp_path):
    encode(tmp_path / "a.mp4")
    read = Reader(tmp_path, frames=4, size=32, short_side=36)(Item(0, "a.mp4"))
    clip = read_clip(tmp_path / "a.mp4", 4, size=32, short_side=36)
    made = normalised(torch.from_numpy(read.frames).unsqueeze(0), IMAGENET_MEAN, IMAGENET_STD)
    assert torch.equal(made, clip.tensor)


def test_lists_of_classes_come_in_many_files(tmp_path):
    stored = {
        "names.txt": "\narchery\nyoga''.\n",
        "names.json": '["archery", "yoga"]',
        "ids.json": '{"archery": 0, "yoga": 1}',
        "pairs.json": '{"mini": [[4, "archery"], [9, "yoga"]], "other": ["tai chi"], "note": "x"}',
        "objects.json": '[{"name": "archery"}, {"name": "yoga", "index": 3}]',
    }
    for name, text in stored.items():
        (tmp_path / name).write_text(text)
        key = ":mini" if name == "pairs.json" else ""
        assert [bare(found) for found in class_list(f"{tmp_path / name}{key}")] == ["archery", "yoga"]
    with pytest.raises(ValueError, match=r"2 lists: say which, pairs\.json:mini, pairs\.json:other"):
        class_list(tmp_path / "pairs.json")


def test_a_class_to_keep_has_a_name(tmp_path):
    (tmp_path / "keep.json").write_text('["archery", " "]')
    with pytest.raises(ValueError, match=r"keep\.json holds a class without a name"):
        class_list(tmp_path / "keep.json")


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


@pytest.mark.parametrize(("wanted", "found"), [("-2", -2), ("9" * 5000, 10**18), ("٣", 3)])
def test_a_class_by_number_is_a_number_of_any_length(wanted, found):
    assert find_class(wanted, ["archery"]) == found


def test_a_class_that_is_no_number_is_searched_for_by_name():
    assert find_class("--5", ["archery", "--5"]) == 1
    with pytest.raises(UsageError, match="no class is named '--5'"):
        find_class("--5", ["archery"])


def test_peoples_classes_are_those_of_the_data_set(tmp_path):
    file = tmp_path / "people.json"
    first = {"k_temporal": [{"name": "juggling"}], "k_static": ["yoga"]}
    second = {"s_temporal": ["Folding"], "s_static": ["Holding", {"name": None, "index": 63}]}
    file.write_text(json.dumps({**first, **second, "provenance": ["by hand"]}))
    assert human_classes(file, ["holding", "folding", "x"]) == (("Folding",), ("Holding",))
    with pytest.raises(ValueError, match="none of the classes"):
        human_classes(file, ["swimming"])


def test_labels_of_moments_in_time_have_their_numbers_beside_them(tmp_path):
    file = tmp_path / "moments_categories.txt"
    file.write_text("juggling,1\nadult+female+singing,0\n")
    assert read_labels(file) == ("adult+female+singing", "juggling")
    file.write_text("Lifting something, then letting it drop down\nTurning, 2\n")
    assert read_labels(file)[1] == "Turning, 2"


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
        ("Datei,Klasse\na.mp4,yoga\nb.mp4,run", [("a.mp4", 1), ("b.mp4", 0)], "taken for a header and skipped"),
        ("# mine\na.mp4 1\n\nb.mp4 0", [("a.mp4", 1), ("b.mp4", 0)], "lines that begin with # are skipped"),
        ("sep=;\npath;label\na.mp4;0", [("a.mp4", 0)], "line 2 names the columns"),
        ("a.mp4,yoga,3,0\nb.mp4,run,1,2", [("a.mp4", 1), ("b.mp4", 0)], "behind the class is not read"),
        ("a.mp4,1\na.mp4,1\nb.mp4,0", [("a.mp4", 1), ("b.mp4", 0)], "1 lines repeat others"),
        ("a.mp4 0\nb.mp4", [("a.mp4", 0), ("b.mp4", None)], "1 of 2 clips have no class"),
        ("a.mp4 1\nb.mp4 3", [("a.mp4", 1), ("b.mp4", 3)], "no clip has class 0"),
        ("a.mp4,\nb.mp4,yoga", [("a.mp4", None), ("b.mp4", 0)], "1 of 2 clips have no class"),
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
        ('{"a.mp4": 0, "b.mp4": 1}', "is json, but no list of objects"),
        ('{"path": "a.mp4", "label": 0}\n{"path": "b.mp4", "label": 1}', "no complete json"),
        ("[" * 100_000, "nests too deeply"),
        ("a.mp4," + "x" * 140_000, "a line of 140,006 letters, and no field has so many"),
        ("a.mp4,1\nb\x85\u202e.mp4,yoga", r"^val\.csv: b\\x85\\u202e\.mp4 has a class by name, [^\n]*$"),
        ('[{"id": null}]', "object 1: an id is text or a number"),
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


def test_folders_that_contradict_the_labels_are_said():
    rows = [Row("abseiling/a.mp4", 2), Row("tai chi/b.mp4", 0)]
    assert "are the labels those of the list?" in make_list(rows, labels=LABELS).notes[0]


def test_classes_to_keep_that_no_clip_has_are_said():
    clips = make_list([Row("a.mp4", "yoga")], classes=["yoga", "yogaa"])
    assert clips.notes == ("1 of 2 classes to keep have no clip in the list (yogaa)",)


def test_folders_that_are_numbers_count_as_numbers(tmp_path):
    for name in ("2/a.mp4", "10/b.mp4", "0/c.mp4", "2/._a.mp4", "__MACOSX/x/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = read_list(tmp_path)
    assert [(item.name, item.label) for item in clips.items] == [("0/c.mp4", 0), ("10/b.mp4", 10), ("2/a.mp4", 2)]
    assert any("taken for numbers of classes" in note for note in clips.notes)


# Labels


@pytest.mark.parametrize(
    ("name", "text", "expected", "said"),
    [
        ("l.csv", "id,name\n0,abseiling\n1,x, y\n", ("abseiling", "x, y"), "names its columns in line 1"),
        ("l.csv", "\ufeffid;name\r\n1;b\r\n0;a\r\n", ("a", "b"), "names its columns"),
        ("l.csv", "name,id\nb,1\na,0", ("a", "b"), "names its columns"),
        ("l.csv", "0,a\n1,b", ("a", "b"), None),
        ("l.csv", "id,key,instances\n0,take,\"['a', 'b']\"\n1,put,c", ("take", "put"), "names its columns"),
        ("l.csv", "name\na\nb", ("a", "b"), "names its columns"),
        ("l.csv", "Nummer,Klasse\n0,a\n1,b", ("a", "b"), "has a header, which is skipped"),
        ("l.csv", "id,name\n0,a\n3,b", ("a", "1", "2", "b"), "names no class 1, 2"),
        ("l.csv", "id,name\n1,0\n0,1", ("1", "0"), "names its columns"),
        ("classInd.txt", "1 ApplyEyeMakeup\n2 Archery\n", ("ApplyEyeMakeup", "Archery"), "counts classes from 1"),
        ("l.json", '{"a": 1, "b": 2}', ("a", "b"), "counts classes from 1"),
        ("l.json", '{"0": "a", "1": "b"}', ("a", "b"), None),
        ("l.json", '{"b": "1", "a": "0"}', ("a", "b"), None),
        ("l.txt", "a\n\nb\n", ("a", "b"), "has blank lines"),
        ("l.txt", "# mine\na\n#b", ("a", "#b"), "has comments"),
        ("l.txt", "crane\ncrane", ("crane", "crane"), "several classes one name"),
        ("l.txt", "take 1\ntake 2", ("take 1", "take 2"), None),
        ("l.yaml", "names:\n  1: b\n  0: a\n", ("a", "b"), "names its columns"),
        ("l.txt", "1|b\n0|a", ("a", "b"), "is read as ids and names ('1|b' is class 1, 'b')"),
        ("l.txt", "b=1\na=0", ("a", "b"), "is read as ids and names"),
        ("l.txt", "1) a\n2) b", ("a", "b"), "counts classes from 1"),
        ("l.txt", "2\na\nb", ("a", "b"), "says in line 1 how many classes follow"),
        ("l.txt", "// mine\na\nb", ("a", "b"), "has comments"),
    ],
)
def test_labels_are_named_as_their_file_means_them(tmp_path, name, text, expected, said):
    (tmp_path / name).write_bytes(text.encode())
    labels = read_labels(tmp_path / name)
    assert labels == expected
    assert any(said in note for note in labels.notes) if said else labels.notes == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0,a\n0,b", "one id to several names"),
        ('{"a": 0, "a": 1}', "gives 'a' twice"),
        ("0,a\n1000000000000,b", "no numbers of classes"),
        ('{"a": ' + "9" * 5000 + "}", "thousands of digits"),
        ("1,a\n2,b\n4,c", "not plain whether it counts from 0 or 1"),
        ("0,1\n1,0", "numbers on both sides"),
        ('{"0": "1", "1": "2"}', "which are the ids"),
        ("0,a\n1,b\nc\n3,d", "line 3: no id and name"),
        ("0,\n1,b", "gives class 0 no name"),
        ("id,name\n", "names no class"),
        ("id,key,instances\n", "names no class"),
        ("0," + "x" * 140_000, "a line of 140,002 letters, and no field has so many"),
        ("0,a\n0,b\x1b[1m", r"one id to several names: 0 to 'a' and 'b\\x1b\[1m'$"),
        ("a\0b", "zero bytes"),
        ("-1,none\n0,a\n1,b", "line 1: no id and name"),
        ("0.5,a\n1.5,b", "a number on every line"),
        ("0 a\n1 b\n1 c", "a number on every line"),
        ("0 a\n1 b\n3 c\n10 d", "a number on every line"),
        ("400\na\nb", "line 1: 400 is a number, and the other lines are names"),
    ],
)
def test_labels_that_are_not_plain_are_refused(tmp_path, text, problem):
    (tmp_path / "labels").write_text(text)
    with pytest.raises(ValueError, match=problem) as error:
        read_labels(tmp_path / "labels")
    assert str(error.value).startswith("labels")


# Folders of frames


def frames_in(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        Image.new("RGB", (32, 32)).save(folder / name)
    return folder


def test_of_several_series_the_frames_are_read_and_the_others_said(tmp_path):
    names = [f"{kind}_{number}.jpg" for kind in ("img", "flow_x", "flow_y") for number in (1, 2)]
    folder = frames_in(tmp_path / "x", *names, "cover.jpg")
    (folder / "._img_1.jpg").write_bytes(b"macOS")
    with pytest.warns(UserWarning, match="5 other images of x are not read"):
        assert read_clip(folder, 2, size=32, short_side=32).num_video_frames == 2


def test_a_study_reads_the_usual_series_as_explain_does_and_that_is_no_damage(tmp_path):
    names = [f"{kind}_{number:05}.png" for kind in ("img", "left", "flow_x") for number in (1, 2)]
    folder = frames_in(tmp_path / "x", *names)
    with pytest.warns(ClipWarning, match="4 other images of x are not read, such as flow_x_00001"):
        clip = read_clip(folder, 2, size=32, short_side=32)
    pixels = Reader(tmp_path, frames=2, size=32, short_side=32)(Item(0, "x"))
    assert (pixels.lost, pixels.notes) == ((), clip.notes)


def test_series_that_cannot_be_told_apart_ask_for_a_template(tmp_path):
    folder = frames_in(tmp_path / "x", "left_1.jpg", "right_1.jpg")
    with pytest.raises(VideoError, match=r"several series.*give a template"):
        read_clip(folder, 1)
    with pytest.raises(VideoError, match="several images with the number 1"):
        read_clip(frames_in(tmp_path / "y", "img_1.jpg", "img_001.jpg"), 1)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("f_1.png", "f_2.png", "f_4.png"), "has no frame 3:"),
        (("f_0.png", "f_5.png", "f_10.png"), "in steps of 5"),
        (("f_1700000000000.png", "f_1900000000000.png"), "has no frame 1700000000001"),
        (("a.png", "b.png"), "have no numbers"),
    ],
)
def test_gaps_in_the_numbers_of_frames_are_said_without_a_template(tmp_path, names, said):
    clip = read_clip(frames_in(tmp_path / "x", *names), len(names), size=32, short_side=32)
    assert [said in sentence for sentence in clip.lost + clip.notes] == [True]


def test_the_lists_in_the_package_are_those_of_their_data_sets():
    labels = {name: read_labels(Path(name)) for name in ("kinetics-400", "ssv2")}
    assert {name: len(names) for name, names in labels.items()} == {"kinetics-400": 400, "ssv2": 174}
    assert "mmaction2" in labels["ssv2"].notes[0]
    for mini, whole, count in (("mini-kinetics", "kinetics-400", 200), ("mini-ssv2", "ssv2", 87)):
        names = class_list(mini)
        assert len(set(names)) == count
        assert {bare(name) for name in names} <= {bare(name) for name in labels[whole]}
    for name, counts in (("kinetics-400", (32, 32)), ("ssv2", (18, 17))):
        temporal, static = human_classes("only-time-can-tell", labels[name])
        assert (len(temporal), len(static)) == counts
        known = {bare(label) for label in labels[name]}
        assert all(bare(one) in known for one in (*temporal, *static))


def test_a_file_goes_before_a_list_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mini-ssv2").write_text("one\ntwo")
    assert class_list("mini-ssv2") == ("one", "two")


@pytest.mark.parametrize("entry", ['""', '"\\u0085"', "3", "[1, 2, 3]"])
def test_lists_of_people_with_an_entry_that_names_no_class_are_refused(tmp_path, entry):
    file = tmp_path / "people.json"
    file.write_text(f'{{"sport_temporal": ["juggling", {entry}], "sport_static": ["archery"]}}')
    with pytest.raises(ValueError, match=r"people.json: .*sport_temporal (is no list of names|names no class)"):
        human_classes(file, ["archery", "juggling"])
