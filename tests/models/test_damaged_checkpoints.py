"""Files that are no checkpoints, or claim what they do not hold: called what they are, before memory is taken."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import pytest
import torch
from lrp3d.models import CheckpointError, load_checkpoint, load_model, read_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from lrp3d import models


def tam():
    return models.tam_resnet(18, 3, 4, width=2)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"\n <!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b'{"message": "Not Found"}', "a json text"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"Not found, sorry.\n", "a text"),
    ],
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path, name, content, what):
    if what == "a text" and name == "w.safetensors":
        what = "not a complete safetensors"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=what) as caught:
        read_checkpoint(tmp_path / name, trust_pickle=True)
    assert "trust" not in str(caught.value)


def test_archives_without_a_checkpoint_and_programs_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.pth", "w") as archive:
        archive.writestr("inner.pth", b"x")
    with pytest.raises(CheckpointError, match=r"is a zip archive, no checkpoint: it holds 'inner.pth'"):
        read_checkpoint(tmp_path / "z.pth")
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "scripted.pt")
    with pytest.raises(CheckpointError, match=r"a TorchScript archive, which is a program"):
        read_checkpoint(tmp_path / "scripted.pt", trust_pickle=True)


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name in source.namelist():
            archive.writestr(name, change(name, source.read(name)))


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"x": torch.full((1000,), 1.5)}, path)
    content = path.read_bytes()
    at = content.index(b"\x00\x00\xc0\x3f" * 9)
    path.write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    with pytest.raises(CheckpointError, match=r"the bytes of .*data/0 do not match their checksum"):
        read_checkpoint(path)


def test_names_of_tensors_that_cannot_be_printed_stay_on_one_line(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"x": torch.zeros(1000)}, path)
    rewritten(path, lambda name, data: data.replace(b"X\x01\0\0\x000", b"X\x01\0\0\0\n") if "pkl" in name else data)
    with pytest.raises(CheckpointError, match=r"claims 4,000 bytes for tensor .*\\n.* and holds nothing") as caught:
        read_checkpoint(path)
    assert str(caught.value).isprintable()


def test_claims_beyond_the_file_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "w.pth"
    torch.save({"x": torch.zeros(1000)}, path)
    number = pickle.dumps(1000, 2)[2:-1]
    rewritten(path, lambda name, data: data.replace(number, b"\x8a\x06\0\0\0\0\0\x01") if "pkl" in name else data)
    with pytest.raises(CheckpointError, match=r"claims 4,398,046,511,104 bytes for tensor 0 and holds 4,000"):
        read_checkpoint(path)
    torch.save({"x": torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(number, b"\x8a\x06\0\0\0\0\0\x01", 1))
    with pytest.raises(CheckpointError, match=r"claims 4,398,046,511,104 bytes of tensors and holds"):
        read_checkpoint(path)
    torch.save({"x": torch.zeros(100_000)}, path)
    rewritten(path, lambda name, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"is compressed or claims more than it holds"):
        read_checkpoint(path)
    torch.save({"fc.weight": torch.zeros(1).expand(10**6, 2048)}, path)
    with pytest.raises(CheckpointError, match=r"claims 8,192,000,000 bytes for a tensor"):
        read_checkpoint(path)


class Asking:
    def __reduce__(self):
        return bytearray, (10**12,)


def test_a_call_that_asks_for_memory_is_refused(tmp_path):
    torch.save({"x": torch.zeros(3), "y": Asking()}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"asks for 1,000,000,000,000 bytes of memory"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.skipif(os.name == "nt", reason="such names exist elsewhere only")
@pytest.mark.parametrize("save", [torch.save, save_file])
def test_what_is_said_of_a_checkpoint_has_its_name_on_one_line(tmp_path, save):
    path = tmp_path / "a\nb\x1b"
    save({"x": torch.zeros(3)}, path)
    for read in (load_model, lambda path: load_checkpoint(tam(), path)):
        with pytest.raises(CheckpointError, match=r"^a\\nb\\x1b[^\n]*$"):
            read(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"^a\\nb\\x1b is not a complete [^\n]*$"):
        read_checkpoint(path)


def test_torch_warns_of_nothing_that_is_refused_in_a_sentence(tmp_path, recwarn):
    path = tmp_path / "w.pt"
    torch.save({"x": torch.zeros(3)}, path)
    rewritten(path, lambda name, data: b"\x80\x82" + data[2:] if name.endswith(".pkl") else data)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)
    torch.save({"x": torch.zeros(3)}, path, pickle_protocol=3)
    assert read_checkpoint(path).state["x"].shape == (3,)
    assert not recwarn.list


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("ours") / "m.safetensors"
    models.save_checkpoint(tam(), path, classes=["a", "b", "c"])
    return path


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("arguments", {"width": 10**6}, r"width=1000000, and holds no tensor so large"),
        ("arguments", {"width": 4}, r"things do not match"),
        ("arguments", {"depth": 10**9}, r"depth=1000000000, and holds no tensor so large"),
        ("arguments", {"depth": 19}, r"has depths 18"),
        ("arguments", {"num_classes": 10**12}, r"num_classes=1000000000000, and"),
        ("arguments", {"frames": -3}, r"frames must be at least 1"),
        ("arguments", {"frames": "4"}, r'frames="4", which is not a whole number'),
        ("arguments", {"surprise": 1}, r"arguments are not those of tam_resnet"),
        ("frames", -3, r"frames=-3, which is not null or a whole number from 1"),
        ("frames", "-3", r'frames="-3", which'),
        ("frames", 10**9, r"frames=1000000000, which"),
        ("frames", 8, r"frames=8, and its model was made for 4"),
        ("size", "24", r'size="24", which is not null or a whole number from 1'),
        ("size", 10**9, r"size=1000000000, which"),
        ("short_side", "28", r'short_side="28", which is not null or a whole number from 1'),
        ("classes", list("abcdefghi"), r"9 class names for a model of 3 classes"),
        ("classes", ["a", "b", "a"], r"classes 0 and 2 have the same name 'a'"),
        ("classes", [1, 2, 3], r"the name of class 0 is 1, not a text"),
        ("mean", [0.5, 0.5], r"mean has 2 values and std 3"),
        ("std", [0, 0.2, 0.2], r"std must be above 0"),
        ("std", [float("nan")] * 3, r"its std are no json"),
        ("std", [1e-30] * 3, r"beyond all numbers"),
    ],
)
def test_metadata_that_cannot_be_is_refused_in_a_sentence(tmp_path, ours, key, value, what):
    with safe_open(ours, "pt") as file:
        metadata = file.metadata()
    if key == "arguments":
        value = json.loads(metadata["arguments"]) | value
    save_file(load_file(ours), tmp_path / "m.safetensors", metadata | {key: json.dumps(value)})
    with pytest.raises(CheckpointError, match=what):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda x: x.int(), "holds int32, and the model has float32 there"),
        (lambda x: x > 0, "holds bool"),
        (lambda x: x.to(torch.complex64), "holds complex64"),
        (lambda x: x.to(torch.float8_e4m3fn), "is float8_e4m3fn, and what scales it is not known"),
        (lambda x: x.to(torch.float8_e5m2), "is float8_e5m2, and what scales it"),
        (lambda x: x.to_sparse(), "is stored as sparse_coo"),
        (lambda x: x.to("meta"), "has a shape and no values"),
        (lambda x: x * float("nan"), "holds .* are no numbers"),
        (lambda x: x.double() * 0 + 1e300, "holds infinite values, or values that float32 cannot"),
    ],
)
@pytest.mark.parametrize("make", [tam, lambda: nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))])
def test_the_last_tensor_can_spoil_all_and_nothing_changes(make, change, what):
    source, model = make(), make()
    state = source.state_dict()
    last = [name for name in state if name.endswith("weight")][-1]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"{last} {what}"):
        load_checkpoint(model, {**state, last: change(state[last])})
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_fails_while_it_is_copied_is_undone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model[1]._load_from_state_dict = lambda *args: args[-1].append("cannot be copied")
    with pytest.raises(CheckpointError, match=r"nothing was loaded: cannot be copied"):
        load_checkpoint(model, {name: value + 1 for name, value in before.items()})
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "said",
    [
        {"frames": "-3"},
        {"frames": "8"},
        {"arguments": {"width": 10**6}},
        {"arguments": {"width": -1}},
        {"std": "[0, 1, 1]"},
        {"classes": '["a", "a", "b"]'},
        {"builder": "nobody"},
    ],
)
def test_a_checkpoint_is_named_once_where_what_it_says_cannot_be(tmp_path, said):
    file = tmp_path / "m.safetensors"
    models.save_checkpoint(tam(), file)
    with safe_open(file, "pt") as stored:
        metadata = stored.metadata()
    if "arguments" in said:
        said = {"arguments": json.dumps({**json.loads(metadata["arguments"]), **said["arguments"]})}
    save_file(load_file(file), file, {**metadata, **said})
    with pytest.raises(CheckpointError) as caught:
        load_model(file)
    assert str(caught.value).count("m.safetensors") == 1


def test_a_pipe_and_a_link_that_leads_nowhere_are_called_so(tmp_path):
    os.mkfifo(tmp_path / "pipe.pth")
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    with pytest.raises(CheckpointError, match=r"^pipe\.pth is a pipe or a device; a checkpoint is a regular file$"):
        read_checkpoint(tmp_path / "pipe.pth")
    with pytest.raises(FileNotFoundError, match=r"loop\.pth: it is a link that leads nowhere$"):
        read_checkpoint(tmp_path / "loop.pth")


PICKLED = """
import torch

class Net(torch.nn.Linear):
    pass

torch.save(Net(2, 1), "whole.pth")
torch.save({"model": Net(2, 1), "epoch": 3}, "in_dict.pth")
"""


@pytest.mark.parametrize("name", ["whole.pth", "in_dict.pth"])
@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.filterwarnings("ignore:unpickling")
def test_a_whole_module_of_a_program_that_is_not_here_says_what_to_save_instead(tmp_path, name, trust):
    subprocess.run([sys.executable, "-c", PICKLED], cwd=tmp_path, check=True)
    said = r"a whole module, pickled with its class Net of the program that saved it .* torch\.save\(model\.state_dict"
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(tmp_path / name, trust_pickle=trust)


@pytest.mark.filterwarnings("ignore:unpickling")
def test_a_whole_module_of_code_that_is_not_here_names_the_module(tmp_path):
    (tmp_path / "their_nets.py").write_text(PICKLED.partition("torch.save")[0])
    code = "import torch, their_nets; torch.save(their_nets.Net(2, 1), 'whole.pth')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    said = r"it needs a module that is not here \(No module named 'their_nets'\): run this where it can be imported, or"
    with pytest.raises(CheckpointError, match=said):
        read_checkpoint(tmp_path / "whole.pth", trust_pickle=True)
