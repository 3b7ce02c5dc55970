"""Which rule goes to which layer: a name, then a position, then an operation, then a type."""

import re
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d
from lrp3d.rules import (
    AlphaBeta,
    Contrastive,
    Epsilon,
    Flat,
    Gamma,
    Identity,
    Rule,
    SameSign,
    WinnerTakesAll,
    WSquare,
    ZBeta,
    ZPlus,
)

CLIP = torch.randn(1, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv3d(3, 4, 1)
        self.block = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU())
        self.pool = nn.MaxPool3d(2)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        x = self.pool(x + self.block(x))
        return self.fc(x.mean((3, 4)).transpose(1, 2)).mean(1)


def rules(composite, contrastive=False):
    rows = lrp3d.inspect(Net().eval(), CLIP, composite=composite, contrastive=contrastive)
    return {row.name: row.rule for row in rows}


def test_paper_is_z_beta_at_the_clip_z_plus_elsewhere_and_identity_where_nothing_is_shared():
    assert rules("paper") == {
        "stem": str(ZBeta()),
        "relu": str(Identity()),
        "block.0": str(ZPlus()),
        "block.1": str(Identity()),
        "block.2": str(Identity()),
        "add": str(ZPlus()),
        "pool": str(WinnerTakesAll()),
        "mean": str(ZPlus()),
        "transpose": "moves values",
        "fc": str(ZPlus()),
        "mean_1": str(Epsilon(0.0)),
    }
    assert rules("paper", contrastive=True)["fc"] == str(Contrastive(ZPlus()))


@pytest.mark.parametrize(
    ("preset", "stem", "inner", "head"),
    [
        ("epsilon", Epsilon(), Epsilon(), Epsilon()),
        ("epsilon_plus", ZPlus(), ZPlus(), Epsilon()),
        ("alpha_beta", AlphaBeta(2.0, 1.0), AlphaBeta(2.0, 1.0), Epsilon()),
        ("epsilon_gamma_box", ZBeta(), Gamma(0.25), Epsilon()),
    ],
)
def test_presets(preset, stem, inner, head):
    found = rules(preset)
    assert (found["stem"], found["block.0"], found["fc"]) == (str(stem), str(inner), str(head))
    assert rules(getattr(lrp3d.composites, preset)) == found
    lrp3d.explain(Net().eval(), CLIP, composite=preset)


def test_an_exact_name_goes_before_everything():
    composite = lrp3d.Composite(
        layers={nn.Conv3d: WSquare()},
        names={"stem": Flat(), "add": Epsilon()},
        first=ZPlus(),
        operations={torch.add: Flat()},
    )
    found = rules(composite)
    assert (found["stem"], found["add"], found["block.0"]) == (str(Flat()), str(Epsilon()), str(WSquare()))


def test_a_position_goes_before_a_type():
    found = rules(
        lrp3d.Composite(layers={nn.Conv3d: WSquare(), nn.Linear: WSquare()}, first=Flat(), classifier=Gamma())
    )
    assert (found["stem"], found["block.0"], found["fc"]) == (str(Flat()), str(WSquare()), str(Gamma()))


def test_an_operation_means_every_way_of_writing_it():
    class Sums(Net):
        def forward(self, x):
            x = F.relu(self.stem(x))
            y = x + self.block(x)
            y += x
            y = torch.add(y, x)
            y = y.add(x)
            return self.fc(self.pool(y).mean((3, 4)).transpose(1, 2)).mean(1)

    rows = lrp3d.inspect(Sums().eval(), CLIP, composite=lrp3d.Composite(operations={torch.add: Flat()}))
    assert [row.rule for row in rows if row.operation in ("add", "iadd")] == [str(Flat())] * 4


@pytest.mark.parametrize("composite", ["epsilon", lrp3d.Composite(operations={torch.add: lrp3d.rules.Epsilon(0.0)})])
def test_a_number_that_is_added_is_the_constant_that_a_tensor_of_it_is(composite):
    class Shifted(nn.Module):
        def __init__(self, constant):
            super().__init__()
            self.constant = constant

        def forward(self, x):
            return torch.relu(x) + self.constant

    x, r = torch.tensor([[1.0, 3.0]], requires_grad=True), torch.tensor([[2.0, 2.0]])
    for constant in (1.0, torch.tensor(1.0)):
        twin = lrp3d.convert(Shifted(constant), composite)
        torch.testing.assert_close(torch.autograd.grad(twin(x), x, r)[0], torch.tensor([[1.0, 1.5]]))


def test_a_pattern_meets_layers_that_share_and_nothing_else():
    found = rules(lrp3d.Composite(names={"block.*": Epsilon(), "*": WSquare()}))
    assert found["block.0"] == str(Epsilon())
    assert found["block.1"] == found["block.2"] == str(Identity())
    assert (found["stem"], found["fc"]) == (str(WSquare()), str(WSquare()))
    assert (found["add"], found["pool"]) == (str(ZPlus()), str(WinnerTakesAll()))


def test_a_type_matches_its_subclasses_and_the_nearest_wins():
    class Mine(nn.Conv3d):
        pass

    model = Net()
    model.stem = Mine(3, 4, 1)
    rows = lrp3d.inspect(model.eval(), CLIP, composite=lrp3d.Composite(layers={nn.Conv3d: Flat(), Mine: WSquare()}))
    found = {row.name: row.rule for row in rows}
    assert (found["stem"], found["block.0"]) == (str(WSquare()), str(Flat()))


def test_a_function_counts_as_the_layer_that_does_the_same():
    class Functional(Net):
        def forward(self, x):
            x = F.relu(F.conv3d(x, self.stem.weight, self.stem.bias))
            return F.linear(x.mean((3, 4)).transpose(1, 2), self.fc.weight, self.fc.bias).mean(1)

    rows = lrp3d.inspect(
        Functional().eval(),
        CLIP,
        composite=lrp3d.Composite(layers={nn.Conv3d: Flat(), nn.Linear: WSquare()}),
        contrastive=False,
    )
    found = {row.name: row.rule for row in rows}
    assert (found["conv3d"], found["linear"]) == (str(Flat()), str(WSquare()))


def test_batch_norm_may_take_another_rule():
    """Then it is the linear layer that it is: factor and offset per channel."""
    torch.manual_seed(1)  # a network whose activations are not all zero
    model = Net().eval().double()
    model.block[1].running_mean.normal_(generator=torch.Generator().manual_seed(1))
    composite = lrp3d.Composite(layers={nn.BatchNorm3d: Epsilon()})
    assert rules(composite)["block.1"] == str(Epsilon())
    explanation = lrp3d.explain(model, CLIP.double(), composite=composite, contrastive=False)
    absorbed = {entry.layer: entry.absorbed for entry in explanation.ledger}
    assert abs(absorbed["block.1"]) > 1e-6
    assert abs(explanation.relevance.sum() + explanation.ledger.absorbed - explanation.logits.max()) < 1e-9


def test_classifier_and_first_layer_are_found_from_the_run_not_from_names():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Conv3d(3, 4, 1)
            self.side = nn.Conv3d(3, 4, 1)
            self.stem = nn.Conv3d(8, 5, 1)

        def forward(self, x):
            normal = (x - 0.4) / 0.2
            y = torch.cat([self.fc(normal), self.side(normal[:, :, ::2]).repeat_interleave(2, 2)], 1)
            return self.stem(F.relu(y)).mean((2, 3, 4))

    found = {row.name: row.rule for row in lrp3d.inspect(Odd().eval(), CLIP)}
    assert found["fc"] == found["side"] == str(ZBeta())
    assert found["stem"] == str(Contrastive(ZPlus()))


def test_a_rule_that_makes_no_sense_somewhere_is_refused_there():
    for composite, layer in [
        (lrp3d.Composite(layers={nn.ReLU: ZPlus()}), "relu"),
        (lrp3d.Composite(names={"fc": WinnerTakesAll()}), "fc"),
        (lrp3d.Composite(layers={nn.MaxPool3d: Flat()}), "pool"),
        (lrp3d.Composite(names={"fc": Identity()}), "fc"),
    ]:
        with pytest.raises(ValueError, match=f"'{layer}'"):
            lrp3d.explain(Net().eval(), CLIP, composite=composite)
    with pytest.raises(ValueError, match="range of valid inputs"):
        lrp3d.explain(Net().eval(), CLIP, composite=lrp3d.Composite(names={"block.0": ZBeta()}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blok.*", "'blok.*' fits no layer that ran and shares relevance; lrp3d.inspect"),
        ("nonsense", "'nonsense' fits nothing that ran and has a rule; lrp3d.inspect"),
        ("block", "'block' fits nothing that ran and has a rule; did you mean 'block.*'?"),
        ("relu*", "'relu*' fits no layer"),
        ("fcc", "'fcc' fits nothing that ran and has a rule; did you mean 'fc'?"),
        ("net.fc", "'net.fc' fits nothing"),
    ],
)
def test_a_name_that_fits_nothing_in_the_model_is_refused(name, message):
    composite = lrp3d.Composite(names={"fc": Epsilon(), name: Flat()})
    for call in (lrp3d.explain, lrp3d.inspect):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(Net().eval(), CLIP, composite=composite)


@pytest.mark.parametrize(
    ("entries", "is_unused"),
    [
        ({"layers": {nn.Conv2d: Epsilon()}}, True),
        ({"operations": {torch.mul: Identity()}}, True),
        ({"layers": {nn.Conv2d: Epsilon(), nn.Conv3d: Epsilon()}}, False),
        ({"layers": {nn.Conv2d: Epsilon()}, "classifier": ZPlus()}, False),
    ],
)
def test_a_composite_of_which_the_model_has_nothing_is_no_silent_paper(entries, is_unused):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lrp3d.explain(Net().eval(), CLIP, composite=lrp3d.Composite(**entries))
    said = [str(warning.message) for warning in caught if "has none of the layers" in str(warning.message)]
    assert len(said) == is_unused


def test_a_pattern_leaves_out_layers_without_use_for_its_rule_unless_that_is_all_of_them():
    found = rules(lrp3d.Composite(names={"*": WinnerTakesAll()}))
    assert (found["pool"], found["stem"]) == (str(WinnerTakesAll()), str(ZBeta()))
    for pattern in ("f*", "block.*"):
        composite = lrp3d.Composite(names={pattern: WinnerTakesAll()})
        with pytest.raises(ValueError, match=re.escape(f"cannot be the rule of any layer that {pattern!r} fits")):
            lrp3d.explain(Net().eval(), CLIP, composite=composite)


def test_of_several_patterns_the_first_counts_so_that_their_order_makes_another_composite():
    gamma, epsilon = ("bl*", Flat()), ("*.0", Epsilon())
    one, other = (lrp3d.Composite(names=dict(entries)) for entries in ((gamma, epsilon), (epsilon, gamma)))
    assert one != other
    with pytest.raises(ValueError, match="this twin was converted with"):
        lrp3d.explain(lrp3d.convert(Net().eval(), one), CLIP, composite=other)
    assert lrp3d.Composite(names=dict([gamma, epsilon])) == one


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: lrp3d.Composite(layers=[nn.Conv3d]), TypeError, r"layers=...\) must be a dictionary of rules"),
        (lambda: lrp3d.Composite(names="fc"), TypeError, r"names=...\) must be a dictionary of rules"),
        (lambda: lrp3d.Composite(products=["a"]), TypeError, r"products=...\) must be a factor or a dictionary"),
        (lambda: lrp3d.Composite(products=3), TypeError, r"products=...\) must be a factor or a dictionary"),
        (lambda: lrp3d.Composite(names={5: Flat()}), TypeError, "a key must be the name of a module, got 5"),
        (lambda: Contrastive(5), TypeError, r"must be a rule, such as lrp3d.rules.ZPlus\(\), got 5"),
        (
            lambda: lrp3d.Composite(operations={torch.cat: Flat()}),
            ValueError,
            "got torch.cat; register it",
        ),
        (lambda: lrp3d.register_layer(nn.ReLU(), F.relu), TypeError, "give its type, ReLU"),
        (lambda: lrp3d.register_operation(torch.erf, 5), TypeError, "takes a function that computes the output"),
    ],
)
def test_what_makes_no_composite_and_registers_nothing_is_said(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_pattern_for_products_that_fits_none_is_refused():
    class Gated(Net):
        def forward(self, x):
            return super().forward(x * x.mean((3, 4), keepdim=True).sigmoid())

    lrp3d.explain(Gated().eval(), CLIP, composite=lrp3d.Composite(products={"m*l": "second"}))
    for products in ({"gate.*": "second"}, {"ml": "second"}):
        with pytest.raises(ValueError, match="fits no product of two signals that ran"):
            lrp3d.explain(Gated().eval(), CLIP, composite=lrp3d.Composite(products=products))


def test_an_operation_of_a_library_goes_by_its_name():
    lrp3d.register_operation("some::kernel", lambda x: x)
    assert (
        repr(lrp3d.Composite(operations={"some::kernel": ZPlus()})) == "Composite(operations={some::kernel: ZPlus()})"
    )


def test_composites_say_what_they_take():
    with pytest.raises(ValueError, match="presets are paper"):
        lrp3d.explain(Net().eval(), CLIP, composite="papre")
    with pytest.raises(TypeError, match="composite"):
        lrp3d.explain(Net().eval(), CLIP, composite=3)
    with pytest.raises(TypeError, match="rules"):
        lrp3d.Composite(layers={nn.Conv3d: "zplus"})
    with pytest.raises(TypeError, match=r"nn\.Module"):
        lrp3d.Composite(layers={"Conv3d": ZPlus()})
    with pytest.raises(ValueError, match="register"):
        lrp3d.Composite(operations={torch.fft.fft: ZPlus()})
    with pytest.raises(ValueError, match="alpha - beta = 1"):
        AlphaBeta(1.0, 1.0)


@pytest.fixture
def registered(monkeypatch):
    """Nothing registered before, and nothing left afterwards."""
    monkeypatch.setattr(lrp3d.composites.named, "REGISTERED", {})


def test_a_registered_composite_goes_by_its_name(registered):
    flat = lrp3d.register_composite("flat", lrp3d.Composite(layers={nn.Conv3d: Flat()}))
    assert rules("flat") == rules(flat)
    assert lrp3d.convert(Net().eval(), "flat").composite == flat
    explanations = [lrp3d.explain(Net().eval(), CLIP, composite=composite) for composite in ("flat", flat)]
    assert [entry.rule for entry in explanations[0].ledger] == [entry.rule for entry in explanations[1].ledger]


def test_a_name_never_changes_its_rules_silently(registered):
    flat, squares = lrp3d.Composite(layers={nn.Conv3d: Flat()}), lrp3d.Composite(layers={nn.Conv3d: WSquare()})
    for preset in lrp3d.composites.PRESETS:
        with pytest.raises(ValueError, match=f"'{preset}' is a preset"):
            lrp3d.register_composite(preset, flat, replace=True)
    lrp3d.register_composite("mine", flat)
    lrp3d.register_composite("mine", lrp3d.Composite(layers={nn.Conv3d: Flat()}))  # the same: a cell that runs again
    with pytest.raises(ValueError, match=r"registered already, for Composite.*replace=True"):
        lrp3d.register_composite("mine", squares)
    assert rules("mine")["stem"] == str(Flat())
    lrp3d.register_composite("mine", squares, replace=True)
    assert rules("mine")["stem"] == str(WSquare())
    with pytest.raises(ValueError, match=r"presets are paper, .*, registered are mine"):
        rules("thine")


def test_what_has_no_name_or_is_no_composite_is_not_registered(registered):
    for name in ("", "two words", " mine"):
        with pytest.raises(ValueError, match="name must be a text without white space"):
            lrp3d.register_composite(name, lrp3d.Composite())
    with pytest.raises(TypeError, match="name must be a text, got Composite"):
        lrp3d.register_composite(lrp3d.Composite(), "mine")
    with pytest.raises(TypeError, match=r"lrp3d\.Composite, got ZPlus"):
        lrp3d.register_composite("mine", ZPlus())
    assert not lrp3d.composites.named.REGISTERED


def test_every_rule_says_where_it_comes_from():
    for rule in (rule for rule in Rule.__subclasses__() if rule.__module__.startswith("lrp3d.rules.")):
        assert any(word in rule.__doc__ for word in ("et al", "paper")), rule


def test_a_twin_refuses_another_composite_by_name():
    twin = lrp3d.convert(nn.Sequential(nn.Conv3d(3, 2, 1)), "epsilon")
    with pytest.raises(ValueError, match="with the composite 'epsilon', not 'alpha_beta': leave composite out"):
        lrp3d.explain(twin, torch.rand(1, 3, 2, 4, 4), composite="alpha_beta")


SIGNED = {"epsilon": Epsilon(), "gamma": Gamma(), "flat": Flat(), "w-square": WSquare(), "same sign": SameSign()}


def a_head(bias):
    """Class 0 for 3 a - b, class 1 for the opposite."""
    head = nn.Sequential(nn.Linear(2, 2)).double().eval()
    head[0].weight.data = torch.tensor([[3.0, -1.0], [-3.0, 1.0]]).double()
    head[0].bias.data = torch.tensor([bias, -bias]).double()
    return head


@pytest.mark.parametrize("bias", [0.5, 0.0, -0.5])
@pytest.mark.parametrize("preset", [name for name in lrp3d.composites.PRESETS if name != "paper"])
def test_a_preset_contrasts_what_speaks_for_a_class_with_what_speaks_against_it(preset, bias):
    features = torch.tensor([[1.0, 2.0]]).double()
    found = lrp3d.explain(a_head(bias), features, 0, composite=preset, temporal=False)
    assert found.relevance.tolist() == [[1 + bias, 0]]  # and not the input that speaks against the class
    assert found.conservation < 1e-12
    assert found.about["classifier"].startswith("ZPlus() instead of Epsilon(")
    plain = lrp3d.explain(a_head(bias), features, 0, composite=preset, temporal=False, contrastive=False)
    assert "classifier" not in plain.about  # epsilon itself
    torch.testing.assert_close(plain.relevance, torch.tensor([[3.0, -2.0]]).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rule", SIGNED.values(), ids=SIGNED)
@pytest.mark.parametrize("given", [lambda rule: {"classifier": rule}, lambda rule: {"names": {"0": rule}}])
def test_a_classifiers_own_rule_without_a_contrast_is_refused(rule, given):
    composite = lrp3d.Composite(**given(rule))
    with pytest.raises(ValueError, match=r"makes no contrast .* classifier '0' another rule, such as ZPlus"):
        lrp3d.explain(a_head(0.5), torch.ones(1, 2).double(), 0, composite=composite, temporal=False)
    lrp3d.explain(a_head(0.5), torch.ones(1, 2).double(), 0, composite=composite, temporal=False, contrastive=False)


def test_composites_with_a_range_for_each_channel_are_compared_by_its_values():
    def composite(high):
        return lrp3d.Composite(first=lrp3d.rules.ZBeta(torch.zeros(1, 3, 1, 1, 1), torch.full((1, 3, 1, 1, 1), high)))

    assert composite(1.0) == composite(1.0) != composite(2.0)
    assert hash(composite(1.0)) == hash(composite(1.0))
    assert lrp3d.rules.ZBeta(0.0, 1.0) == lrp3d.rules.ZBeta(0.0, 1.0) != lrp3d.rules.ZBeta(0.0)


def test_a_rule_for_all_modules_goes_to_those_that_share_and_to_no_others():
    found = rules(lrp3d.Composite(layers={nn.Module: Epsilon(0.1)}))
    assert (found["stem"], found["block.0"], found["fc"]) == (str(Epsilon(0.1)),) * 3
    assert found["block.1"] == found["block.2"] == str(Identity())
