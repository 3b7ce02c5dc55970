"""Our models are the public ones: same names and shapes after conversion, same logits, same frame logits."""

import golden_data
import pytest
import torch
from lrp3d.models import count_parameters, load_checkpoint

# These run at 224 pixels, about 10 s each; all others at 64.
LARGE = {"piergiaj_inception_i3d", "ptv_slowfast_r50_8x8_s224"}
# Of networks that differ in a stride, a number, the kind of a pool or names alone, one is enough every time.
ALIKE = {"ptv_slowfast_r50_16x8_s64", "ibm_i3d_inception_ts_avg", "ibm_i3d_inception_nots", "ibm_s3d_nots"}
ALIKE |= {"pyslowfast_r50_8x8_s64", "ibm_tam_inception_b3_nots", "ibm_tam_resnet18_b3_nots_nodw"}
ALIKE |= {"ptv_slowfast_r50_8x8_s64"}  # also a test of pathways given as a list
# Deeper than another one of the same construction.
DEEP = {name for name in golden_data.NAMES if any(f"resnet{depth}" in name for depth in (50, 101, 152))} - {
    "tsm_resnet50"
}
FIXTURES = [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE | ALIKE | DEEP else name for name in golden_data.NAMES
]
MEASURED = [name for name in golden_data.NAMES if "logits_f64" in golden_data.golden(name)]


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def departure(found, expected):
    """Largest difference in units of the largest logit."""
    expected = torch.tensor(expected, dtype=torch.float64)
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("name", FIXTURES)
def test_model_equals_its_source(name):
    facts = golden_data.golden(name)
    with torch.device("meta"):  # random weights would only cost time
        model = golden_data.build(facts).eval()
    model.to_empty(device="cpu")
    state = golden_data.fill(facts["state_dict"])
    report = load_checkpoint(model, state)
    assert not report.kept  # every tensor of ours came from the source
    assert count_parameters(model) == facts["n_params"]
    if name not in MEASURED:
        return
    assert golden_data.digest(state) == facts["weights_sha256"]

    clip = golden_data.clip(facts)
    if name in LARGE:  # one pass is enough: the small fixtures show that both ways agree
        double = model.double()
        answer = double.frame_logits if "frame_logits_f64" in facts else double
        expected = facts.get("frame_logits_f64", facts["logits_f64"])
        assert departure(answer(clip.double()), expected) < 1e-9
        return
    assert departure(model(clip), facts["logits_f64"]) < 2e-5
    model.double()
    frame_logits = model.frame_logits(clip.double())
    assert departure(frame_logits.mean(1), facts["logits_f64"]) < 1e-9
    if "frame_logits_f64" in facts:
        assert departure(frame_logits, facts["frame_logits_f64"]) < 1e-9


def test_slowfast_takes_its_pathways_as_a_list_too():
    facts = golden_data.golden("pyslowfast_r50_8x8_s64")
    model = golden_data.build(facts).eval()
    load_checkpoint(model, golden_data.fill(facts["state_dict"]))
    assert list(model.slow_indices) == facts["slow_indices"]
    clip = golden_data.clip(facts)
    pathways = [clip[:, :, facts["slow_indices"]], clip]
    assert torch.equal(model(pathways), model(clip))
    assert torch.equal(model.frame_logits(pathways), model.frame_logits(clip))


@pytest.mark.parametrize(
    ("source", "target", "fixture"),
    [
        ("pyslowfast", "pytorchvideo", "pyslowfast_r50_8x8_s64"),
        ("piergiaj", "hassony", "piergiaj_inception_i3d"),
    ],
)
def test_two_dialects_of_one_network_load_the_same_weights(source, target, fixture):
    """The other dialect is the first one under other names: all parameters must end in the same places."""
    facts = golden_data.golden(fixture)
    state = golden_data.fill(facts["state_dict"])
    (mapping,) = [
        golden_data.golden(path)["map"] for path in golden_data.MAPS if path.startswith(f"map_{source}_to_{target}")
    ]
    ours, theirs = golden_data.build(facts), golden_data.build(facts)
    load_checkpoint(ours, state)
    report = load_checkpoint(theirs, {mapping[key]: value for key, value in state.items()})
    assert target.rstrip("2") in report.dialect
    assert_equal_weights(ours, theirs)


def test_caffe2_names_load_the_same_weights():
    facts = golden_data.golden("pyslowfast_r50_8x8_s64")
    state = golden_data.fill(facts["state_dict"])
    mapping = golden_data.golden("map_caffe2_to_pyslowfast_slowfast_r50")["map"]
    blobs = {blob: state[key].numpy() for blob, key in mapping.items()}
    blobs |= {"lr": state["head.projection.bias"].numpy(), "conv1_w_momentum": blobs["conv1_w"]}
    ours, theirs = golden_data.build(facts), golden_data.build(facts)
    load_checkpoint(ours, state)
    report = load_checkpoint(theirs, {"blobs": blobs})
    assert report.dialect == "caffe2 SlowFast"
    assert all(name.endswith("num_batches_tracked") for name in report.kept)
    assert_equal_weights(ours, theirs)


def assert_equal_weights(one, other):
    for (name, mine), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
