"""Arguments are taken at their word: what contradicts the clip, the model or itself is said, never passed over."""

import warnings

import pytest
import torch
from torch import nn

import lrp3d

CLIP = torch.rand(2, 3, 4, 6, 6, generator=torch.Generator().manual_seed(0))


class PerFrame(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.conv, self.fc = nn.Conv3d(channels, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.conv(x).relu().mean((3, 4)).transpose(1, 2)).mean(1)


class Streams(nn.Module):
    """Pictures and flow."""

    def __init__(self, channels=(3, 2)):
        super().__init__()
        self.a, self.b = (nn.Conv3d(c, 4, 1) for c in channels)
        self.fc = nn.Linear(8, 5)

    def forward(self, clips):
        a, b = (conv(x).relu().mean((2, 3, 4)) for conv, x in zip((self.a, self.b), clips, strict=True))
        return self.fc(torch.cat([a, b], 1))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return PerFrame().eval()


# ------------------------------------------------------------------------------------------------ composites


@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.inspect])
def test_a_twin_keeps_its_rules_and_refuses_others(model, use):
    twin = lrp3d.convert(model, "epsilon_plus")
    for other in ("paper", "epsilon", lrp3d.Composite(classifier=lrp3d.rules.Flat())):
        with pytest.raises(ValueError, match=r"converted with.*epsilon_plus.*convert the model again"):
            use(twin, CLIP, composite=other)
    for same in (None, "epsilon_plus", lrp3d.composites.epsilon_plus):
        assert str(use(twin, CLIP, composite=same)) == str(use(model, CLIP, composite="epsilon_plus"))


def test_no_composite_is_the_papers(model):
    found = lrp3d.explain(model, CLIP)
    assert torch.equal(found.relevance, lrp3d.explain(model, CLIP, composite="paper").relevance)
    assert torch.equal(found.relevance, lrp3d.explain(lrp3d.convert(model), CLIP).relevance)


def test_composites_are_equal_where_their_entries_are():
    rules = lrp3d.rules
    one, same = (lrp3d.Composite({nn.Linear: rules.Gamma(0.1)}, names={"a": rules.Flat()}) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != lrp3d.Composite({nn.Linear: rules.Gamma(0.2)}, names={"a": rules.Flat()})
    assert one != "paper"


# --------------------------------------------------------------------------------------- the range of inputs

NO_RANGES = [
    ((float("nan"), 1.0), "finite"),
    ((0.0, float("inf")), "finite"),
    (((0.0, 0.0, float("nan")), (1.0, 1.0, 1.0)), "finite"),
    ((1.0, 0.0), "low below high"),
    ((0.5, 0.5), "low below high"),
    (((0.0, 0.0, 2.0), (1.0, 1.0, 1.0)), "low below high"),
    (((0.0, 0.0), (1.0, 1.0)), r"per channel \(3\)"),
    ((0.0, 0.5, 1.0), "input_range is"),
    (1.0, "input_range is"),
    (("black", "white"), "input_range is"),
]


@pytest.mark.parametrize(("given", "word"), NO_RANGES)
@pytest.mark.parametrize("by_model", [False, True])
def test_what_is_no_range_of_inputs_is_refused(model, given, word, by_model):
    options = {} if by_model else {"input_range": given}
    if by_model:
        model.input_range = given
    for use in (lrp3d.explain, lrp3d.inspect):
        with pytest.raises(ValueError, match=word) as caught:
            use(model, CLIP, **options)
        assert "\n" not in str(caught.value)


def test_a_clip_far_outside_of_the_range_gets_a_warning_with_both(model):
    clip = CLIP * 8 - 4
    for options in ({"input_range": (0.0, 1.0)}, {}):
        if not options:
            model.input_range = (0.0, 1.0)
        with pytest.warns(UserWarning, match=r"from -3.99 to 3.999.*between 0 and 1.*normalise") as caught:
            lrp3d.explain(model, clip, **options)
        assert len(caught) == 1
        assert caught[0].filename == __file__, "the warning points at the caller's line"


def test_a_clip_inside_of_the_range_or_nearly_gets_none(model):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(model, CLIP, input_range=(0.0, 1.0))
        lrp3d.explain(model, CLIP, input_range=(-3.0, 3.0))
        lrp3d.explain(model, CLIP * 1.05, input_range=(0.0, 1.0))  # as resizing with a bicubic filter leaves it
        lrp3d.explain(model, CLIP * 99)


def test_every_pathway_may_have_a_range_of_its_own():
    torch.manual_seed(0)
    model = Streams().eval()
    pathways = [CLIP, torch.randn(2, 2, 4, 6, 6).clamp(-2, 2)]
    each = [(0.0, 1.0), (-2.0, 2.0)]
    found = lrp3d.explain(model, pathways, input_range=each)
    low, high = [CLIP.new_zeros(3), -2 * CLIP.new_ones(2)], [CLIP.new_ones(3), 2 * CLIP.new_ones(2)]
    twice = lrp3d.explain(model, pathways, input_range=list(zip(low, high, strict=True)))
    one = lrp3d.explain(model, pathways, input_range=(-2.0, 2.0))
    own = lrp3d.explain(model, pathways, input_range=[None, (-2.0, 2.0)])
    for i in range(2):
        assert torch.equal(found.relevance[i], twice.relevance[i])
    torch.testing.assert_close(found.relevance[1], one.relevance[1])
    torch.testing.assert_close(found.relevance[1], own.relevance[1])
    assert not torch.allclose(found.relevance[0], one.relevance[0])
    with pytest.raises(ValueError, match="each of 2 pathways"):
        lrp3d.explain(model, pathways, input_range=[*each, (0.0, 1.0)])


def test_a_list_of_one_range_is_that_of_the_only_clip(model):
    for given in ((0.0, 1.0), ([0.0] * 3, [1.0] * 3)):
        one, listed = (lrp3d.explain(model, CLIP, input_range=form).relevance for form in (given, [given]))
        assert torch.equal(one, listed)


def test_a_pair_that_can_be_read_in_two_ways_is_refused():
    model, pathways = Streams((2, 2)).eval(), [torch.rand(1, 2, 4, 6, 6), torch.rand(1, 2, 4, 6, 6)]
    with pytest.raises(ValueError, match="one per pathway; write"):
        lrp3d.explain(model, pathways, input_range=[(0.0, 1.0), (2.0, 3.0)])
    lrp3d.explain(model, pathways, input_range=[((0.0, 0.0), (1.0, 1.0)), ((0.0, 0.0), (3.0, 3.0))])


# ------------------------------------------------------------------------------------------- axes of the clip


class Folding(nn.Module):
    """Frames as a batch of images, in the layout (b, t, c, h, w)."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)

    def forward(self, x):
        b, t, _c, _h, _w = x.shape
        return self.fc(self.conv(x.flatten(0, 1)).relu().mean((2, 3))).unflatten(0, (b, t)).mean(1)


USES = [lrp3d.explain, lrp3d.inspect, lrp3d.frame_logits, lrp3d.intervention_matrix]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("net", [PerFrame, Folding])
def test_a_clip_without_the_axis_of_clips_is_told_to_add_it(use, net):
    with pytest.raises(
        ValueError, match=r"add the batch axis with clip.unsqueeze\(0\), for \(1, 3, 4, 6, 6\)"
    ) as caught:
        use(net().eval(), CLIP[0])
    assert "\n" not in str(caught.value)


def test_frames_of_one_clip_are_no_clip_with_their_colours_second():
    said = r"images \(b, c, h, w\), which have no time; .* become \(1, 3, 4, 6, 6\) by clip.transpose\(0, 1\)"
    with pytest.raises(ValueError, match=said):
        lrp3d.explain(PerFrame().eval(), torch.rand(4, 3, 6, 6))


def test_images_need_no_axis_of_frames():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert lrp3d.explain(model.eval(), CLIP[:, :, 0]).relevance.shape == (2, 3, 6, 6)


@pytest.mark.parametrize("use", [lrp3d.explain, lrp3d.frame_logits, lrp3d.intervention_matrix])
def test_clips_in_another_layout_are_told_of_it(use):
    clip = torch.rand(2, 8, 3, 6, 6)
    with pytest.raises(ValueError, match=r"8 channels and 3 frames.*layout='btchw'"):
        use(Folding().eval(), clip)
    assert use(Folding().eval(), clip, layout="btchw") is not None


@pytest.mark.parametrize(
    "use",
    [
        lambda model, clips: lrp3d.check(model, clips, layout="btchw"),
        lambda model, clips: lrp3d.prototypes(model, clips, "conv", [0], layout="btchw"),
    ],
)
def test_lists_of_clips_have_one_layout_whatever_the_model_takes(use):
    with pytest.raises(
        ValueError, match=r"clips are \(m, c, t, h, w\) here, .*'btchw'.*\(2, 8, 3, 6, 6\), which has it"
    ):
        use(Folding().eval(), torch.rand(2, 8, 3, 6, 6))


def test_a_model_that_cannot_run_on_another_layout_says_which_it_may_be(model):
    with pytest.raises(ValueError, match=r"could not run.*layout='btchw'"):
        lrp3d.explain(model, torch.rand(2, 8, 3, 6, 6))
    with pytest.raises(ValueError, match=r"per channel \(8\).*layout='btchw'"):
        lrp3d.explain(Folding().eval(), torch.rand(2, 8, 3, 6, 6), input_range=((0.0,) * 3, (1.0,) * 3))


@pytest.mark.parametrize(
    ("layout", "other"), [("bcthw", "btchw"), ("btchw", "bcthw"), ("b t c h w", "bcthw"), ("tbchw", "bcthw")]
)
def test_a_layout_that_the_model_cannot_run_on_is_not_the_one_advised(model, layout, other):
    with pytest.raises(ValueError, match=rf"could not run.*layout='{other}'$"):
        lrp3d.explain(model, torch.rand(2, 4, 4, 6, 6), layout=layout)


def test_relevance_of_frames_in_a_layout_that_is_hardly_meant_gets_a_warning():
    with pytest.warns(UserWarning, match="8 channels and 3 frames"):
        lrp3d.explain(Folding().eval(), torch.rand(2, 8, 3, 6, 6), temporal=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(Folding().eval(), torch.rand(2, 8, 3, 6, 6), temporal=False, layout="btchw")


def test_atr_counts_in_steps_where_strides_leave_fewer_columns():
    class Strided(PerFrame):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 3, padding=1, stride=(2, 1, 1))

    assert "of 2 steps of 2 frames" in repr(lrp3d.explain(Strided().eval(), CLIP))
    assert "of 4 frames" in repr(lrp3d.explain(PerFrame().eval(), CLIP))


def test_a_clip_of_another_type_than_the_model_is_told_the_cast(model):
    with pytest.raises(
        ValueError, match=r"the model is torch.float32 and the clip torch.float64: pass clip.to\(torch.float32\)"
    ):
        lrp3d.explain(model, torch.rand(1, 3, 4, 8, 8).double())


def test_a_forward_of_several_arguments_is_refused_in_a_sentence():
    class Two(nn.Module):
        def forward(self, rgb, flow):
            return rgb.mean((2, 3, 4)) + flow.mean((2, 3, 4))

    clip = torch.rand(1, 3, 4, 8, 8)
    with pytest.raises(ValueError, match=r"missing a required argument: 'flow'; the clip .* wrap the model"):
        lrp3d.explain(Two().eval(), [clip, clip])


@pytest.mark.parametrize(("largest", "is_warned"), [(1.05, False), (1.15, True)])
def test_a_clip_may_overshoot_its_range_by_a_tenth_as_resizing_does(largest, is_warned):
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    clip = torch.rand(1, 3, 4, 6, 6)
    clip[0, 0, 0, 0, 0] = largest
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lrp3d.explain(model, clip, input_range=(0.0, 1.0), temporal=False)
    assert any("the clip holds values from" in str(warning.message) for warning in caught) == is_warned


def test_images_of_three_channels_are_no_folded_frames():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lrp3d.explain(model, torch.rand(2, 3, 6, 6))


def test_frames_among_the_channels_or_the_clips_are_suspected():
    class Stacked(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(12, 5, 3)

        def forward(self, x):
            return self.conv(x).mean((2, 3))

    with pytest.warns(UserWarning, match=r"read as images of 12 channels.*layout='b \(t c\) h w'"):
        lrp3d.explain(Stacked().eval(), torch.rand(2, 12, 8, 8))

    class Folded(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).view(-1, 4, 3).mean(1)

    with pytest.raises(ValueError, match=r"2 rows of logits for 8 clips; .* pass layout='\(b t\) c h w'"):
        lrp3d.explain(Folded().eval(), torch.rand(8, 3, 8, 8))


def test_an_average_that_is_none_is_explained():
    class Negative(nn.Module):
        def forward(self, x):
            return x.mean((3, 4)).mean(2) - 9

    said = repr(lrp3d.explain(Negative().eval(), torch.rand(1, 3, 4, 8, 8)))
    assert "no average    no frame's logit is positive" in said


def test_frame_logits_that_no_relevance_explains_are_named():
    class Masked(nn.Module):
        def forward(self, x):
            return (x.mean((3, 4)) * torch.tensor([1.0, 0.0, 1.0, 1.0])).mean(2)

    clips = torch.rand(2, 3, 4, 8, 8)
    said = repr(lrp3d.explain(Masked().eval(), clips, contrastive=False)).splitlines()
    assert [line for line in said if "no relevance" in line] == [
        f"  no relevance  for the frame logit 2 of 4 of clip {clip}" for clip in (0, 1)
    ]


@pytest.mark.parametrize(
    ("given", "dtype", "said"),
    [
        ((-1e38, 1e38), torch.float32, r"reaches from -1e\+38 to 1e\+38, and torch.float32 computes with ends up to"),
        ((-1e20, 0.0), torch.float32, "torch.float32 computes with ends up to"),
        ((0.0, (1.0, 1e300, 1.0)), torch.float32, "torch.float32 computes with ends up to"),
        ((-1e38, 1e38), torch.bfloat16, "torch.bfloat16 computes with ends up to"),
        ((-1e5, 1e5), torch.float16, r"torch.float16 computes with ends up to 6\.55e\+04"),
        ((-1e200, 1e200), torch.float64, "torch.float64 computes with ends up to"),
        ((1e8, 1e8 + 1), torch.float32, "torch.float32 holds 100000000.0 and 100000001.0 as one"),
        ((1.0, 1.0001), torch.float16, "torch.float16 holds 1.0 and 1.0001 as one"),
    ],
)
def test_a_range_that_overflows_or_is_one_number_in_the_clips_type_is_refused(model, given, dtype, said):
    with pytest.raises(ValueError, match=f"input_range .*{said}"):
        lrp3d.explain(model.to(dtype), CLIP.to(dtype), input_range=given)


@pytest.mark.parametrize("most", [1e3, 1e10, 1e19])
def test_relevance_is_conserved_for_every_range_that_is_accepted(model, most):
    found = lrp3d.explain(model, CLIP, input_range=(-most, most))
    assert found.conservation.max() < 1e-5
