"""A twin travels: to worker processes that are spawned, and through `copy.deepcopy`."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Linear(4, 5)
        self.pools = [nn.MaxPool3d((1, 2, 2))]
        self.conv.register_forward_hook(_nothing)

    def forward(self, x):
        return self.fc(self.pools[0](self.norm(self.conv(x)).relu()).mean((3, 4)).transpose(1, 2)).mean(1)


def _nothing(module, args, output):
    return None


def _by_torch(twin):
    file = io.BytesIO()
    torch.save(twin, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"pickle": lambda twin: pickle.loads(pickle.dumps(twin)), "deepcopy": copy.deepcopy, "torch.save": _by_torch}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("composite", lrp3d.composites.PRESETS)
def test_a_copied_twin_explains_as_the_twin_does(how, composite):
    torch.manual_seed(0)
    twin = lrp3d.convert(Net().eval(), composite)
    expected = lrp3d.explain(twin, CLIP)
    other = COPIES[how](twin)
    found = lrp3d.explain(other, CLIP, composite=composite)
    assert torch.equal(found.relevance, expected.relevance)
    assert torch.equal(found.matrix, expected.matrix)
    assert found.ledger == expected.ledger
    assert type(other.model).__name__ == "Net"
    with torch.no_grad():
        other.model.fc.bias += 1
    assert torch.equal(twin(CLIP), expected.logits), "a copy has parameters of its own"


@pytest.mark.parametrize("how", COPIES)
def test_what_a_twin_remembers_of_its_machine_stays_there(how):
    twin = lrp3d.convert(Net().eval())
    remembered = (twin.floors, twin.zero_denominators, twin.chunks_that_fit)
    for known in remembered:
        known["a kind of clip"] = 1
    other = COPIES[how](twin)
    assert not other.floors
    assert not other.zero_denominators
    assert not other.chunks_that_fit
    assert all(known == {"a kind of clip": 1} for known in remembered)


def test_models_of_the_package_travel():
    twin = lrp3d.convert(lrp3d.models.build("I3D-R18-f8", num_classes=3, width=8).eval())
    clip = torch.rand(1, 3, 8, 32, 32)
    again = pickle.loads(pickle.dumps(twin))
    assert torch.equal(lrp3d.explain(again, clip).matrix, lrp3d.explain(twin, clip).matrix)


def test_errors_travel_with_the_same_words():
    errors = (
        lrp3d.NoFrameLogits("of a reason"),
        lrp3d.UnsupportedOperation(["one", "two"]),
        lrp3d.CannotBeReset("it is scripted", "give the module that was scripted"),
        lrp3d.study.StudyError("no study"),
    )
    for error in errors:
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


def test_what_is_refused_of_a_model_that_runs_is_no_error_of_a_model_that_cannot_run():
    for kind in (lrp3d.NoMotion, lrp3d.CannotBeReset, lrp3d.NoFrameLogits):
        assert issubclass(kind, ValueError)
        assert not issubclass(kind, lrp3d.ModelError)
