"""Lists whose lines are words: which are a header, a clip's name or its class is known, or it is asked and said."""

from pathlib import Path

import pytest

from lrp3d.study import read_list

LABELS = ("archery", "arm wrestling", "tai chi", "wrestling", "yoga")


def read(folder: Path, text: str, **more):
    file = folder / "val.csv"
    file.write_text(text, encoding="utf-8")
    listed = read_list(file, **more)
    return [(item.name, item.label) for item in listed.items], [note.removeprefix("val.csv: ") for note in listed.notes]


def refused(folder: Path, text: str, **more):
    with pytest.raises(ValueError, match=r"^val\.csv[,: ][^\n]*$") as error:
        read(folder, text, **more)
    return str(error.value)


@pytest.mark.parametrize("labels", [(), LABELS])
@pytest.mark.parametrize(
    "text",
    [
        "a, b.mp4,yoga\nc.mp4,archery\n",
        "a, b.mp4,4\nc.mp4,0\n",
        "a, b.mp4,4\n",
        "c.mp4,archery\na, b.mp4,yoga\n",
        "video, label, b.mp4,yoga\nc.mp4,archery\n",
        "path,label,split\na, b.mp4,yoga\n",
        "a, b.mp4 yoga\n",
    ],
)
def test_a_path_with_a_comma_and_no_quotes_is_refused_wherever_it_stands(tmp_path, labels, text):
    said = refused(tmp_path, text, labels=labels)
    assert "quotes" in said
    if not text.startswith("path"):
        assert "b.mp4" in said


def test_a_name_with_a_comma_in_quotes_is_a_clip_on_the_first_line_as_on_any(tmp_path):
    for first in ('"a, b.mp4",yoga', '"my clip, one",yoga', '"path,label",yoga', '"video, id",yoga'):
        clips, notes = read(tmp_path, f"{first}\nc.mp4,archery\n", labels=LABELS)
        assert len(clips) == 2
        assert (first.split('"')[1], 4) in clips
        assert notes == []
        assert len(read(tmp_path, f"{first}\nc.mp4,archery\n")[0]) == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("my clip, one,yoga\nc.mp4,archery\n", 1),
        ("c.mp4,archery\nd.mp4,lifting up, then letting drop\n", 2),
    ],
)
def test_a_name_or_class_with_a_comma_and_no_quotes_is_not_cut_off(tmp_path, text, line):
    said = refused(tmp_path, text)
    assert f"line {line}: " in said
    assert "has 3 columns, and line" in said


def test_whether_the_first_line_is_a_header_or_a_clip_is_asked_where_nothing_tells(tmp_path):
    text = "Datei,Klasse\na.mp4,yoga\nb.mp4,archery\n"
    assert "line 1: 'Datei,Klasse' may be a header or a clip" in refused(tmp_path, text)
    clips, notes = read(tmp_path, text, labels=LABELS)
    assert clips == [("a.mp4", 4), ("b.mp4", 0)]
    assert notes == ["line 1 is taken for a header and skipped (Datei,Klasse)"]
    clips, notes = read(tmp_path, "clip1,\na.mp4,\nb.mp4,\n")
    assert (clips, notes) == ([("a.mp4", None), ("b.mp4", None), ("clip1", None)], [])


@pytest.mark.parametrize(("more", "count"), [({"labels": LABELS}, 2), ({}, 3)])
def test_a_first_line_of_a_class_that_the_list_knows_is_a_clip(tmp_path, more, count):
    text = "clip1,yoga\na.mp4,archery\n" + ("" if more else "b.mp4,yoga\n")
    clips, notes = read(tmp_path, text, **more)
    assert len(clips) == count
    assert not any("header" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "clips", "example"),
    [
        ("clip1 yoga\nclip2 archery\n", [("clip1", 4), ("clip2", 0)], "'clip1 yoga' is of class 'yoga'"),
        ("my clip Tai_chi\nx yoga\n", [("my clip", 2), ("x", 4)], "'my clip Tai_chi' is of class 'Tai_chi'"),
        ("f0 51 yoga\nf1 49 tai chi\n", [("f0", 4), ("f1", 2)], "'f0 51 yoga' is of class 'yoga'"),
        ("f0 1 51 yoga\nf1 1 49 yoga\n", [("f0", 4), ("f1", 4)], "'f0 1 51 yoga' is of class 'yoga'"),
        ("take 2 51 yoga\ntake two 49 yoga\n", [("take 2", 4), ("take two", 4)], "'take 2 51 yoga' is of"),
        ("take 2 yoga\nother yoga\n", [("other", 4), ("take 2", 4)], "'take 2 yoga' is of"),
        ("clip1 arm wrestling\nclip2 yoga\n", [("clip1", 1), ("clip2", 4)], "is of class 'arm wrestling'"),
        ("my a.mp4 yoga\nclip2 archery\n", [("clip2", 0), ("my a.mp4", 4)], "'clip2 archery' is of class"),
        ("path label\nclip1 tai chi\n", [("clip1", 2)], "'clip1 tai chi' is of class"),
    ],
)
def test_a_class_behind_a_name_without_a_suffix_is_found_among_the_labels(tmp_path, text, clips, example):
    found, notes = read(tmp_path, text, labels=LABELS)
    assert found == clips
    assert notes[-1].startswith("known names of classes tell where the names of clips end (")
    assert example in notes[-1]
    assert read(tmp_path, text, list_labels=LABELS, labels=(*LABELS, "zumba"))[0] == clips


def test_a_class_by_name_and_one_by_number_behind_names_without_a_suffix_are_said(tmp_path):
    clips, notes = read(tmp_path, "clip1 0\nclip2 yoga\n", labels=LABELS)
    assert clips == [("clip1", 0), ("clip2", 4)]
    assert any("1 clip has a class by number (clip1) and 1 by name (clip2)" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "labels", "problem"),
    [
        ("clip1 yoga\nclip2 juggling\n", LABELS, "line 2: no class stands at the end of 'clip2 juggling'"),
        ("my clip yoga\nclip2 arm wrestling\n", LABELS, "line 2: .* may be of class 'arm wrestling' or .* 'wrestling'"),
        ("x take 2\n", ("take 1", "take 2"), "line 1: 'x take 2' ends with the name of class 'take 2' and with a num"),
        ("path label\nmy clip yoga\n", (), "line 2: 3 words below a header of 2 columns, 'my clip yoga'"),
    ],
)
def test_where_a_name_ends_is_asked_if_two_places_are_possible(tmp_path, text, labels, problem):
    with pytest.raises(ValueError, match=problem):
        read(tmp_path, text, labels=labels)


def test_a_header_tells_a_class_from_a_name_of_one_word(tmp_path):
    clips, notes = read(tmp_path, "path label\nclip1 yoga\nclip2 run\nclip3\na b.mp4 run\n")
    assert clips == [("a b.mp4", 0), ("clip1", 1), ("clip2", 0), ("clip3", None)]
    assert notes[0] == "line 1 names the columns (path label)"


@pytest.mark.parametrize("labels", [(), LABELS])
@pytest.mark.parametrize(
    "text", ["yoga clip1\narchery clip2\n", "yoga a.mp4\ntai chi b.mp4\n", "f0 51 run\nf1 9 run\n"]
)
def test_lines_of_several_words_that_are_taken_for_names_are_said_with_what_to_do(tmp_path, text, labels):
    clips, notes = read(tmp_path, text, labels=labels)
    assert [clip for clip in clips if clip[1] is not None] == []
    assert {name for name, _ in clips} == set(text.splitlines())
    (note,) = notes
    assert note == (
        "no line has a class that is known: each is taken as a whole for the name of a clip "
        f"({text.splitlines()[0]!r}); if it holds a class, write name,class on each line, or give the names of the "
        "classes"
    )


def test_names_of_one_word_need_no_note(tmp_path):
    assert read(tmp_path, "clip1\nclip2\n", labels=LABELS) == ([("clip1", None), ("clip2", None)], [])


@pytest.mark.parametrize("line", ["archery", "tai chi"])
def test_the_name_of_a_class_alone_is_no_clip_of_that_class(tmp_path, line):
    said = refused(tmp_path, f"clip1 yoga\n{line}\n", labels=LABELS)
    assert f"line 2: no class stands at the end of {line!r}" in said
    clips, _ = read(tmp_path, f"{line}\n", labels=LABELS)
    assert clips == [(line, None)]


BOTH = "path,label,label_id\na.mp4,blue,0\nb.mp4,red,1\n"


def test_names_beside_numbers_are_held_against_the_labels(tmp_path):
    file = tmp_path / "val.csv"
    file.write_text(BOTH)
    for labels in ({"labels": ["red", "blue"]}, {"list_labels": ["red", "blue"], "labels": ["blue", "red"]}):
        with pytest.raises(ValueError, match="class 0 is called 'blue' beside its number, and that is label 1"):
            read_list(file, **labels)
    assert read_list(file, labels=["Blue", "red", "green"]).labels == ("Blue", "red", "green")
    with_others = read_list(file, labels=["blue", "rot"])
    assert "1 of 2 names beside the numbers are no labels (red)" in with_others.notes[1]


def test_names_beside_numbers_name_the_classes_if_nothing_else_does(tmp_path):
    file = tmp_path / "val.csv"
    file.write_text(BOTH)
    found = read_list(file)
    assert (found.labels, [item.label for item in found.items]) == (("blue", "red"), [0, 1])
    assert any("called as beside their numbers" in note for note in found.notes)
    file.write_text(BOTH.replace(",0", ",1").replace("red,1", "red,2"))
    assert [item.label for item in read_list(file).items] == [0, 1]
    assert [item.label for item in read_list(file, labels=["blue", "red"]).items] == [0, 1]
    file.write_text(BOTH.replace(",1", ",7"))
    assert "are not those of all classes" in " ".join(read_list(file).notes)


@pytest.mark.parametrize("text", [BOTH + "c.mp4,green,1\n", BOTH.replace("label,", "description,")])
def test_what_stands_beside_numbers_and_names_no_class_is_not_read(tmp_path, text):
    """Finer classes, or captions."""
    file = tmp_path / "val.csv"
    file.write_text(text)
    found = read_list(file, labels=["red", "blue"])
    assert [item.label for item in found.items][:2] == [0, 1]
    assert f"not read: {text.split(',')[1]}" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("folder,start_frame,end_frame,label\na,31,60,0\n", "line 2: a is to start at frame 31"),
        ("folder,start_frame,end_frame,label\na,1,30,0\na,31,60,1\n", "line 3: a is listed with the starts 1 and 31"),
        (
            "path,start,end,label\na.mp4,0.0,2.5,0\na.mp4,2.5,9,1\n",
            "line 3: a.mp4 is listed with the starts 0.0 and 2.5",
        ),
        (
            "label,youtube_id,time_start,time_end\nyoga,abcdefghijk,7.2,17\nyoga,abcdefghijk,7.8,17",
            r"line 3: yoga/abcdefghijk_000007_000017 is listed from 7\.2 to 17 and from 7\.8 to 17",
        ),
        ('"a.mp4,0\nb.mp4,1\n', "line 1: a quote that is not closed"),
        ('path,label\n"a.mp4,1\nb.mp4,0\n', "line 2: a quote that is not closed on its line"),
        ('path,label\nb.mp4,0\n"a\n1.mp4",1\n', "line 3: a quote that is not closed on its line"),
        ('a.mp4;0\nb.mp4;"tai chi\n', "line 2: a quote that is not closed on its line"),
        ('b.mp4 0\n"a.mp4 1\n', "line 2: a quote that is not closed on its line"),
    ],
)
def test_what_would_be_explained_as_something_else_is_refused(tmp_path, text, said):
    file = tmp_path / "val.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_list(file)
    file.write_text("path,start,end,label\na.mp4,3,9,0\nb.mp4,1,4,1\n")  # of clips that were cut already
    assert [item.label for item in read_list(file).items] == [0, 1]


@pytest.mark.parametrize(
    ("header", "line", "said", "mended"),
    [
        ("Name,Klasse", "c{},{}", "'Name': call its column of classes label", "Name,label"),
        ("Datei;label", "c{};{}", "'label': call its column of paths path", "path;label"),
        ("id,subject,scene,actions", "c{},x,y,{}", "'id': call its column of classes label", "id,subject,scene,label"),
        (
            "tag,youtube_id,time_start,time_end",
            "{1},abcdefghij{0},7,17",
            "'youtube_id': call its column of classes label",
            "label,youtube_id,time_start,time_end",
        ),
    ],
)
def test_a_first_line_that_says_what_columns_are_called_is_a_clip_only_where_its_class_is_known(
    tmp_path, header, line, said, mended
):
    lines = [line.format(number, name) for number, name in enumerate(["yoga", "tai chi", "yoga"])]
    text = "\n".join([header, *lines])
    for labels in ((), LABELS):
        assert f"line 1: {header!r} may be a header or a clip, as columns are called {said}" in refused(
            tmp_path, text, labels=labels
        )
        clips, notes = read(tmp_path, text.replace(header, mended), labels=labels)
        assert sorted(label for _, label in clips) == ([0, 1, 1] if not labels else [2, 4, 4])
        assert "line 1 names the columns" in notes[0]


@pytest.mark.parametrize(
    ("title", "clips", "mended"),
    [
        ("Aufnahme,Art", "f/1,yoga f/2,archery", "path,label"),
        ("Aufnahme;Art", "1001;yoga 1002;archery", "path;label"),
        ("Aufnahme", "a.mp4 b.mp4", "path"),
        ("Aufnahme", "1001 1002", "path"),
    ],
)
def test_a_first_line_in_unknown_words_that_looks_like_no_clip_is_never_taken_for_one(tmp_path, title, clips, mended):
    lines = clips.split()
    text = "\n".join([title, *lines])
    said = refused(tmp_path, text)
    assert f"line 1: {title!r} may be a header or a clip, as the other lines name" in said
    assert f"write {mended.replace(';', ',')} in its place if it is a header, and above it if it is a clip" in said
    assert len(read(tmp_path, text.replace(title, mended))[0]) == 2
    assert len(read(tmp_path, f"{mended}\n{text}")[0]) == 3
    if ".mp4" not in clips:
        assert len(read(tmp_path, text.replace("Aufnahme", "take_1"))[0]) == 3


def test_a_clip_may_be_called_as_a_column_is(tmp_path):
    for first in ("video,yoga", "clip_1,action"):  # a further clip has the class
        text = "\n".join([first, "b,tai chi", f"c,{first.partition(',')[2]}"])
        assert len(read(tmp_path, text)[0]) == 3
    assert len(read(tmp_path, "video,yoga\nb,tai chi", labels=LABELS)[0]) == 2


@pytest.mark.parametrize("total", ["-5", "abc", "20.5"])
def test_what_is_no_number_of_frames_is_refused(tmp_path, total):
    text = f"path,total_frames,label\na,,0\nb,-1,0\nc,20.0,0\nd,{total},1\n"
    assert f"line 5: {total if total == '-5' else repr(total)} is no number of frames" in refused(tmp_path, text)
    (tmp_path / "val.csv").write_text(text.rpartition("d,")[0])
    assert [item.frames for item in read_list(tmp_path / "val.csv").items] == [None, None, 20]
    assert "line 2: 1 and -5 are no numbers of frames" in refused(tmp_path, "a 1 10 0\nb 1 -5 0\n")


@pytest.mark.parametrize("separator", [" ", ",", ";"])
def test_a_number_of_frames_behind_0_is_a_total(tmp_path, separator):
    """mmaction2 writes how many frames are left out, and how many follow; IBM the first frame and the last."""
    file = tmp_path / "val.csv"
    file.write_text("\n".join(separator.join(line.split()) for line in ("a 0 20 1", "b 1 30 0", "c 0 -1 1")))
    listed = read_list(file)
    assert [item.frames for item in listed.items] == [20, 30, None]
    assert listed.notes == ("val.csv: a number of frames behind 0 is taken for a total, as in mmaction2 (a, c)",)


def test_a_column_without_a_name_that_is_not_read_is_called_by_its_place(tmp_path):
    assert read(tmp_path, ",path,label\n0,a.mp4,1\n1,b.mp4,0\n")[1] == [
        "line 1 names the columns (,path,label); not read: column 1"
    ]


def test_a_folder_of_no_frames_is_said_to_have_none(tmp_path):
    file = tmp_path / "val.txt"
    file.write_text("a 0 4\nb -1 3\n")
    assert [item.frames for item in read_list(file).items] == [0, None]
