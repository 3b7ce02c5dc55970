"""Names of classes: files of labels, of classes to keep and of people's classes are read as they are meant."""

import json
from pathlib import Path

import pytest

from lrp3d.commands import UsageError
from lrp3d.commands.labels import find_class, read_labels
from lrp3d.study import class_list, human_classes
from lrp3d.study.listing.class_lists import bare


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


@pytest.mark.parametrize(("wanted", "found"), [("-2", -2), ("9" * 5000, 10**18), ("٣", 3)])
def test_a_class_by_number_is_a_number_of_any_length(wanted, found):
    assert find_class(wanted, ["archery"]) == found


def test_a_number_that_is_also_the_name_of_another_class_is_an_index_and_it_is_said(capsys):
    assert find_class("2", ["2", "0", "1"]) == 2
    assert "index of class '1'; it is also the name of class 0: for that, give 0" in capsys.readouterr().err
    assert find_class("1", ["0", "1"]) == 1
    assert capsys.readouterr().err == ""


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
        ("l.txt", "0\ta\r\n1\tb c\r\n", ("a", "b c"), None),
        ("l.txt", "0\t\ta\n1\t\tb", ("a", "b"), None),
        ("l.txt", "\ufeffa\r\nb\r\n", ("a", "b"), None),
        ("l.txt", "a\n\ufeffb", ("a", "b"), None),
        ("l.txt", "[0] a\n[1] b", ("a", "b"), "is read as ids and names ('[0] a' is class 0, 'a')"),
        ("l.txt", "(1) a\n(2) b", ("a", "b"), "counts classes from 1"),
        ("l.txt", "#0 a\n#1 b", ("a", "b"), "is read as ids and names"),
        ("l.txt", "class 0: a\nclass 1: b", ("a", "b"), "is read as ids and names"),
        ("l.txt", "0 - a\n1 - b", ("a", "b"), "is read as ids and names"),
        ("l.txt", "001.a\n002.b", ("a", "b"), "counts classes from 1"),
        ("l.txt", "0_a\n1_b", ("a", "b"), "is read as ids and names"),
        ("l.yaml", "- a\n- b", ("a", "b"), "has '-' before every name, which is left out"),
        ("l.yaml", "names:\n- a\n- b", ("a", "b"), "has '-' before every name"),
        ("l.txt", "class 1\nclass 2", ("class 1", "class 2"), None),
        ("l.txt", "[thing] hits [thing]\n[thing] falls", ("[thing] hits [thing]", "[thing] falls"), None),
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
        ("0\ta\tx\n1\tb\ty", r"a tab within a name \(between 'a', 'x'\): write one name per line, an id and"),
        ("a\tx\nb", "a tab within a name"),
        ("a\tb\tc", "a tab within a name"),
        ("a, b, c, d", "has all names in line 1: write one per line"),
        ('{"id": 0, "name": "a"}\n{"id": 1, "name": "b"}', "line 1: .* is an object: write names alone"),
        ("['a', 'b']", "is a list, but no json"),
        ("{0: 'a', 1: 'b'}", "is an object"),
        ("400\na\nb", "line 1: 400 is a number, and the other lines are names"),
    ],
)
def test_labels_that_are_not_plain_are_refused(tmp_path, text, problem):
    (tmp_path / "labels").write_text(text)
    with pytest.raises(ValueError, match=problem) as error:
        read_labels(tmp_path / "labels")
    assert str(error.value).startswith("labels")


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


def test_a_path_may_be_text(tmp_path):
    (tmp_path / "names.txt").write_text("run\njump\n")
    assert read_labels(str(tmp_path / "names.txt")) == read_labels(tmp_path / "names.txt") == ("run", "jump")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('item {\n  name: "run"\n  id: 1\n}\n', "'}' in line 4"),
        ("---\n- run\n", "'---' in line 1"),
        ("run\n,,\n", "',,' in line 2"),
    ],
)
def test_a_text_in_another_notation_is_no_list_of_names(tmp_path, text, line):
    (tmp_path / "names.pbtxt").write_text(text)
    with pytest.raises(ValueError, match=f"names.pbtxt holds {line}.*which is no name: write one per line, or json"):
        read_labels(tmp_path / "names.pbtxt")
