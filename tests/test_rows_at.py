"""Rows that are time steps at a layer: what of the clip's logit flows through each of them."""

import contextlib
import pickle
import re
import warnings

import pytest
import torch
from torch import nn

import lrp3d
from lrp3d.steps.factor import Released
from tests.attention_nets import VideoViT
from tests.small_models import small

FRAMES = 6
PLAIN = {"contrastive": False}


class LastNorm(nn.Module):
    """Two convolutions over time, and a norm and a perceptron of the mean over frames: no frame has a logit."""

    def __init__(self):
        super().__init__()
        self.lower = nn.Sequential(nn.Conv3d(3, 4, (3, 1, 1), padding=(1, 0, 0)), nn.ReLU())
        self.lower.append(nn.Conv3d(4, 5, (3, 3, 3), padding=1)).append(nn.ReLU())
        self.upper = Head()

    def forward(self, clip):
        return self.upper(self.lower(clip))


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.hidden, self.fc = nn.LayerNorm(5), nn.Linear(5, 6), nn.Linear(6, 4)

    def forward(self, features):
        return self.fc(torch.relu(self.hidden(self.norm(features.mean((2, 3, 4))))))


class TakesTuples(nn.Module):
    """A block as in public transformers: it returns a tuple of one tensor and nothing else."""

    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return self.block(x[0] if isinstance(x, tuple) else x), None


def made(net, seed=0):
    torch.manual_seed(seed)
    return net().double().eval()


def clips(number=2, frames=FRAMES, size=4, seed=1):
    return torch.rand(number, 3, frames, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def through_steps(model, clip, target):
    """Slowly: what arrives at the features, and for each of their time steps what of it comes from every frame."""
    rules = {"first": lrp3d.rules.ZPlus(), "classifier": lrp3d.rules.ZPlus()}
    upper = lrp3d.convert(model.upper, lrp3d.Composite(**rules))
    lower = lrp3d.convert(model.lower, lrp3d.Composite(classifier=lrp3d.rules.ZPlus()))
    features = model.lower(clip).detach().requires_grad_()
    logits = upper(features)
    seed = torch.zeros_like(logits).index_put_((torch.arange(len(clip)), target), torch.ones(len(clip)).double())
    (at_features,) = torch.autograd.grad(logits, features, seed * logits)
    rows = []
    for step in range(features.shape[2]):
        x = clip.clone().requires_grad_()
        part = torch.zeros_like(at_features)
        part[:, :, step] = at_features[:, :, step]
        (relevance,) = torch.autograd.grad(lower(x), x, part)
        rows.append(relevance.sum((1, 3, 4)))
    return at_features, torch.stack(rows, 1)


def test_a_row_is_what_flows_through_a_time_step_and_comes_from_every_frame():
    model, clip, target = made(LastNorm), clips(), torch.tensor([2, 1])
    at_features, rows = through_steps(model, clip, target)
    found = lrp3d.explain(model, clip, target, rows_at="lower", **PLAIN)
    torch.testing.assert_close(found.matrix, FRAMES * rows, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.frame_logits, FRAMES * at_features.sum((1, 3, 4)), rtol=1e-9, atol=1e-12)


def test_without_rows_at_such_a_model_has_no_matrix_and_the_error_names_the_way_out():
    with pytest.raises(lrp3d.NoFrameLogits, match="with rows_at='lower' it makes rows of the 6 time steps"):
        lrp3d.explain(made(LastNorm), clips())


@pytest.mark.parametrize("contrastive", [False, True])
def test_rows_below_an_average_over_time_are_the_frame_logits(contrastive):
    model, clip = small(), clips(frames=8, size=16)
    usual = lrp3d.explain(model.double(), clip, contrastive=contrastive)
    module = [name for name, part in model.named_modules() if isinstance(part, nn.Conv3d)][-1]
    found = lrp3d.explain(model, clip, contrastive=contrastive, rows_at=module)
    assert found.rows_at == module
    torch.testing.assert_close(found.frame_logits.mean(1), usual.frame_logits.mean(1))
    torch.testing.assert_close(found.through_rows, torch.ones(2).double())


@pytest.mark.parametrize("contrastive", [False, True])
def test_rows_at_the_features_that_are_averaged_equal_those_of_frame_logits(contrastive):
    torch.manual_seed(0)
    model, clip = lrp3d.models.i3d_resnet(18, num_classes=5, width=8).eval().double(), clips(frames=8, size=16)
    usual = lrp3d.explain(model, clip, contrastive=contrastive)
    found = lrp3d.explain(model, clip, contrastive=contrastive, rows_at="features.layer4")
    shares = [x.matrix / x.matrix.sum(2, keepdim=True) for x in (usual, found)]
    torch.testing.assert_close(shares[1], shares[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.atr, usual.atr)
    if not contrastive:
        torch.testing.assert_close(found.matrix, usual.matrix, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize("at", ["lower", "lower.0", "lower.1"])
def test_rows_and_the_clip_agree_on_how_much_flows_through_the_layer(at, contrastive):
    model, clip = made(LastNorm), clips()
    found = lrp3d.explain(model, clip, contrastive=contrastive, rows_at=at, layers=[at])
    torch.testing.assert_close(found.through_rows, torch.ones(2).double())
    torch.testing.assert_close(found.matrix.sum(2), found.frame_logits)
    if not contrastive:
        torch.testing.assert_close(found.matrix.sum(1) / FRAMES, found.frame_relevance)
        torch.testing.assert_close(found.layers[at].sum((1, 3, 4)) * FRAMES, found.frame_logits)


def test_at_a_layer_that_sees_one_frame_each_rows_are_their_own_frames():
    model, clip = made(lambda: VideoViT(head="class token")), clips(frames=4, size=8)
    matrix = lrp3d.explain(model, clip, rows_at="embed").matrix
    torch.testing.assert_close(matrix, matrix.diagonal(dim1=1, dim2=2).diag_embed())
    assert bool((matrix.diagonal(dim1=1, dim2=2) != 0).all())


@pytest.mark.parametrize("composite", ["paper", "attnlrp"])
@pytest.mark.parametrize("module", ["blocks.0", "blocks.0.mlp"])
def test_what_a_class_token_holds_is_missing_from_the_rows(module, composite, monkeypatch):
    if (module, composite) == ("blocks.0.mlp", "attnlrp"):  # the factor of the sum differs: explained once more
        monkeypatch.setattr(Released, "__init__", RuntimeError.__init__)
    model, clip = made(lambda: VideoViT(head="class token")), clips(frames=4, size=8)
    with pytest.warns(UserWarning, match="% of the logit of clip . flows through time steps at the output"):
        found = lrp3d.explain(model, clip, rows_at=module, layers=[module], composite=composite, **PLAIN)
    at_tokens = found.layers[module].sum(2)  # (b, 1 + t h w)
    of_frames = at_tokens[:, 1:].unflatten(1, (4, -1)).sum(2)
    torch.testing.assert_close(found.frame_logits, 4 * of_frames)
    if module == "blocks.0" and composite == "paper":  # with the other one, biases above have parts of the logit
        logit = found.logits.gather(1, found.target[:, None]).squeeze(1)
        torch.testing.assert_close(found.through_rows, 1 - at_tokens[:, 0] / logit)


class Scores(nn.Module):
    """Attention of every frame's tokens to all tokens; queries, keys and values have relevance with "attnlrp"."""

    def __init__(self, how):
        super().__init__()
        self.how, self.qkv = how, nn.Linear(5, 15)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1)
        if self.how == "matmul":
            return x + (q @ k.mT).softmax(-1) @ v
        if self.how == "einsum":
            scores = torch.einsum("bqc,bkc->bqk", q, k).softmax(2)
            return x + torch.einsum("bqk,bkc->bqc", scores, v)
        if self.how == "values first":
            return x + (v.mT @ (q @ k.mT).softmax(-1).mT).mT
        if self.how == "weights of the whole clip":
            weights = x.mean(1).repeat_interleave(len(x[0]) ** 2 // 5 + 1, 1)[:, : len(x[0]) ** 2]
            return x + weights.unflatten(1, (-1, len(x[0]))).softmax(-1) @ v
        if self.how == "no frames":
            return x + (x.mean(1, keepdim=True).mT @ v.mean(1, keepdim=True)).sum(1, keepdim=True)
        if self.how == "keys first":
            return x + ((k @ q.mT).softmax(1).mT @ v)
        return x + torch.einsum("bck,bkd->bcd", torch.einsum("bqc,bqk->bck", x, x).softmax(2), x.mT).mT


class Attends(nn.Module):
    """Tokens of frames that attend to one another, and the clip's logit of what a ReLU makes of their mean."""

    def __init__(self, how):
        super().__init__()
        self.embed, self.attention = nn.Conv3d(3, 5, (1, 2, 2), (1, 2, 2)), Scores(how)
        self.fc = nn.Linear(5, 4)

    def forward(self, clip):
        tokens = self.embed(clip).flatten(2).mT
        return self.fc(torch.relu(self.attention(tokens).mean(1)))


@pytest.mark.parametrize("how", ["matmul", "einsum", "values first", "no frames"])
def test_tokens_that_queries_make_belong_to_the_frames_of_the_queries(how):
    model, clip = made(lambda: Attends(how)), clips()
    found = lrp3d.explain(model, clip, rows_at="attention", layers=["attention"], composite="attnlrp", **PLAIN)
    at_frames = found.layers["attention"].sum(2).unflatten(1, (FRAMES, -1)).sum(2)
    torch.testing.assert_close(found.frame_logits, FRAMES * at_frames)
    assert bool((found.matrix - found.matrix.diagonal(dim1=1, dim2=2).diag_embed()).any())


def test_where_queries_do_not_stand_left_their_frames_are_not_guessed():
    model = made(lambda: Attends("keys first"))
    with pytest.raises(ValueError, match=r"does not know what 'attention\.softmax' .* does to frames"):
        lrp3d.explain(model, clips(), rows_at="attention", composite="attnlrp", **PLAIN)


@pytest.mark.parametrize(("how", "step"), [("channels", "einsum"), ("weights of the whole clip", "matmul")])
def test_products_over_frames_whose_result_is_no_frames_are_refused(how, step):
    model = made(lambda: Attends(how))
    with pytest.raises(ValueError, match=rf"does not know what 'attention\.{step}' .* does to frames"):
        lrp3d.explain(model, clips(), rows_at="attention", composite="attnlrp", **PLAIN)


def test_motion_needs_to_know_how_frames_are_mixed_and_refuses_products_of_signals():
    with pytest.raises(lrp3d.NoMotion, match="does to frames") as refused:
        lrp3d.explain(made(lambda: Attends("matmul")), clips(), composite="attnlrp", motion=True, **PLAIN)
    assert "attention.matmul" in str(refused.value)


def test_frames_in_the_batch_are_time_steps_as_well():
    model = made(lambda: PerFrameThenMaximum())
    found = lrp3d.explain(model, clips(), rows_at="frame", **PLAIN)
    torch.testing.assert_close(found.matrix, found.matrix.diagonal(dim1=1, dim2=2).diag_embed())
    torch.testing.assert_close(found.through_rows, torch.ones(2).double())


class PerFrameThenMaximum(nn.Module):
    def __init__(self):
        super().__init__()
        self.frame, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 4, bias=False)

    def forward(self, clip):
        b, c, t, h, w = clip.shape
        features = torch.relu(self.frame(clip.transpose(1, 2).reshape(b * t, c, h, w))).mean((2, 3))
        return self.fc(features.view(b, t, -1).amax(1))


@pytest.mark.parametrize("module", ["blocks.0", "blocks.1"])
def test_the_only_tensor_in_a_tuple_is_the_output_of_a_module(module):
    model, wrapped = (made(lambda: VideoViT(head="norm after the mean")) for _ in range(2))
    wrapped.blocks = nn.Sequential(*map(TakesTuples, wrapped.blocks), Unpacked())
    clip = clips(frames=4, size=8)
    usual, found = (lrp3d.explain(net, clip, rows_at=module, layers=[module]) for net in (model, wrapped))
    torch.testing.assert_close(found.matrix, usual.matrix)
    torch.testing.assert_close(found.layers[module], usual.layers[module])


class Unpacked(nn.Module):
    def forward(self, x):
        return x[0]


def test_two_frames_are_enough():
    found = lrp3d.explain(made(LastNorm), clips(frames=2), rows_at="lower", **PLAIN)
    assert found.matrix.shape == (2, 2, 2)
    torch.testing.assert_close(found.through_rows, torch.ones(2).double())


def test_clips_of_a_batch_have_the_rows_that_they_have_alone():
    model, clip = made(LastNorm), clips()
    both = lrp3d.explain(model, clip, [0, 3], rows_at="lower.1")
    alone = [lrp3d.explain(model, clip[i : i + 1], both.target[i : i + 1], rows_at="lower.1") for i in range(2)]
    torch.testing.assert_close(both.matrix, torch.cat([one.matrix for one in alone]))
    torch.testing.assert_close(both.through_rows, torch.cat([one.through_rows for one in alone]))


@pytest.mark.parametrize("options", [{"chunk_size": 1}, {"chunk_size": 4}, {"motion": True}, {"floor": True}])
def test_rows_are_the_same_however_they_are_computed(options):
    model, clip = made(LastNorm), clips()
    usual, found = (lrp3d.explain(model, clip, rows_at="lower", **PLAIN, **given) for given in ({}, options))
    torch.testing.assert_close(found.matrix, usual.matrix, rtol=1e-9, atol=1e-12)
    if "motion" in options:
        torch.testing.assert_close(found.static_matrix + found.dynamic_matrix, usual.matrix, rtol=1e-9, atol=1e-12)
    if "floor" in options:
        torch.testing.assert_close(found.floor.sum(2).sign(), usual.matrix.sum(2).sign())


def test_against_another_class_rows_add_up_to_the_difference():
    model, clip = made(LastNorm), clips()
    found = lrp3d.explain(model, clip, [0, 1], against=[2], rows_at="lower")
    difference = found.logits[torch.arange(2), found.target] - found.logits[:, 2]
    torch.testing.assert_close(found.frame_logits.mean(1), difference)
    torch.testing.assert_close(found.matrix.sum(1) / FRAMES, found.frame_relevance)


def test_a_negative_logit_has_negative_rows_whose_mean_it_is():
    model, clip = made(LastNorm), clips()
    worst = model(clip).argmin(1)
    assert bool((model(clip).amin(1) < 0).all())
    found = lrp3d.explain(model, clip, worst, rows_at="lower")
    torch.testing.assert_close(found.frame_logits.mean(1), found.logits.amin(1))
    assert bool((found.matrix <= 0).all())


def test_rows_survive_saving(tmp_path):
    found = lrp3d.explain(made(LastNorm), clips(), rows_at="lower")
    found.save(tmp_path / "found.safetensors")
    loaded = lrp3d.Explanation.load(tmp_path / "found.safetensors")
    assert loaded.rows_at == "lower"
    assert torch.equal(loaded.through_rows, found.through_rows)
    assert "time steps at the output of lower, through which 100 and 100 % of the logit flows" in repr(loaded)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rows_at": "nowhere"}, "'nowhere' fits no module that ran"),
        ({"rows_at": "upper.hidden"}, "its output has no time steps, as all frames have become one before"),
        ({"rows_at": "upper.fc"}, "comes after the classifier or has it inside: name a module below"),
        ({"rows_at": "upper"}, "comes after the classifier or has it inside: name a module below"),
        ({"rows_at": "lower", "temporal": False}, "temporal=False makes no matrix"),
        ({"rows_at": "lower", "where": {"lower": 0}}, "rows_at= and where= both choose"),
        (
            {"rows_at": "lower", "merge": "average"},
            "merge='average' says how the frame logits of pathways are combined",
        ),
    ],
)
def test_rows_that_cannot_be_are_refused_with_the_reason(options, said):
    with pytest.raises(ValueError, match=said):
        lrp3d.explain(made(LastNorm), clips(), **options)


@pytest.mark.parametrize("given", ["", 3, "lower.*", ["lower"]])
def test_rows_are_those_of_one_module(given):
    with pytest.raises(TypeError, match="rows_at= takes the name of one module"):
        lrp3d.explain(made(LastNorm), clips(), rows_at=given)


def test_a_class_token_that_holds_all_relevance_leaves_no_rows():
    model = made(lambda: VideoViT(head="class token"))
    with pytest.raises(ValueError, match="no relevance flows through its 4 time steps, but all of it through what"):
        lrp3d.explain(model, clips(frames=4, size=8), rows_at="blocks.1")


def test_images_have_no_rows():
    with pytest.raises(ValueError, match="images have no time"):
        lrp3d.explain(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval(),
            torch.rand(1, 3, 4, 4),
            rows_at="0",
        )


def advised(model, clip, **options):
    """The module that the error names, its number of steps, and how much flows through them, in percent."""
    with pytest.raises(lrp3d.NoFrameLogits) as refused:
        lrp3d.explain(model, clip, **options)
    said = r"with rows_at='(\S+)' it makes rows of the (\d+) time steps there, through which (\d+) % of the logit flows"
    found = re.search(said, str(refused.value))
    assert found[0] == pickle.loads(pickle.dumps(refused.value)).rows
    return found[1], int(found[2]), int(found[3])


def shares_in_order(model, clip, **options):
    """How much of the logit flows through the time steps of each module that has some, in the order of the forward."""
    order = []
    hooks = [m.register_forward_hook(lambda *_, name=name: order.append(name)) for name, m in model.named_modules()]
    model(clip)
    for hook in hooks:
        hook.remove()
    shares = {}
    for name in filter(None, order):
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = lrp3d.explain(model, clip, rows_at=name, **options, **PLAIN)
            shares[name] = float(found.through_rows.min()), found.matrix.shape[1]
    return shares


@pytest.mark.parametrize("worst", [False, True])
@pytest.mark.parametrize("frames", [2, 4])
@pytest.mark.parametrize("head", ["norm after the mean", "class token"])
def test_the_error_names_the_last_module_through_whose_frames_half_of_the_logit_flows(head, frames, worst):
    model, clip = made(lambda: VideoViT(head=head, frames=frames)), clips(frames=frames, size=8)
    logits = model(clip)
    target = (logits.argmin(1) if worst else logits.argmax(1)).tolist()
    shares = shares_in_order(model, clip, target=target)
    last = [name for name, (share, _) in shares.items() if share >= 0.5][-1]
    assert len(shares) > 3
    assert advised(model, clip, target=target) == (last, shares[last][1], round(100 * shares[last][0]))


class Branches(nn.Module):
    """Three layers side by side, none of which has half of the relevance."""

    def __init__(self):
        super().__init__()
        self.much, self.little, self.some = (nn.Conv3d(3, 4, 1, bias=False) for _ in range(3))
        for branch, size in ((self.much, 4.0), (self.little, 2.5), (self.some, 3.5)):
            nn.init.constant_(branch.weight, size)
        self.norm, self.fc = nn.LayerNorm(4), nn.Linear(4, 3)
        self.norm.bias.data = torch.tensor([1.0, -1.0, 0.5, 2.0])

    def forward(self, clip):
        return self.fc(self.norm((self.much(clip) + self.little(clip) + self.some(clip)).mean((2, 3, 4))))


def test_where_no_module_has_half_of_the_logit_that_with_the_most_is_named():
    model, clip = made(Branches), clips()
    shares = shares_in_order(model, clip)
    assert max(share for share, _ in shares.values()) < 0.5
    assert advised(model, clip)[0] == "much" == max(shares, key=shares.get)


def test_where_frames_cannot_be_followed_nothing_is_advised():
    class Scrambled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3 * 6 * 4 * 4, 2)

        def forward(self, clip):
            return self.fc(clip.flatten(1)).relu()

    with pytest.raises(lrp3d.NoFrameLogits, match="with rows_at= and the name of a module it makes rows"):
        lrp3d.explain(Scrambled().double().eval(), clips(), target=0)
