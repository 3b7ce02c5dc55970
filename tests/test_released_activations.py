"""Memory: an activation is freed as soon as it is part of a denominator, unless seeds read it; nothing else changes."""

import gc
import inspect
import weakref

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.steps.factor import Factor, Held, Released
from lrp3d.steps.linear import LinearStep

D = torch.float64


class BranchOfASumUsedAgain(nn.Module):
    """A branch with few channels inside is a summand, and goes on by itself as well; its own total is never needed."""

    def __init__(self):
        super().__init__()
        self.stem, self.first, self.second = (
            nn.Conv3d(channels, 8, 3, padding=1, bias=False) for channels in (3, 8, 8)
        )
        self.reduce, self.expand = nn.Conv3d(8, 2, 1, bias=False), nn.Conv3d(2, 8, 1, bias=False)
        self.classifier = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x).relu()
        branch = self.expand(self.reduce(x).relu()).relu()
        features = self.first(branch + x).relu() + self.second(branch).relu()
        return self.classifier(features.mean((2, 3, 4)))


NETS = {
    "I3D": lambda: lrp3d.models.build("I3D-R18-f4", num_classes=5, width=8),
    "TAM2D": lambda: lrp3d.models.build("TAM2D-R50-f4", num_classes=5, width=8),
    "Inception": lambda: lrp3d.models.build("TAM2D-Inception-f4", num_classes=5),
    "TSM": lambda: lrp3d.models.build("TSM-R18-f4", num_classes=5, width=8),
    "SlowFast": lambda: lrp3d.models.slowfast_resnet50(num_classes=5, frames=8, alpha=4, width=8),
    "branch of a sum that is used again": BranchOfASumUsedAgain,
    "plain": lambda: nn.Sequential(
        *(layer for c in (3, 6, 6, 6) for layer in (nn.Conv3d(c, 6, 3, padding=1), nn.ReLU())),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    ),
    "classifier of every frame": lambda: nn.Sequential(
        *(layer for c in (3, 6, 6, 6) for layer in (nn.Conv3d(c, 6, 3, padding=1), nn.ReLU())),
        nn.AdaptiveAvgPool3d((None, 1, 1)),
        nn.Conv3d(6, 5, 1),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
    ),
}


DEEP = {"I3D", "Inception", "TSM", "SlowFast"}


def with_options(*options):
    """Every network with each of the options; of the deep ones but TAM2D, all but the first are slow tests."""
    return pytest.mark.parametrize(
        ("name", "options"),
        [
            pytest.param(name, one, id=f"{one}-{name}", marks=[pytest.mark.slow] if one and name in DEEP else [])
            for one in options
            for name in NETS
        ],
    )


def made(name):
    torch.manual_seed(0)
    return NETS[name]().eval().double()


def clip(name="plain"):
    frames = 8 if name == "SlowFast" else 4
    return torch.randn(1, 3, frames, 32, 32, generator=torch.Generator().manual_seed(1), dtype=D).clamp(-2, 2)


def test_activations_are_freed_while_the_first_seed_is_propagated(monkeypatch):
    model = made("plain")
    outputs, alive = [], []
    for module in model:
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: outputs.append(weakref.ref(output)))
    propagate = ClipRelevance._propagate

    def counted(self, *args, **kwargs):
        gc.collect()
        alive.append(sum(output() is not None for output in outputs))
        return propagate(self, *args, **kwargs)

    monkeypatch.setattr(ClipRelevance, "_propagate", counted)
    gc.freeze()  # what other tests hold need not be searched every time
    twin = lrp3d.convert(model)
    lrp3d.explain(twin, clip(), 0, chunk_size=1)
    outputs.clear(), alive.clear()  # the first clip also runs by the model's own forward
    lrp3d.explain(twin, clip(), 0, chunk_size=1)
    gc.unfreeze()
    assert len(outputs) == 4
    # The map, four rows, and one side of the contrast; at the pooled features the map and the rows meet.
    assert alive == [4, 1, 1, 1, 1, 1]


@with_options({}, {"temporal": False}, {"contrastive": False}, {"layers": ["*"]})
def test_an_explanation_is_the_same_if_nothing_is_released(monkeypatch, name, options):
    model = made(name)
    released = lrp3d.explain(model, clip(name), 1, chunk_size=1, **options)
    monkeypatch.setattr(Held, "release", lambda self: None)
    monkeypatch.setattr(LinearStep, "release", lambda self, lazy: None)
    kept = lrp3d.explain(model, clip(name), 1, chunk_size=1, **options)
    torch.testing.assert_close(released.relevance, kept.relevance, rtol=0, atol=0)
    torch.testing.assert_close(released.matrix, kept.matrix, rtol=0, atol=0)
    torch.testing.assert_close(released.layers, kept.layers, rtol=0, atol=0)
    assert released.ledger == kept.ledger
    assert released.conservation.max() < 1e-10


@pytest.mark.parametrize("name", NETS)
def test_every_step_is_prepared_once_wherever_seeds_start(monkeypatch, name):
    """Rows start at frame logits, maps at the clip's logit, one side of a contrast below the classifier."""
    prepared = []
    prepare = LinearStep._prepare

    def counted(self, lazy):
        if not (self.is_classifier or self.after_classifier):
            prepared.append(self.site)
        prepare(self, lazy)

    monkeypatch.setattr(LinearStep, "_prepare", counted)
    lrp3d.explain(made(name), clip(name), 0, chunk_size=1)
    assert prepared
    assert len(set(map(id, prepared))) == len(prepared)


@pytest.fixture
def released_is_an_error(monkeypatch):
    """Elsewhere, a test fails at once."""
    monkeypatch.setattr(Released, "__init__", RuntimeError.__init__)


def test_what_seeds_read_is_not_released(released_is_an_error):
    read, unread = Factor(torch.ones(2)), Factor(torch.ones(2))
    read.parts(None)
    for factor in (read, unread):
        factor.held.release()
    assert read.activation.sum() == 2
    with pytest.raises(Released, match="released"):
        unread.whole()


def test_a_network_whose_seeds_read_what_was_released_is_explained_with_all_activations_kept(
    monkeypatch, released_is_an_error
):
    model = made("TAM2D")
    expected = lrp3d.explain(model, clip(), 0, chunk_size=1)
    monkeypatch.setattr(Held, "is_read", property(lambda self: False, lambda self, value: None), raising=False)
    with pytest.raises(Released):
        inspect.unwrap(lrp3d.explain)(model, clip(), 0, chunk_size=1)
    found = lrp3d.explain(model, clip(), 0, chunk_size=1)
    torch.testing.assert_close(found.matrix, expected.matrix, rtol=0, atol=0)


def test_branches_of_one_activation_release_it_together():
    x = torch.ones(2)
    branch, shortcut = Factor(x), Factor(x, torch.full((2,), 3.0))
    values = weakref.ref(x)
    del x
    assert branch.of_one_activation(shortcut)
    branch.held.release()
    assert branch.of_one_activation(shortcut)
    assert values() is None


@pytest.mark.parametrize("first", [0, 1])
def test_a_branch_that_is_read_keeps_the_activation_of_all_branches(first):
    x = torch.ones(2)
    branches = [Factor(x), Factor(x)]
    branches[first].parts(None)
    assert branches[0].of_one_activation(branches[1])
    branches[1].held.release()
    assert branches[0].activation is branches[1].activation
