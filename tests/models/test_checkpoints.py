"""Checkpoints: every dialect is understood, everything is checked, nothing is half done."""

import argparse
import json
import os
import pickle

import golden_data
import numpy as np
import pytest
import torch
from lrp3d.models import CheckpointError, load_checkpoint
from safetensors import safe_open
from safetensors.torch import save_file

from lrp3d import models


def tam(**options):
    return models.tam_resnet(18, 10, 8, **options)


@pytest.fixture(scope="module")
def ibm_tam():
    """IBM's TAM-ResNet18 state dict."""
    return golden_data.fill(golden_data.golden("ibm_tam_resnet18_b3_nots")["state_dict"])


@pytest.fixture(scope="module")
def imagenet():
    """A torchvision ResNet-18 of 1000 classes: IBM's TSN has the same names."""
    shapes = golden_data.golden("ibm_tsn_resnet18_nots")["state_dict"]
    return golden_data.fill([[key, [1000, *shape[1:]] if key.startswith("fc.") else shape] for key, shape in shapes])


def snapshot(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model, before):
    return all(torch.equal(before[name], value) for name, value in model.state_dict().items())


# --- reading what others wrote


def test_wrappers_and_prefixes_make_no_difference(ibm_tam):
    plain, wrapped = tam(), tam()
    load_checkpoint(plain, ibm_tam)
    load_checkpoint(wrapped, {"epoch": 3, "state_dict": {f"module.{key}": x for key, x in ibm_tam.items()}})
    assert unchanged(plain, wrapped.state_dict())


def test_offsets_of_tam_are_past_present_future(ibm_tam):
    model = tam()
    load_checkpoint(model, ibm_tam)
    weight = model.state_dict()["features.layer1.0.temporal.conv.weight"]
    for offset, side in enumerate(("prev", "curr", "next")):
        assert torch.equal(weight[:, :, offset], ibm_tam[f"layer1.0.tam.{side}_se.fc1.weight"])


@pytest.mark.parametrize("inflate", ["repeat", "mean"])
def test_imagenet_kernels_are_inflated_along_time(imagenet, inflate):
    model = models.i3d_resnet(18, 10)
    report = load_checkpoint(model, imagenet, strict=False, inflate=inflate)
    assert set(report.kept) == {"fc.weight", "fc.bias"}
    weight = model.state_dict()["features.layer1.0.conv1.weight"]
    flat = imagenet["layer1.0.conv1.weight"] / (3 if inflate == "mean" else 1)
    assert weight.shape == (64, 64, 3, 3, 3)
    for offset in range(3):
        torch.testing.assert_close(weight[:, :, offset], flat)


def test_a_tam_from_imagenet_starts_as_the_2d_network_on_every_frame(imagenet):
    tsn, with_tam = models.tsn_resnet(18, 1000).eval(), models.tam_resnet(18, 1000, 4).eval()
    load_checkpoint(tsn, imagenet)
    load_checkpoint(with_tam, imagenet)
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(with_tam.frame_logits(clip), tsn.frame_logits(clip))


def test_googlenets_training_heads_are_left_out():
    state = golden_data.fill(golden_data.golden("ibm_tsn_inception_nots")["state_dict"])
    state |= {"aux1.fc2.bias": torch.zeros(1000), "aux2.conv.bn.weight": torch.zeros(128)}
    assert not load_checkpoint(models.tsn_inception(10), state).kept


def test_numpy_arrays_are_tensors_too(ibm_tam):
    model, other = tam(), tam()
    load_checkpoint(model, ibm_tam)
    load_checkpoint(other, {key: x.numpy() for key, x in ibm_tam.items()})
    assert unchanged(model, other.state_dict())


def test_checkpoints_without_batch_counters_are_complete(ibm_tam):
    state = {key: x for key, x in ibm_tam.items() if not key.endswith("num_batches_tracked")}
    load_checkpoint(tam(), state)


def test_weights_take_the_models_precision(ibm_tam):
    model = tam().double()
    load_checkpoint(model, ibm_tam)
    assert {value.dtype for value in model.parameters()} == {torch.float64}
    assert torch.equal(model.fc.weight.float(), ibm_tam["fc.weight"])


@pytest.mark.parametrize(("built", "stored"), [("residual", "tsm_resnet50_block"), ("block", "tsm_resnet50")])
def test_where_tsm_shifts_is_adopted_from_the_names(built, stored):
    facts = golden_data.golden(stored)
    model = models.tsm_resnet(50, 10, 8, shift=built).eval()
    load_checkpoint(model, golden_data.fill(facts["state_dict"]))
    with torch.inference_mode():
        logits = model.double()(golden_data.clip(facts).double())
    torch.testing.assert_close(logits, torch.tensor(facts["logits_f64"], dtype=torch.float64), rtol=0, atol=1e-6)
    assert model.arguments["shift"] == model.shift != built


# --- refusing what does not fit


def test_everything_that_does_not_match_is_named_at_once_and_nothing_is_loaded(ibm_tam):
    model = tam()
    before = snapshot(model)
    state = dict(ibm_tam)
    state["surprise"] = torch.zeros(3)
    state["layer1.0.conv1.weight"] = torch.zeros(64, 32, 3, 3)
    del state["layer2.0.conv2.weight"], state["layer3.0.tam.curr_se.fc1.weight"]
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model, state)
    message = str(caught.value)
    assert "nothing was loaded" in message
    assert "left over: surprise 3" in message
    assert "shape: features.layer1.0.conv1.weight 64x64x1x3x3 from layer1.0.conv1.weight 64x32x3x3" in message
    assert "missing: features.layer2.0.conv2.weight 128x128x1x3x3" in message
    assert "missing: features.layer3.0.temporal.conv.weight 128x1x3x1x1" in message
    assert unchanged(model, before)


def test_another_kernel_size_does_not_fit(ibm_tam):
    with pytest.raises(ValueError, match=r"temporal.conv.weight 64x1x5x1x1 from .*prev_se.* 64x1x3x1x1"):
        load_checkpoint(tam(kernel_size=5), ibm_tam)


def test_only_a_classifier_of_another_size_may_be_left_out(ibm_tam):
    model = models.tam_resnet(18, 7, 8)
    before = snapshot(model)
    classes = "the checkpoint has 10 classes and the model 7: make the model with num_classes=10"
    with pytest.raises(CheckpointError, match=rf"{classes}(.|\n)*strict=False keeps the model's own"):
        load_checkpoint(model, ibm_tam)
    assert unchanged(model, before)
    report = load_checkpoint(model, ibm_tam, strict=False)
    assert report.kept == ("fc.weight", "fc.bias")
    assert torch.equal(model.fc.weight, before["fc.weight"])
    assert torch.equal(model.state_dict()["features.conv1.weight"][:, :, 0], ibm_tam["conv1.weight"])

    del (state := dict(ibm_tam))["layer1.0.conv1.weight"]
    with pytest.raises(CheckpointError, match=r"missing: features.layer1.0.conv1.weight"):
        load_checkpoint(model, state, strict=False)
    with pytest.raises(CheckpointError, match=r"missing: fc.weight"):
        load_checkpoint(model, {key: x for key, x in ibm_tam.items() if not key.startswith("fc.")}, strict=False)


@pytest.mark.parametrize("make", [lambda: models.tsn_resnet(18, 10), lambda: models.i3d_resnet(18, 10)])
def test_another_architecture_is_refused(ibm_tam, make):
    with pytest.raises(CheckpointError, match=r"left over: layer1.0.tam.prev_se.fc1.weight"):
        load_checkpoint(make(), ibm_tam)


def test_shifts_are_neither_invented_nor_dropped():
    tsm = golden_data.fill(golden_data.golden("tsm_resnet18")["state_dict"])
    with pytest.raises(CheckpointError, match=r"checkpoint shifts channels along time \(TSM\), the model does not"):
        load_checkpoint(models.tsn_resnet(18, 10), tsm)
    tsn = golden_data.fill(golden_data.golden("tsn_resnet50")["state_dict"])
    with pytest.raises(CheckpointError, match=r"names say that it did not"):
        load_checkpoint(models.tsm_resnet(50, 10, 8), tsn)


def test_names_of_nobody_are_refused_with_those_that_are_known():
    with pytest.raises(CheckpointError, match=r"\(encoder.weight\); known sources are: lrp3d, .*PySlowFast, caffe2"):
        load_checkpoint(tam(), {"encoder.weight": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"no tensors"):
        load_checkpoint(tam(), {})
    with pytest.raises(ValueError, match=r"'repeat' or 'mean'"):
        load_checkpoint(tam(), {}, inflate="stretch")


# --- files


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_files_are_read_without_running_their_code(tmp_path, ibm_tam):
    torch.save({"state_dict": ibm_tam}, tmp_path / "safe.pth")
    load_checkpoint(tam(), tmp_path / "safe.pth")

    bomb, model = Bomb(), tam()
    bomb.path = str(tmp_path / "exploded")
    before = snapshot(model)
    torch.save({"state_dict": ibm_tam, "extra": bomb}, tmp_path / "bomb.pth")
    with pytest.raises(CheckpointError, match=r"bomb.pth .*convert-checkpoint IN OUT --model NAME --trust-pickle"):
        load_checkpoint(model, tmp_path / "bomb.pth")
    assert not (tmp_path / "exploded").exists()
    assert unchanged(model, before)


def test_missing_and_broken_files_say_so(tmp_path, ibm_tam):
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth"):
        load_checkpoint(tam(), tmp_path / "nowhere.pth")
    torch.save(ibm_tam, tmp_path / "half.pth")
    whole = (tmp_path / "half.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"half.pth is not a complete checkpoint"):
        load_checkpoint(tam(), tmp_path / "half.pth")
    (tmp_path / "half.safetensors").write_bytes(b"\x00" * 20)
    with pytest.raises(CheckpointError, match=r"half.safetensors is not a complete"):
        load_checkpoint(tam(), tmp_path / "half.safetensors")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match=r"holds a list, not a state dict"):
        load_checkpoint(tam(), tmp_path / "list.pth")


def test_conversion_keeps_weights_and_says_what_they_are(tmp_path, ibm_tam):
    torch.save({"state_dict": ibm_tam}, tmp_path / "in.pth")
    classes = [f"class {k}" for k in range(10)]
    models.convert_checkpoint(tmp_path / "in.pth", tmp_path / "out.safetensors", "TAM2D-R18-f8", classes=classes)
    with safe_open(tmp_path / "out.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["model"] == "TAM2D-R18-f8"
    assert json.loads(metadata["classes"]) == classes
    assert json.loads(metadata["mean"]) == [0.485, 0.456, 0.406]
    assert json.loads(metadata["std"]) == [0.229, 0.224, 0.225]

    expected = tam()
    load_checkpoint(expected, ibm_tam)
    again = models.load_model(tmp_path / "out.safetensors")
    assert (again.name, again.frames, again.classes) == ("TAM2D-R18-f8", 8, tuple(classes))
    assert not again.training
    assert unchanged(expected, again.state_dict())
    model = tam()
    assert load_checkpoint(model, tmp_path / "out.safetensors").dialect == "lrp3d"
    assert unchanged(expected, model.state_dict())


def test_a_pickle_is_converted_once_and_knowingly(tmp_path, ibm_tam):
    source, destination = tmp_path / "argparse.pth", tmp_path / "out.safetensors"
    torch.save({"state_dict": ibm_tam, "args": argparse.Namespace(lr=0.1), "best": np.float64(71.2)}, source)
    with pytest.raises(CheckpointError, match=r"--trust-pickle"):
        models.convert_checkpoint(source, destination, "TAM2D-R18-f8")
    assert list(tmp_path.iterdir()) == [source]
    with pytest.warns(UserWarning, match=r"can run any code"):
        models.convert_checkpoint(source, destination, "TAM2D-R18-f8", trust_pickle=True)
    assert load_checkpoint(tam(), destination).dialect == "lrp3d"


@pytest.mark.slow
def test_a_caffe2_pickle_is_converted(tmp_path):
    facts = golden_data.golden("pyslowfast_r50_8x8_s64")
    state = golden_data.fill(facts["state_dict"])
    names = golden_data.golden("map_caffe2_to_pyslowfast_slowfast_r50")["map"]
    source = tmp_path / "model.pkl"
    source.write_bytes(pickle.dumps({"blobs": {blob: state[key].numpy() for blob, key in names.items()}}, 2))
    with pytest.raises(CheckpointError, match=r"--trust-pickle"):
        models.read_checkpoint(source)
    with pytest.warns(UserWarning, match=r"can run any code"):
        model = models.convert_checkpoint(source, tmp_path / "m.safetensors", "SlowFast-R50-8x8", trust_pickle=True)
    assert torch.equal(model.fc.weight, state["head.projection.weight"])


def test_a_failed_conversion_leaves_nothing_behind(tmp_path, ibm_tam):
    torch.save(ibm_tam, tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match=r"not match"):
        models.convert_checkpoint(tmp_path / "in.pth", tmp_path / "out.safetensors", "I3D-R18-f8")
    with pytest.raises(ValueError, match=r"2 class names for a model of 10"):
        models.convert_checkpoint(tmp_path / "in.pth", tmp_path / "out.safetensors", "TAM2D-R18-f8", classes="ab")
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]


def test_models_are_remade_from_their_files_however_they_were_made(tmp_path):
    for model in (
        models.tam_resnet(18, 3, 8, 5, output_frames=2, width=8, in_channels=1),
        models.tsm_resnet(18, 3, frames=4, shift="block", width=8),
        models.slowfast_resnet50(3, frames=8, alpha=2, width=8),
    ):
        models.save_checkpoint(model.eval(), tmp_path / "model.safetensors")
        again = models.load_model(tmp_path / "model.safetensors")
        clip = torch.randn(1, model.in_channels, model.frames, 32, 32)
        with torch.inference_mode():
            assert torch.equal(again(clip), model(clip))
        assert (again.name, again.input_range) == (model.name, model.input_range)


def test_our_own_files_know_what_no_tensor_tells(tmp_path):
    made = models.tsn_resnet(18, 3, temporal_stride=True, width=8)
    models.save_checkpoint(made, tmp_path / "model.safetensors")
    model = models.tsn_resnet(18, 3, width=8)
    before = snapshot(model)
    with pytest.raises(CheckpointError, match=r"temporal_stride: the checkpoint's model has True, this one False"):
        load_checkpoint(model, tmp_path / "model.safetensors")
    assert unchanged(model, before)


def test_a_file_that_does_not_say_its_model_is_refused(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"does not say how to make its model"):
        models.load_model(tmp_path / "other.safetensors")
