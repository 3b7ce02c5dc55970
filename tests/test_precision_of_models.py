"""Types: the caller's autocast is not the model's, the model's own is, and small types lose no relevance."""

import copy
import threading

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.compute import precision

SMALL = {torch.float16: 2e-2, torch.bfloat16: 5e-2}
CLIP = torch.rand(2, 3, 6, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Pools, sums, norms; classifies every frame, or pools over time first."""

    def __init__(self, pooled):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv3d(3, 16, 3, padding=1), nn.BatchNorm3d(16)
        self.conv, self.pool, self.fc = nn.Conv3d(16, 16, 3, padding=1), nn.MaxPool3d((1, 2, 2)), nn.Linear(16, 5)
        self.pooled, self.autocast, self.cast = pooled, None, None

    def body(self, x):
        x = self.pool(torch.relu(self.norm(self.stem(x))))
        x = torch.relu(x + self.conv(x))
        x = x if self.cast is None else x.to(self.cast)
        return self.fc(x.mean((2, 3, 4))) if self.pooled else self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)

    def forward(self, x):
        if self.autocast is None:
            return self.body(x)
        with torch.autocast("cpu", dtype=self.autocast):
            return self.body(x)


@pytest.fixture(params=[False, True], ids=["per frame", "pooled"])
def model(request):
    return Net(request.param).eval()


def far(found, expected):
    """How far a matrix and its maps are from others, relative to these."""
    pairs = [(found.matrix, expected.matrix), (found.relevance, expected.relevance)]
    return max(float((a.float() - b.float()).norm() / b.float().norm()) for a, b in pairs)


@pytest.mark.parametrize("dtype", SMALL)
def test_the_callers_autocast_changes_nothing(model, dtype):
    expected = lrp3d.explain(model, CLIP)
    measured = lrp3d.intervention_matrix(model, CLIP)
    with torch.autocast("cpu", dtype=dtype):
        found = lrp3d.explain(model, CLIP)
        assert torch.equal(lrp3d.intervention_matrix(model, CLIP), measured)
        assert torch.equal(lrp3d.frame_logits(model, CLIP), expected.frame_logits)
        assert str(lrp3d.inspect(model, CLIP)) == str(lrp3d.inspect(model, CLIP))
        assert torch.is_autocast_enabled("cpu")
    assert far(found, expected) == 0
    assert found.logits.dtype == found.matrix.dtype == torch.float32


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("contrastive", [True, False])
def test_a_model_with_an_autocast_of_its_own_is_explained_as_it_runs(model, dtype, contrastive):
    expected = lrp3d.explain(model, CLIP, contrastive=contrastive)
    model.autocast = dtype
    found = lrp3d.explain(model, CLIP, contrastive=contrastive)
    assert torch.equal(found.logits, model(CLIP))
    assert not torch.equal(found.logits.float(), expected.logits)
    assert far(found, expected) < SMALL[dtype]
    assert found.conservation.max() < torch.finfo(dtype).eps, "the mean of frame logits was rounded"
    assert lrp3d.intervention_matrix(model, CLIP).shape == (2, 6, 6)


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("contrastive", [True, False])
def test_a_model_in_a_small_type_has_the_relevance_of_float32(model, dtype, contrastive):
    expected = lrp3d.explain(model, CLIP, [0, 1], contrastive=contrastive)
    small = copy.deepcopy(model).to(dtype)
    found = lrp3d.explain(small, CLIP.to(dtype), [0, 1], contrastive=contrastive)
    assert far(found, expected) < SMALL[dtype]
    assert found.conservation.max() < torch.finfo(dtype).eps, "the mean of frame logits was rounded"
    assert found.logits.dtype == dtype
    assert found.matrix.dtype == found.relevance.dtype == torch.float32
    torch.testing.assert_close(found.matrix.sum(2), found.frame_logits)
    assert lrp3d.intervention_matrix(small, CLIP.to(dtype), [0, 1]).shape == (2, 6, 6)


def test_relevance_does_not_pass_through_a_type_that_the_model_casts_to(model):
    model.cast = torch.float32
    small = copy.deepcopy(model).half()
    small.fc.float()
    found = lrp3d.explain(small, CLIP.half(), contrastive=False)
    assert found.conservation.max() < 1e-3
    assert far(found, lrp3d.explain(model, CLIP, found.target, contrastive=False)) < SMALL[torch.float16]


class Mixed(Net):
    """Multiplies features by constants of another type than theirs, which autocast allows."""

    def __init__(self, how):
        super().__init__(False)
        self.how, self.weight = how, nn.Parameter(torch.randn(16, 16))

    def body(self, x):
        x = self.stem(x).relu().mean((3, 4)).transpose(1, 2)
        small = self.weight if self.autocast is None else self.weight.to(self.autocast)
        if self.how == "einsum":
            x = torch.einsum("bti,ij->btj", x, self.weight)
        elif self.how == "matrix":
            x = x.float() @ small
        elif self.how == "batch of matrices":
            x = torch.bmm(x.float(), small.expand(len(x), -1, -1))
        else:
            x = nn.functional.conv1d(x.float().mT, small[:, :, None]).mT
        return self.fc(x).mean(1)


@pytest.mark.parametrize("dtype", SMALL)
@pytest.mark.parametrize("how", ["einsum", "matrix", "batch of matrices", "convolution"])
def test_constants_of_another_type_than_the_features_are_met_as_autocast_meets_them(how, dtype):
    model = Mixed(how).eval()
    expected = lrp3d.explain(model, CLIP, 1, contrastive=False)
    model.autocast = dtype
    found = lrp3d.explain(model, CLIP, 1, contrastive=False)
    assert far(found, expected) < SMALL[dtype]
    assert found.conservation.max() < torch.finfo(dtype).eps


def test_torchs_settings_are_put_back_by_the_last_of_several_threads():
    """They are those of the process: whoever ends first must not take them from the others."""
    device = torch.device("cpu")
    (holder, name, exact, _), *_ = precision._settings(device)
    before, other = getattr(holder, name), "bf16" if exact == "ieee" else "medium"
    setattr(holder, name, other)
    try:
        first, second = (precision.matmul_precision("highest", device) for _ in range(2))
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert getattr(holder, name) == exact, "the second one still computes"
        second.__exit__(None, None, None)
        assert getattr(holder, name) == other
    finally:
        setattr(holder, name, before)


def test_a_gpu_that_rounds_otherwise_is_waited_for(monkeypatch):
    class Setting:
        value = "tf32"

    settings = [(Setting, "value", "ieee", "tf32")]
    monkeypatch.setattr(precision, "_settings", lambda device: settings)
    device, seen = torch.device("cpu"), []

    def work():
        with precision.matmul_precision("high", device):
            seen.append(Setting.value)

    thread = threading.Thread(target=work)
    with precision.matmul_precision("highest", device):
        thread.start()
        thread.join(0.2)
        assert (seen, Setting.value) == ([], "ieee")
        with pytest.raises(RuntimeError, match="an explanation inside another one"):  # noqa: SIM117
            with precision.matmul_precision("high", device):
                pass
    thread.join()
    assert (seen, Setting.value) == (["tf32"], "tf32")


def test_logits_that_are_rounded_at_the_end_are_those_of_their_frames_up_to_rounding():
    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.fc = nn.Conv3d(3, 8, 3, padding=1), nn.Linear(8, 5)

        def forward(self, x):
            return self.fc(self.conv(x).relu().mean((3, 4)).transpose(1, 2).mean(1)).half()

    for seed in range(5):
        clip = torch.rand(1, 3, 8, 8, 8, generator=torch.Generator().manual_seed(seed))
        assert lrp3d.explain(Rounded().eval(), clip).matrix.shape == (1, 8, 8)
