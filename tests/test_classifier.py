"""The classifier: which layer it is, and that a contrast is one of the logit, whichever way its outputs enter it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lrp3d

CLIPS = torch.randn(2, 3, 4, 6, 6, dtype=torch.double, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Features of every frame, and a head that makes logits (b, n, k) of them."""

    def __init__(self, head, classes=5):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, classes)
        self.more, self.norm = nn.Linear(classes, classes), nn.BatchNorm1d(classes)
        nn.init.constant_(self.norm.weight, -1.0)
        self.head = head
        self.double().eval()

    def forward(self, x):
        return self.head(self, self.conv(x).relu().mean((3, 4)).transpose(1, 2)).mean(1)


def by_rows(change):
    """A head whose weights and bias are those of the layer, changed."""
    return lambda net, f: F.linear(f, change(net.fc.weight), change(net.fc.bias))


TURNED = {
    "neg": lambda net, f: -net.fc(f),
    "difference": lambda net, f: 0 - net.fc(f),
    "product": lambda net, f: net.fc(f) * -1,
    "quotient": lambda net, f: net.fc(f) / -1,
    "factor of each class": lambda net, f: net.fc(f) * -torch.ones(5, dtype=torch.double),
    "batch norm": lambda net, f: net.norm(net.fc(f).transpose(1, 2)).transpose(1, 2) * (1 + 1e-5) ** 0.5,
}


def negative(f):
    """A gate for every frame, computed from the clip: minus one."""
    gate = f.mean(-1, keepdim=True).sigmoid()
    return -gate / gate.detach()


TURNED_BY_THE_CLIP = {
    "product": lambda net, f: net.fc(f) * negative(f),
    "product with as many": lambda net, f: net.fc(f) * negative(f).expand(-1, -1, 5),
    "quotient": lambda net, f: net.fc(f) / negative(f),
    "matrices": lambda net, f: (net.fc(f).unsqueeze(-1) @ negative(f).unsqueeze(-1)).squeeze(-1),
    "einsum": lambda net, f: torch.einsum("bnk,bnj->bnk", net.fc(f), negative(f)),
    "addcmul": lambda net, f: torch.zeros_like(net.fc(f)).addcmul(net.fc(f), negative(f)),
}


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize(
    "head",
    [*TURNED.values(), *TURNED_BY_THE_CLIP.values()],
    ids=[*TURNED, *(f"{name} with a signal" for name in TURNED_BY_THE_CLIP)],
)
def test_a_logit_that_is_the_negative_of_the_classifiers_output_is_explained_for_itself(head, contrastive):
    targets = torch.tensor([0, 1])
    found = lrp3d.explain(Net(head), CLIPS, targets, contrastive=contrastive)
    wanted = lrp3d.explain(Net(by_rows(torch.neg)), CLIPS, targets, contrastive=contrastive)
    for field in ("logits", "relevance", "matrix", "atr", "frame_logits"):
        torch.testing.assert_close(getattr(found, field), getattr(wanted, field), rtol=1e-9, atol=1e-12)
    assert found.conservation.max() < 1e-9


def test_two_logits_made_of_one_are_explained_as_those_of_two_rows():
    found = Net(lambda net, f: torch.cat([-(z := net.fc(f)), z], -1), classes=1)
    wanted = Net(by_rows(lambda w: torch.cat([-w, w])), classes=1)
    for target in (0, 1):
        maps = [lrp3d.explain(net, CLIPS, target) for net in (found, wanted)]
        torch.testing.assert_close(maps[0].relevance, maps[1].relevance, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(maps[0].matrix, maps[1].matrix, rtol=1e-9, atol=1e-12)


def test_two_sides_of_one_output_cannot_be_held_against_each_other():
    net = Net(lambda net, f: torch.cat([-(z := net.fc(f)), z], -1), classes=1)
    with pytest.raises(ValueError, match=r"are two sides of one output of 'fc'.*leave against= out"):
        lrp3d.explain(net, CLIPS, 0, against=1)


def test_each_class_of_a_comparison_is_turned_by_its_own_sign():
    signs = torch.tensor([1.0, -1, 1, -1, 1], dtype=torch.double)
    found = lrp3d.explain(Net(lambda net, f: net.fc(f) * signs), CLIPS, 1, against=[0, 3])
    wanted = Net(by_rows(lambda w: w * (signs[:, None] if w.dim() > 1 else signs)))
    torch.testing.assert_close(found.matrix, lrp3d.explain(wanted, CLIPS, 1, against=[0, 3]).matrix)


@pytest.mark.parametrize("refine", [lambda net, z: net.more(z), lambda net, z: net.more(torch.relu(z))])
def test_logits_that_further_layers_refine_have_one_contrast(refine):
    """At the layer through which all ways lead; those after it share relevance as any other."""
    net = Net(lambda net, f: (z := net.fc(f)) + refine(net, z))
    rules = {row.name: str(row.rule) for row in lrp3d.inspect(net, CLIPS)}
    assert "Contrastive" in rules["fc"]
    assert "Contrastive" not in rules["more"]
    assert lrp3d.explain(net, CLIPS, temporal=False).conservation.max() < 1e-9


def test_without_one_layer_through_which_all_ways_lead_there_is_no_contrast():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv3d(3, 5, 3, padding=1), nn.Conv3d(5, 5, 3, padding=1)

        def forward(self, x):
            x = self.one(x).relu()
            return (x + self.two(x)).mean((2, 3, 4))

    net = Residual().double().eval()
    with pytest.raises(ValueError, match=r"the last layers with weights .* \(one, two\) lie below .*contrastive=False"):
        lrp3d.explain(net, CLIPS)
    assert lrp3d.explain(net, CLIPS, contrastive=False).conservation.max() < 1e-9


def test_a_rule_that_shares_by_signs_is_refused_where_the_output_enters_negated():
    by_sign = lrp3d.Composite(classifier=lrp3d.rules.SameSign())
    lrp3d.explain(Net(lambda net, f: net.fc(f)), CLIPS, composite=by_sign, contrastive=False)
    with pytest.raises(ValueError, match="enters the logit with a negative sign: give the classifier another rule"):
        lrp3d.explain(Net(TURNED["neg"]), CLIPS, composite=by_sign, contrastive=False)


class Products(nn.Module):
    """Logits that are products of two classifiers' outputs, or a power of one's."""

    def __init__(self, head, shift=0.0):
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.one, self.two = nn.Conv3d(3, 6, 3, padding=1), nn.Linear(6, 5), nn.Linear(6, 5)
        nn.init.constant_(self.two.bias, shift)
        self.head = head
        self.double().eval()

    def forward(self, x):
        f = self.conv(x).relu().mean((2, 3, 4))
        return self.head(self.one(f), self.two(f))

    def rules(self, **options):
        return {row.layer: str(row.rule) for row in lrp3d.explain(self, CLIPS, 0, temporal=False, **options).ledger}


@pytest.mark.parametrize(("shift", "turned"), [(9.0, False), (-9.0, True)])
def test_half_of_a_product_is_turned_where_the_other_factor_is_negative(shift, turned):
    rules = Products(lambda one, two: one * two, shift).rules()
    assert rules["one"].startswith("Opposed") == turned


@pytest.mark.parametrize("power", [torch.square, torch.abs, lambda z: z**2, lambda z: z * z])
@pytest.mark.parametrize(("shift", "turned"), [(9.0, False), (-9.0, True)])
def test_a_power_of_a_negative_output_is_turned(power, shift, turned):
    rules = Products(lambda one, two: power(two), shift).rules()
    assert rules["two"].startswith("Opposed") == turned


@pytest.mark.parametrize("norm", [nn.LayerNorm(5), nn.GroupNorm(1, 5), nn.RMSNorm(5)])
def test_a_norm_with_negative_weights_turns_outputs_round(norm):
    norm = norm.double()
    for weight, turned in ((1.0, False), (-1.0, True)):
        nn.init.constant_(norm.weight, weight)
        assert Products(lambda one, two: norm(two)).rules()["two"].startswith("Opposed") == turned


READ_TWICE = {
    "less the largest": lambda one, two: one - two.amax(1, keepdim=True),
    "less the largest two": lambda one, two: 3 * one - two.topk(2, 1)[0].sum(1, keepdim=True),
    "gated twice": lambda one, two: one * 0.15 - two * (1 - 0.15),
}
PROTOTYPES = torch.randn(5, 5, dtype=torch.double, generator=torch.Generator().manual_seed(2))


def differences(z):
    return z[:, None] - PROTOTYPES


def products(z):
    return z[:, None] * PROTOTYPES


SPELLINGS = {
    "distance": (lambda z: -differences(z).norm(dim=2), lambda z: -(differences(z) ** 2).sum(2).sqrt()),
    "sum of sizes": (lambda z: -differences(z).norm(1, 2), lambda z: -differences(z).abs().sum(2)),
    "pairwise distance": (
        lambda z: -F.pairwise_distance(z[:, None].expand(-1, 5, -1), PROTOTYPES, eps=0),
        lambda z: -(differences(z) ** 2).sum(2).sqrt(),
    ),
    "deviation": (
        lambda z: products(z).std(2),
        lambda z: ((v := products(z)) - v.mean(2, keepdim=True)).square().sum(2).div(4).sqrt(),
    ),
}


@pytest.mark.parametrize("contrastive", [True, False])
@pytest.mark.parametrize("name", SPELLINGS)
def test_a_norm_turns_outputs_round_as_what_it_is_made_of_does(name, contrastive):
    maps = [
        lrp3d.explain(
            Products(lambda one, two, head=head: head(one)), CLIPS, 1, temporal=False, contrastive=contrastive
        )
        for head in SPELLINGS[name]
    ]
    torch.testing.assert_close(maps[0].logits, maps[1].logits)
    torch.testing.assert_close(maps[0].relevance, maps[1].relevance, rtol=1e-6, atol=1e-9)


class Copies(Products):
    """A head of one layer that is read twice, or of two layers with the same weights."""

    def __init__(self, head, copies):
        super().__init__(head)
        self.two.load_state_dict(self.one.state_dict())
        self.copies = copies

    def forward(self, x):
        f = self.conv(x).relu().mean((2, 3, 4))
        z = self.one(f)
        return self.head(z, self.two(f) if self.copies else z)


@pytest.mark.parametrize("name", READ_TWICE)
def test_a_layer_that_is_read_twice_is_turned_by_the_sum_of_both_ways(name):
    one, two = (Copies(READ_TWICE[name], copies).eval() for copies in (False, True))
    target = int(two(CLIPS[:1]).argmin())  # of "less the largest", both ways meet at no value of another class
    found, wanted = (lrp3d.explain(net, CLIPS[:1], target, temporal=False) for net in (one, two))
    cosine = torch.cosine_similarity(found.relevance.flatten(), wanted.relevance.flatten(), dim=0)
    assert cosine > 0.999


def test_a_weight_from_the_clip_counts_with_its_value_where_two_ways_meet():
    """`z t - z (1 - t)` is `z (2 t - 1)`, which falls with z where t is below one half."""

    class Meets(Products):
        def forward(self, x):
            f = self.conv(x).relu().mean((2, 3, 4))
            z, t = self.one(f), (f.mean(1, keepdim=True) - 2).sigmoid()
            return self.head(z, t)

    found = Meets(lambda z, t: z * t - z * (1 - t)).rules()
    assert found["one"].startswith("Opposed")


class Head(nn.Module):
    """A network whose classifier is a function of features (b, t, c) and weights (k, c)."""

    def __init__(self, head):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.more = nn.Conv3d(3, 6, 3, padding=1), nn.Conv3d(6, 5, 3, padding=1)
        self.weight, self.head = nn.Parameter(torch.randn(4, 5)), head
        self.double().eval()

    def forward(self, x):
        features = self.more(self.conv(x).relu()).relu().mean((3, 4)).mT
        return self.head(features, self.weight).mean(1)


HEADS = {
    "a product and its sum": (lambda f, w: f @ w.T, lambda f, w: (f[:, :, None] * w).sum(-1)),
    "classes last": (lambda f, w: f @ w.T, lambda f, w: (f[..., None] * w.T).sum(2)),
    "weights first": (lambda f, w: f @ w.T, lambda f, w: (w * f.unsqueeze(2)).sum(3, keepdim=True).squeeze(3)),
    "expanded": (lambda f, w: f @ w.T, lambda f, w: (f[:, :, None].expand(-1, -1, 4, -1) * w).sum(-1)),
    "cosine similarity": (
        lambda f, w: 5 * F.normalize(f, dim=-1) @ F.normalize(w, dim=1).T,
        lambda f, w: 5 * F.cosine_similarity(f[:, :, None], w, dim=-1),
    ),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("contrastive", [True, False])
def test_a_classifier_may_be_written_as_a_product_and_its_sum(name, contrastive):
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product, by_hand = (lrp3d.explain(Head(head), clip, 1, contrastive=contrastive) for head in HEADS[name])
    torch.testing.assert_close(by_hand.relevance, product.relevance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(by_hand.matrix, product.matrix, rtol=1e-9, atol=1e-12)
    contrasted = [entry.layer for entry in by_hand.ledger if "Contrastive" in entry.rule]
    assert len(contrasted) == (1 if contrastive else 0)


class PooledHead(Head):
    """The same of features (b, c)."""

    def forward(self, x):
        return self.head(self.more(self.conv(x).relu()).relu().mean((2, 3, 4)), self.weight)


POOLED_HEADS = {
    "class by class": (lambda f, w: f @ w.T, lambda f, w: torch.stack([(f * v).sum(1) for v in w], 1)),
    "class by class, with biases": (
        lambda f, w: F.linear(f, w, w[:, 0]),
        lambda f, w: torch.cat([(f * v).sum(1, keepdim=True) + v[0] for v in w], -1),
    ),
    "a lone logit": (lambda f, w: f @ w[:1].T, lambda f, w: (f * w[0]).sum(1, keepdim=True)),
}


@pytest.mark.parametrize("name", POOLED_HEADS)
@pytest.mark.parametrize("contrastive", [True, False])
def test_a_classifier_may_be_one_sum_for_each_class(name, contrastive):
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    options = {"contrastive": contrastive, "temporal": False}
    product, by_hand = (lrp3d.explain(PooledHead(head), clip, 0, **options) for head in POOLED_HEADS[name])
    torch.testing.assert_close(by_hand.relevance, product.relevance, rtol=1e-9, atol=1e-12)


KEPT = torch.tensor([True, True, False, True, True])


def written_over(products):
    """Products, of which the model writes zeros over some."""
    products[..., ~KEPT] = 0
    return products


def with_zeros(products):
    products *= KEPT
    return products


def products_of(f, w):
    return f[:, :, None] * w


WRITTEN_OUT = {
    "class by class": (lambda f, w: f @ w.T, lambda f, w: torch.stack([(f * v).sum(-1) for v in w], -1)),
    "class by class, by means": (lambda f, w: f @ w.T / 5, lambda f, w: torch.stack([(f * v).mean(-1) for v in w], -1)),
    "a lone logit": (lambda f, w: f @ w[:1].T, lambda f, w: (f * w[0]).sum(-1, keepdim=True)),
    "mean": (lambda f, w: f @ w.T / 5, lambda f, w: products_of(f, w).mean(-1)),
    "masked_fill": (lambda f, w: f @ (w * KEPT).T, lambda f, w: products_of(f, w).masked_fill(~KEPT, 0).sum(-1)),
    "where": (lambda f, w: f @ (w * KEPT).T, lambda f, w: torch.where(KEPT, products_of(f, w), 0.0).sum(-1)),
    "index": (lambda f, w: f @ (w * KEPT).T, lambda f, w: products_of(f, w)[..., KEPT].sum(-1)),
    "classes in another order": (
        lambda f, w: f @ w[[2, 1, 0, 3]].T,
        lambda f, w: products_of(f, w)[:, :, [2, 1, 0, 3]].sum(-1),
    ),
    "written in place": (lambda f, w: f @ (w * KEPT).T, lambda f, w: written_over(products_of(f, w)).sum(-1)),
    "multiplied in place": (lambda f, w: f @ (w * KEPT).T, lambda f, w: with_zeros(products_of(f, w)).sum(-1)),
    "slice": (lambda f, w: f[..., :3] @ w[:, :3].T, lambda f, w: products_of(f, w)[..., :3].sum(-1)),
    "transposed": (lambda f, w: f @ w.T, lambda f, w: products_of(f, w).transpose(2, 3).contiguous().sum(2)),
    "frames in the batch": (
        lambda f, w: f @ w.T,
        lambda f, w: products_of(f, w).flatten(0, 1).sum(-1).unflatten(0, (len(f), -1)),
    ),
    "a number for all": (lambda f, w: f @ w.T / -2, lambda f, w: (products_of(f, w) / -2).sum(-1)),
}


@pytest.mark.parametrize("name", WRITTEN_OUT)
@pytest.mark.parametrize("contrastive", [True, False])
def test_a_classifier_is_found_whatever_is_done_with_its_products_before_their_sum(name, contrastive):
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product, by_hand = (lrp3d.explain(Head(head), clip, 0, contrastive=contrastive) for head in WRITTEN_OUT[name])
    torch.testing.assert_close(by_hand.logits, product.logits)
    torch.testing.assert_close(by_hand.relevance, product.relevance, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(by_hand.matrix, product.matrix, rtol=1e-9, atol=1e-12)
    assert any("Contrastive" in entry.rule for entry in by_hand.ledger) == contrastive


def test_a_classifier_that_is_the_average_over_time_as_well_has_the_same_rows():
    """Only for the clip's own map it makes a difference whether frames are averaged beside channels or after them."""
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    heads = (lambda f, w: f @ w.T / 5, lambda f, w: products_of(f, w).mean((1, 3))[:, None])
    product, by_hand = (lrp3d.explain(Head(head), clip, 0) for head in heads)
    torch.testing.assert_close(by_hand.matrix, product.matrix, rtol=1e-9, atol=1e-12)


def test_features_that_a_mask_of_truth_values_selects_are_summed():
    net = PooledHead(lambda f, w: torch.cat([(f * KEPT).sum(1, keepdim=True), f @ w.T], 1))
    assert lrp3d.explain(net, CLIPS, 0, temporal=False).conservation.max() < 1e-9


WINDOW = torch.tensor([0.1, 0.4, 0.4, 0.1], dtype=torch.float64)
OF_FRAMES = {
    "sum": lambda logits: (logits * WINDOW[:, None]).sum(1, keepdim=True),
    "mean": lambda logits: (logits * WINDOW[:, None]).mean(1, keepdim=True),
    "frames last": lambda logits: (logits.mT * WINDOW).sum(2)[:, None],
    "learned": lambda logits: (logits.mT * nn.Parameter(WINDOW)).sum(2)[:, None],
    "without the first": lambda logits: (logits * WINDOW[:, None])[:, 1:].sum(1, keepdim=True),
    "masked": lambda logits: (logits * WINDOW[:, None]).masked_fill(WINDOW[:, None] > 0.3, 0).sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", OF_FRAMES)
def test_weights_of_frames_are_no_classifier(name):
    """A window over frame logits weighs all classes alike, so nothing is held against its negative."""
    clip = torch.rand(2, 3, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    model = Head(lambda f, w: OF_FRAMES[name](f @ w.T))
    ledger = lrp3d.explain(model, clip, 1, temporal=False).ledger
    assert [entry.layer for entry in ledger if "Contrastive" in entry.rule] == ["matmul"]
