"""The floor of a matrix: the same network untrained, once for every twin, and never at the model's cost."""

import copy
from functools import partial

import einops
import pytest
import torch
from test_conservation import CLIP, Frames, net
from torch import nn

import lrp3d
from lrp3d.commands import one_clip
from lrp3d.explanation.clip_report import report
from lrp3d.metrics.atr import row_shares
from lrp3d.twin.untrained import CannotBeReset, untrained


class Normed(Frames):
    def __init__(self, **options):
        super().__init__(**options)
        self.norm = nn.BatchNorm3d(4)

    def forward(self, x):
        x = self.norm(torch.relu(self.first(x)))
        return self.fc(torch.relu(self.second(x)).mean((3, 4)).transpose(1, 2)).mean(1)


class Own(Frames):
    """Has a parameter that nobody can draw anew."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(4))

    def forward(self, x):
        return super().forward(x * self.scale.mean())


def test_the_floor_has_the_rows_sums_and_the_matrix_stands_above_it():
    found = lrp3d.explain(net(), CLIP, floor=True)
    torch.testing.assert_close(found.floor.sum(2), found.matrix.sum(2))
    assert found.floor.shape == found.matrix.shape
    excess = lrp3d.excess_span(found.matrix, found.floor)
    assert found.excess.span.equal(excess.span)
    assert lrp3d.explain(net(), CLIP).floor is None
    assert lrp3d.explain(net(), CLIP).excess is None


@pytest.mark.parametrize("contrastive", [True, False])
def test_the_floor_is_that_of_the_architecture_whatever_the_weights_and_the_clip(contrastive):
    one, other = (
        lrp3d.explain(net(seed=seed), CLIP * (seed + 1), floor=True, contrastive=contrastive, input_range=(0.0, 2.0))
        for seed in (0, 1)
    )
    torch.testing.assert_close(row_shares(one.floor), row_shares(other.floor))


def test_it_is_the_mean_of_the_shares_of_untrained_networks_row_by_row():
    """By hand: the noise, the network reset, its statistics, its matrix."""
    model = Normed().double().eval()
    found = lrp3d.explain(model, CLIP, floor=3, input_range=(0.0, 1.0))
    shares = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand((2, 3, 4, 5, 5), generator=generator, dtype=torch.float64)
        again = copy.deepcopy(model)
        torch.manual_seed(seed)
        for module in reversed(list(again.modules())):
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        again.norm.train()
        again.norm.momentum = None
        again(noise)
        again.eval()
        matrix = lrp3d.explain(again, noise[:1], 0, input_range=(0.0, 1.0)).matrix[0]
        shares.append(row_shares(matrix))
    expected = sum(shares) / 3 * found.matrix.sum(2, keepdim=True)
    torch.testing.assert_close(found.floor, expected)


def test_a_twin_pays_it_once(monkeypatch):
    twin = lrp3d.convert(net())
    first = lrp3d.explain(twin, CLIP, floor=True)
    monkeypatch.setattr("lrp3d.floor._measure", None)
    again = lrp3d.explain(twin, CLIP[:1] / 2, floor=True)
    torch.testing.assert_close(row_shares(again.floor), row_shares(first.floor[:1]))


def test_ranges_that_differ_in_any_digit_have_floors_of_their_own(monkeypatch):
    """A tensor is printed with four digits, so that its text is no key."""
    measured = []
    monkeypatch.setattr("lrp3d.floor._measure", lambda *args: measured.append(1) or torch.full((4, 4), 0.25).double())
    twin = lrp3d.convert(net())
    low, high = torch.full((3,), -1.0).double(), torch.full((3,), 2.0).double()
    for ends in ((low, high), (low, high + 1e-6), (low.tolist(), high.tolist()), [low, high.clone()]):
        lrp3d.explain(twin, CLIP, floor=True, input_range=ends)
    assert len(measured) == 2


class Sized(Frames):
    """Takes frames of 64 x 64 pixels alone."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def forward(self, x):
        if x.shape[-1] != 64:
            raise type(self.error)(*self.error.args)  # one that is kept would keep the frames of its traceback
        return super().forward(x)


LARGE = torch.rand(1, 3, 4, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "error", [AssertionError("64 x 64"), ValueError("64 x 64"), KeyError(32), RuntimeError("size")]
)
def test_a_network_may_refuse_frames_of_half_the_size(error):
    assert lrp3d.explain(Sized(error).eval(), LARGE, floor=True).floor is not None


def test_a_bug_at_half_the_size_is_not_hidden():
    with pytest.raises(lrp3d.ModelError, match=r"4, 32, 32\): NameError: missing"):
        lrp3d.explain(Sized(NameError("missing")).eval(), LARGE, floor=True)


def test_a_twin_keeps_a_few_floors_and_not_one_for_every_function_that_picks_the_logits(monkeypatch):
    monkeypatch.setattr("lrp3d.floor._measure", lambda *args: torch.full((4, 4), 0.25, dtype=torch.double))
    twin = lrp3d.convert(net())
    for _ in range(lrp3d.floor.KEPT + 3):
        lrp3d.explain(twin, CLIP, floor=True, output=lambda logits: logits)
    assert len(twin.floors) == lrp3d.floor.KEPT


def test_the_model_its_twin_and_the_callers_random_numbers_stay_as_they_are():
    model = Normed().double().eval()
    twin = lrp3d.convert(model)
    before, random = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    lrp3d.explain(twin, CLIP, floor=True)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert random.equal(torch.random.get_rng_state())
    assert all(a is b for a, b in zip(model.parameters(), twin.model.parameters(), strict=True))


def test_nothing_of_the_trained_network_is_left():
    twin = lrp3d.convert(Normed().double().eval())
    one = untrained(twin, 0, torch.rand_like(CLIP))
    for name, x in one.model.named_parameters():
        assert not torch.equal(x, dict(twin.model.named_parameters())[name]) or len(x.unique()) == 1


def test_a_module_that_cannot_be_reset_is_named():
    with pytest.raises(CannotBeReset, match=r"the model itself \(Own\) cannot be reset; give every parameter a module"):
        lrp3d.explain(Own().double().eval(), CLIP, floor=True)


def test_a_reset_that_leaves_parameters_as_they_are_is_noticed():
    model = net()
    model.second = nn.utils.parametrizations.weight_norm(model.second)
    with pytest.raises(CannotBeReset, match=r"'second"):
        lrp3d.explain(model, CLIP, floor=True)


@pytest.mark.parametrize("how", ["a part", "a script", "a trace"])
def test_scripts_whose_parameters_are_the_models_own_are_refused_before_anything_is_written(how):
    model = net()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    given = {"a script": torch.jit.script, "a trace": partial(torch.jit.trace, example_inputs=CLIP)}.get(how)
    if given is None:
        model.second, given = torch.jit.script(model.second), lambda model: model
    with pytest.raises(CannotBeReset, match=r"('second'|the model) is scripted"):
        lrp3d.explain(given(model), CLIP, floor=True)
    with pytest.raises(lrp3d.UnsupportedOperation), pytest.warns(UserWarning, match="is left out"):
        lrp3d.check(given(model), CLIP)
    assert all(x.equal(before[name]) for name, x in model.state_dict().items())


class Listed(nn.Module):
    """Layers in a list, of whatever kind."""

    def __init__(self, layers):
        super().__init__()
        self.layers, self.fc = layers, nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.fc(x.mean((2, 3, 4)))


def closures(layers):
    return [lambda x: layers[0](x), lambda x: layers[1](x)]


@pytest.mark.parametrize("kept", [list, tuple, closures])
def test_modules_that_are_not_registered_are_drawn_anew_as_others_are(kept):
    torch.manual_seed(0)
    layers = [nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4)]
    with torch.no_grad():
        layers[0].weight *= torch.tensor([0.1, 1, 3]).view(1, 1, 3, 1, 1)  # as if it had been trained
    registered, other = (Listed(each).double().eval() for each in (nn.ModuleList(layers), kept(layers)))
    for layer in layers:
        layer.double().eval()
    other.fc = registered.fc
    found, expected = (lrp3d.explain(model, CLIP, 1, floor=True, contrastive=False) for model in (other, registered))
    torch.testing.assert_close(found.matrix, expected.matrix)
    torch.testing.assert_close(found.floor, expected.floor)


LOOSE = nn.Parameter(torch.rand(4, 3, 1, 1, 1, dtype=torch.float64))


def test_a_parameter_that_belongs_to_no_module_is_named():
    for layers in ([lambda x: nn.functional.conv3d(x, LOOSE)], [partial(nn.functional.conv3d, weight=LOOSE)]):
        with pytest.raises(CannotBeReset, match=r"a parameter \(4, 3, 1, 1, 1\) that belongs to no module"):
            lrp3d.explain(Listed(layers).double().eval(), CLIP, floor=True)


def test_it_is_measured_in_inference_mode_as_well():
    expected = lrp3d.explain(net(), CLIP, floor=True).floor
    with torch.inference_mode():
        torch.testing.assert_close(lrp3d.explain(net(), CLIP, floor=True).floor, expected)


def test_a_network_for_one_clip_at_a_time_has_a_floor():
    class One(Frames):
        def forward(self, x):
            assert len(x) == 1
            return super().forward(x)

    assert lrp3d.explain(One().double().eval(), CLIP[:1], floor=True).floor is not None


def test_large_frames_are_looked_at_on_every_other_pixel(monkeypatch):
    seen = []

    class Seen(Frames):
        def forward(self, x):
            seen.append(tuple(x.shape))
            return super().forward(x)

    lrp3d.explain(Seen().eval(), torch.rand(1, 3, 4, 64, 70), floor=True)
    assert set(seen) == {(1, 3, 4, 64, 70), (1, 3, 4, 32, 35)}


def test_a_network_for_one_size_of_frames_has_its_floor_from_that_size():
    class Fixed(Frames):
        def forward(self, x):
            if x.shape[-1] != 64:
                raise RuntimeError("frames of 64 pixels only")
            return super().forward(x)

    found = lrp3d.explain(Fixed().eval(), torch.rand(1, 3, 4, 64, 64), floor=True)
    torch.testing.assert_close(found.floor.sum(2), found.matrix.sum(2))


@pytest.mark.parametrize("layout", ["btchw", "tbchw", "cbthw", "b (t c) h w", "(b t) c h w"])
def test_it_is_the_same_in_every_layout(layout):
    from lrp3d.layout import laid_out

    class Laid(Frames):
        def forward(self, x):
            import einops

            return super().forward(einops.rearrange(x, f"{pattern} -> b c t h w", c=3, t=4))

    pattern = layout if "(" in layout else " ".join(layout)
    torch.manual_seed(0)
    options = {"floor": True, "input_range": ([0, -1, 0], [1, 1, 2])}
    found = lrp3d.explain(Laid().double().eval(), laid_out(CLIP, layout), layout=layout, **options)
    torch.testing.assert_close(found.floor.sum(2), found.matrix.sum(2))
    torch.manual_seed(0)
    usual = lrp3d.explain(Frames().double().eval(), CLIP, **options).floor
    if "(b" not in layout:  # there the noise has as many clips as were given, which differ in what they show
        torch.testing.assert_close(found.floor, usual)


def test_what_has_no_matrix_has_no_floor():
    for options in ({"temporal": False}, {"against": "next"}):
        with pytest.raises(ValueError, match="the floor is that of a matrix of one class"):
            lrp3d.explain(net(), CLIP, floor=True, **options)


def test_it_is_saved_and_said(tmp_path):
    found = lrp3d.explain(net(), CLIP, floor=True)
    found.save(tmp_path / "one.safetensors")
    again = lrp3d.Explanation.load(tmp_path / "one.safetensors")
    assert again.floor.equal(found.floor)
    assert "above floor" in repr(again)
    page = report(again, torch.zeros(4, 5, 5, 3, dtype=torch.uint8))
    assert "What comes from the architecture alone" in page
    assert one_clip.ClipOptions().floor is None  # on where it can be had


def test_the_floor_of_several_draws_is_their_mean_and_one_draw_is_the_first_of_them():
    shares = {
        draws: lrp3d.explain(net(), CLIP, floor=draws, contrastive=False, input_range=(0.0, 1.0)).floor
        for draws in (True, 1, 2)
    }
    assert shares[True].equal(shares[1])
    assert not shares[2].allclose(shares[1])
    torch.testing.assert_close(shares[2].sum(-1), shares[1].sum(-1))


def test_a_floor_that_is_no_number_of_draws_is_refused():
    for wrong in (-1, 1.5, "yes"):
        with pytest.raises(ValueError, match="floor must be True, False, or how many untrained networks"):
            lrp3d.explain(net(), CLIP, floor=wrong)


class OneSize(Frames):
    """Takes frames of 64 pixels only."""

    def __init__(self):
        super().__init__()
        self.whole = nn.Linear(4 * 64 * 64, 3)

    def forward(self, x):
        return self.whole(torch.relu(self.first(x)).transpose(1, 2).flatten(2)).mean(1)


def test_as_many_networks_are_averaged_where_frames_have_one_size_only():
    model, clip = OneSize().eval(), torch.rand(1, 3, 4, 64, 64)
    one, two = (row_shares(lrp3d.explain(model, clip, floor=draws, contrastive=False).floor) for draws in (1, 2))
    assert not two.allclose(one, atol=1e-4)


def test_a_network_may_refuse_frames_of_half_the_size_by_any_error():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc = nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8)), nn.Linear(256, 5)

        def forward(self, x):
            patches = einops.rearrange(self.conv(x).relu(), "b c t (h k) (w l) -> b t (c h w k l)", h=8, w=8)
            return self.fc(patches).mean(1)

    assert lrp3d.explain(Patches().eval(), torch.randn(1, 3, 4, 64, 64), 1, floor=True).floor is not None
