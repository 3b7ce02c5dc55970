"""On a device the host hardly ever waits, no operation mixes devices, and relevance is that of the CPU.

The device is a simulated one (`simulated`): what a GPU would refuse it refuses, and where a GPU would be waited for it
counts.
"""

import pytest
import simulated
import torch
from attention_nets import build, clip_for
from torch import nn

import lrp3d

pytestmark = pytest.mark.skipif(not simulated.KNOWN, reason="this torch knows no devices in Python")

AT_MOST = 5


class Recurrent(nn.Module):
    """An LSTM over frames whose states are averaged."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.classifier = nn.Linear(5, 4)

    def forward(self, x):
        frames = self.conv(x).relu().mean((3, 4)).transpose(1, 2)
        return self.classifier(self.lstm(frames)[0]).mean(1)


def network(name, **options):
    return lambda: (lrp3d.models.build(name, 4, **options), torch.rand(1, 3, 4, 16, 16))


NETS = {
    "I3D": network("I3D-R18-f4", width=4),
    "TAM2D": network("TAM2D-R18-f4", width=4),
    "TAM2D, five frames": network("TAM2D-R18-f4", width=4, kernel_size=5),
    "TSN": network("TSN-R18-f4", width=4),
    "TSM": network("TSM-R18-f4", width=8),
    "S3D-ResNet": network("S3D-R18-f4", width=4),
    "I3D-Inception": lambda: (lrp3d.models.build("I3D-Inception-f4", 4), torch.rand(1, 3, 4, 32, 32)),
    "S3D": lambda: (lrp3d.models.build("S3D-f8", 4), torch.rand(1, 3, 8, 32, 32)),
    "original I3D": lambda: (lrp3d.models.build("I3D-f9", 4), torch.rand(1, 3, 9, 32, 32)),
    "SlowFast": lambda: (lrp3d.models.slowfast_resnet50(4, frames=8, width=8), torch.rand(1, 3, 8, 32, 32)),
    "LSTM": lambda: (Recurrent(), torch.rand(1, 3, 4, 8, 8)),
    "ViT": lambda: (build("ViT", torch.float32), clip_for(1, torch.float32)),
    "Video Swin": lambda: (build("Video Swin", torch.float32), clip_for(1, torch.float32)),
    "TANet": lambda: (build("TANet", torch.float32), clip_for(1, torch.float32)),
}
ASKS = {"TSM", "original I3D", "LSTM", "Video Swin"}
"""These write constants beside their signals: the first clip of a twin asks of each whether it is one."""


@pytest.fixture(autouse=True)
def _same_numbers():
    torch.manual_seed(0)


def check_waits(waits, more=0):
    assert not waits.inside
    assert waits.count <= AT_MOST + more, waits.outside


QUICK = ("I3D", "TAM2D", "TSM", "LSTM", "ViT", "TANet")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NETS]
)
def test_an_explanation_waits_five_times_at_most_and_is_that_of_the_cpu(name):
    model, clip = NETS[name]()
    model = model.eval()
    expected = lrp3d.explain(model, clip, 2)
    with simulated.device() as first:
        twin = lrp3d.convert(simulated.moved(model))
        lrp3d.explain(twin, simulated.moved(clip), 2)
    with simulated.device() as second:
        found = lrp3d.explain(twin, simulated.moved(clip), 2)
    assert found.matrix.device.type == simulated.NAME
    matrix, relevance = simulated.at_home((found.matrix, found.relevance))
    tolerance = 2e-3 * expected.matrix.abs().max()
    assert torch.allclose(matrix, expected.matrix, 0, tolerance)
    assert (relevance - expected.relevance).abs().sum() < 2e-3 * expected.relevance.abs().sum()
    assert not first.inside
    if name not in ASKS:
        check_waits(first)
    check_waits(second)


OPTIONS = {
    "plain LRP": {"contrastive": False},
    "the clip alone": {"temporal": False},
    "against others": {"against": [1, 3]},
    "the best class": {"target": None},
    "relevance inside": {"layers": ["features.layer*"], "layer_rows": True},
    "some channels": {"where": {"features.layer3": [1, 2]}},
    "motion": {"motion": True},
    "the floor": {"floor": True},
    "a tolerance": {"tolerance": 0.05},
    "in chunks": {"chunk_size": 1},
    "rows at a layer": {"rows_at": "features.layer2"},
    "a range": {"input_range": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))},
}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return lrp3d.models.build("TAM2D-R18-f4", 4, width=4).eval(), torch.rand(2, 3, 4, 16, 16)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "the floor" else name for name in OPTIONS]
)
def test_so_it_is_whatever_is_asked_for(small, name):
    model, clip = small
    asked = {"target": 2} | OPTIONS[name]
    expected = lrp3d.explain(model, clip, **asked)
    with simulated.device() as waits:
        twin = lrp3d.convert(simulated.moved(model))
        if "floor" in asked:  # which a twin measures once, on other networks
            lrp3d.explain(twin, simulated.moved(clip), **asked)
            assert not waits.inside
            waits.waits.clear()
        found = lrp3d.explain(twin, simulated.moved(clip), **asked)
    # The frames of values are followed through one view, by numbers that are sent to the device and fetched again. Of
    # rows at a layer two more answers are needed: whether there are any, and how much flows through them.
    check_waits(waits, more={"motion": 2, "rows at a layer": 4}.get(name, 0))
    for part in ("matrix", "relevance", "dynamic_matrix", "floor"):
        one, other = getattr(expected, part), simulated.at_home(getattr(found, part))
        assert (one is None) == (other is None)
        if one is not None:
            assert (one - other).abs().sum() <= 2e-3 * one.abs().sum(), part
    for name, one in expected.layers.items():
        assert (one - simulated.at_home(found.layers[name])).abs().sum() <= 2e-3 * one.abs().sum(), name
    assert [entry.layer for entry in found.ledger] == [entry.layer for entry in expected.ledger]
    assert found.ledger.absorbed == pytest.approx(expected.ledger.absorbed, abs=1e-3)


def test_the_number_of_frames_and_clips_makes_no_more_waits(small):
    counts = set()
    for frames, batch in ((2, 1), (4, 2)):
        model = lrp3d.models.build("TSN-R18", 4, width=4).eval()
        with simulated.device() as waits:
            lrp3d.explain(simulated.moved(model), simulated.moved(torch.rand(batch, 3, frames, 16, 16)), chunk_size=1)
        counts.add(waits.count)
    assert len(counts) == 1


def test_measures_of_a_matrix_never_wait(small):
    model, clip = small
    with simulated.device() as waits:
        found = lrp3d.explain(simulated.moved(model), simulated.moved(clip), 2)
        waits.waits.clear()
        atr = lrp3d.atr.frame_atr(found.matrix)
        lrp3d.atr.avg_atr(atr, found.frame_logits)
        lrp3d.atr.max_atr(atr)
    assert not waits.count, waits.outside


def test_interventions_wait_once_for_each_run_of_the_model(small):
    model, clip = small
    expected = lrp3d.intervention_matrix(model, clip, 2)
    with simulated.device() as waits:
        found = lrp3d.intervention_matrix(simulated.moved(model), simulated.moved(clip), 2, chunk_size=4)
    runs = clip.shape[0] * clip.shape[2] // 4
    assert not waits.inside
    assert waits.count <= AT_MOST + runs, waits.outside
    assert torch.allclose(simulated.at_home(found), expected, 1e-3, 1e-4)


@pytest.mark.slow
def test_interventions_at_a_layer_are_those_of_the_cpu(small):
    model, clip = small
    expected = lrp3d.intervention_matrix(model, clip, 2, rows_at="features.layer2")
    with simulated.device() as waits:
        found = lrp3d.intervention_matrix(
            simulated.moved(model), simulated.moved(clip), 2, rows_at="features.layer2", chunk_size=4
        )
    assert not waits.inside
    assert waits.count <= AT_MOST + expected.shape[1] * (1 + expected.shape[1]), waits.outside
    assert torch.allclose(simulated.at_home(found), expected, 1e-3, 1e-4)


def test_a_check_mixes_no_devices_and_never_waits_where_relevance_is_propagated():
    model = lrp3d.models.build("TSN-R18-f4", 4, width=4).eval()
    with simulated.device() as waits:
        found = lrp3d.check(simulated.moved(model), simulated.moved(torch.rand(1, 3, 4, 16, 16)), 2)
    assert found.values
    assert not waits.inside


# ------------------------------------------------------------------- what is asked at once is still said


def test_a_clip_that_is_not_finite_is_refused_on_a_device_as_well(small):
    model, clip = small
    with simulated.device(), pytest.raises(ValueError, match="the clip contains NaN or infinite values"):
        lrp3d.explain(simulated.moved(model), simulated.moved(clip.clone().index_fill_(2, torch.tensor(1), torch.nan)))


def test_a_clip_on_another_scale_is_warned_of_on_a_device_as_well(small):
    model, clip = small
    with simulated.device(), pytest.warns(UserWarning, match=r"the clip holds values from 0\.\d+ to 99\.\d+, but"):
        lrp3d.explain(simulated.moved(model), simulated.moved(clip * 100), 2, input_range=(0.0, 1.0))


class Gated(nn.Module):
    """Multiplied by a constant that depends on the clip: by zeros and ones, or by a negative number."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv3d(3, 4, 1), nn.Conv3d(4, 4, 1)

    def forward(self, x):
        features = self.first(x).relu() * x.detach().mean((1, 2, 3, 4), keepdim=True).sign()
        return self.second(features).mean((3, 4)).mean(2)


def test_an_answer_of_the_clip_before_is_not_taken_for_this_one():
    model, clip = Gated().eval(), torch.rand(1, 3, 4, 6, 6)
    with simulated.device():
        twin = lrp3d.convert(simulated.moved(model))
        lrp3d.explain(twin, simulated.moved(clip), 2)
        found = lrp3d.explain(twin, simulated.moved(-clip), 2)
    expected = lrp3d.explain(model, -clip, 2)
    assert torch.allclose(simulated.at_home(found.matrix), expected.matrix, 1e-4, 1e-6)


# --------------------------------------------------------------------------------------- the device itself


def test_the_device_refuses_what_a_gpu_refuses():
    with simulated.device(), pytest.raises(RuntimeError, match="expected all tensors to be on one device"):
        simulated.moved(torch.ones(2)) + torch.ones(2)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: torch.equal(x, x),
        lambda x: torch.ones(2).to(x.device),
        lambda x: torch.tensor([1.0], device=x.device),
    ],
)
def test_the_device_counts_what_a_gpu_would_be_waited_for(ask):
    with simulated.device() as waits:
        ask(simulated.moved(torch.ones(3)))
    assert waits.count == 1


class TwoFeatures(nn.Module):
    """One class has a negative weight for each of two features, which are the means of two channels."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(2, 2, 1, bias=False), nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(2).view(2, 2, 1, 1, 1))
            self.fc.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))

    def forward(self, clip):
        return self.fc(self.conv(clip).relu().mean((2, 3, 4)))


def test_what_a_twin_knows_of_zero_denominators_is_confirmed_for_every_clip():
    """Where nothing speaks for a class, what its logit is goes to all inputs alike; a twin may not expect that."""
    usual, unusual = torch.rand(1, 2, 2, 4, 4), torch.rand(1, 2, 2, 4, 4)
    unusual[:, 0] = 0
    options = {"target": 0, "contrastive": False, "input_range": (0, 1)}
    expected = [lrp3d.explain(TwoFeatures().eval(), clip, **options) for clip in (usual, unusual, usual)]
    with simulated.device() as waits:
        twin = lrp3d.convert(simulated.moved(TwoFeatures().eval()))
        lrp3d.explain(twin, simulated.moved(usual), **options)
        (known,) = twin.zero_denominators.values()
        before = sum(known)
        found = [lrp3d.explain(twin, simulated.moved(clip), **options) for clip in (usual, unusual, usual)]
        (known,) = twin.zero_denominators.values()
    assert before < sum(known) <= len(known)
    assert not waits.inside
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(simulated.at_home(one.relevance), other.relevance, 1e-4, 1e-6)
        assert torch.allclose(simulated.at_home(one.matrix), other.matrix, 1e-4, 1e-6)
        assert one.ledger.absorbed == pytest.approx(other.ledger.absorbed, abs=1e-5)
