"""What planted clips promise: the answer is where they say, and nowhere else."""

import pytest
import torch
from lrp3d.models import (
    evaluate,
    load_model,
    load_pretrained,
    pretrained_facts,
    pretrained_names,
    read_checkpoint,
    save_checkpoint,
    tam_resnet,
    tsn_resnet,
)
from torch import nn

import lrp3d
from lrp3d.planted import PlantedClips, Task, normalise
from lrp3d.planted.randomness import Dice
from lrp3d.planted.trajectories import steps

FAMILIES = ["match", "xor", "order", "static", "flash"]
BITS = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("family", [*FAMILIES, "trajectory"])
def test_a_clip_depends_on_seed_and_number_and_on_nothing_else(family):
    task = Task(family, gap=2, frames=8, size=12)
    together, alone = task.clips(5, seed=3), task.clips([4], seed=3)
    assert torch.equal(together.clips[4:], alone.clips)
    assert torch.equal(together.mask[4:], alone.mask)
    assert together.labels[4] == alone.labels[0]
    assert not torch.equal(task.clips(5, seed=4).clips, together.clips)
    torch.manual_seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    task.clips(1)
    assert torch.equal(torch.rand(1), drawn)  # the caller's random state is not touched


def test_the_dice_are_even_and_their_streams_unlike():
    dice = Dice(1, torch.arange(4000))
    one, two = dice.uniform("a", 5), dice.uniform("b", 5)
    assert abs(one.mean() - 0.5) < 0.01
    assert abs(one.var() - 1 / 12) < 0.005
    assert one.min() >= 0
    assert one.max() < 1
    everything = torch.cat([one, two], 1).T
    assert (torch.corrcoef(everything) - torch.eye(10)).abs().max() < 0.08


@pytest.mark.parametrize("family", FAMILIES)
def test_changing_a_bit_changes_pixels_of_the_decisive_frames_alone(family):
    task = Task(family, gap=3, frames=8, size=12)
    two = family in ("match", "xor")
    first, second = ((0, 0), (1, 1)) if two else ((0,), (1,))
    one, other = task.clips(6, bits=first), task.clips(6, bits=second)
    differs = (one.clips != other.clips).any(1)
    assert torch.equal(differs.flatten(2).any(-1), one.decisive)
    assert not (differs & ~one.mask & ~other.mask).any()


@pytest.mark.parametrize(("family", "span"), [("match", 4), ("xor", 4), ("order", 4), ("static", 1), ("flash", 1)])
def test_the_span_is_what_a_network_must_see_together(family, span):
    planted = Task(family, gap=3, frames=8).clips(20)
    assert (planted.span == span).all()
    expected = 8 if family == "static" else 2 if span > 1 else 1
    assert (planted.decisive.sum(1) == expected).all()


def test_trajectories_have_no_span_and_move():
    planted = Task("trajectory", frames=20, size=64).clips(20, seed=1)
    assert planted.span.isnan().all()
    assert set(planted.labels.tolist()) == set(range(5))
    assert (planted.mask.flatten(2).sum(-1) >= 9).all()  # the square stays inside


def test_lines_keep_their_velocity_and_circles_their_speed():
    dice = Dice(0, torch.arange(8))
    line = steps(torch.full((8,), 3), dice, 20)
    assert (line - line[:, :1]).abs().max() < 1e-6
    assert ((line.norm(dim=-1) >= 1) & (line.norm(dim=-1) <= 3)).all()
    circle = steps(torch.zeros(8, dtype=torch.long), dice, 20)
    torch.testing.assert_close(circle.norm(dim=-1), torch.full((8, 20), 2.0))
    assert circle.sum(1).abs().max() < 1e-4  # a full turn comes back


@pytest.mark.parametrize("family", ["match", "xor"])
def test_one_event_alone_says_nothing_about_the_label(family):
    planted = {bits: Task(family, gap=2).clips(3, bits=bits).labels[0].item() for bits in BITS}
    for bit in (0, 1):
        assert planted[bit, 0] != planted[bit, 1]
        assert planted[0, bit] != planted[1, bit]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_bits_are_what_the_label_is_made_of_and_the_same_bits_make_the_same_clip(family):
    task = Task(family, gap=2, frames=8, size=12)
    drawn = task.clips(6, seed=2)
    for clip in range(6):
        again = task.clips([clip], seed=2, bits=drawn.bits[clip].tolist())
        assert torch.equal(again.clips[0], drawn.clips[clip])
        assert again.labels[0] == drawn.labels[clip]
    assert Task("trajectory").clips(3).bits.shape == (3, 0)


def interaction(model: nn.Module, task: Task) -> torch.Tensor:
    """What the logits hold of both events together, (b,): zero for every sum of functions of one event each."""
    with torch.inference_mode():
        logits = [model(normalise(task.clips(3, bits=bits).clips, model).double()) for bits in BITS]
    margins = [one[:, 1] - one[:, 0] for one in logits]
    return (margins[0] - margins[1] - margins[2] + margins[3]).abs()


def loose(model: nn.Module) -> nn.Module:
    """Random weights that use all of their reach, in float64."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() == 5 and parameter.shape[2] > 1:
            nn.init.normal_(parameter)
    return model.double().eval()


@pytest.mark.parametrize("family", ["match", "xor"])
def test_a_frame_only_network_cannot_beat_chance_whatever_its_weights(family):
    # Without interaction the mean of y s over the four settings is zero, and that of the convex loss log 2 or more.
    model = loose(tsn_resnet(18, 2, width=8))
    assert interaction(model, Task(family, gap=1)).max() < 1e-12
    losses = []
    for bits in BITS:
        planted = Task(family, gap=1).clips(8, bits=bits)
        with torch.inference_mode():
            losses.append(nn.functional.cross_entropy(model(normalise(planted.clips, model).double()), planted.labels))
    assert sum(losses) / 4 >= torch.tensor(2.0).log() - 1e-9


@pytest.mark.parametrize("family", ["match", "xor"])
def test_a_network_of_radius_r_sees_both_events_up_to_a_gap_of_2_r_and_no_further(family):
    def far(gap: int) -> float:
        return interaction(model, Task(family, gap=gap, frames=20)).max().item()

    model = loose(tam_resnet(18, 2, 20, kernel_size=3, width=8))  # eight blocks
    for block in model.blocks()[0] + model.blocks()[1] + model.blocks()[2]:
        block.temporal = nn.Identity()
    assert sum(block.temporal.conv.kernel_size[0] // 2 for block in model.blocks()[3]) == 2  # so its radius is 2
    assert far(4) > 1e-9
    assert far(5) < 1e-12


def test_order_leaks_through_the_ends_of_the_clip_unless_a_margin_keeps_it_away():
    model = loose(tam_resnet(18, 2, 24, kernel_size=3, width=8))
    for block in model.blocks()[0] + model.blocks()[1] + model.blocks()[2]:
        block.temporal = nn.Identity()

    def told(first: int, gap: int = 6) -> float:
        """How the logits differ between red first and green first, at the same two frames."""
        red_first, green_first = torch.zeros(2, 1, 3, 24, 16, 16, dtype=torch.double)
        red_first[:, 0, first] = red_first[:, 1, first + gap] = 1
        green_first[:, 1, first] = green_first[:, 0, first + gap] = 1
        with torch.inference_mode():
            return (model(red_first) - model(green_first)).abs().max().item()

    assert told(4) < 1e-12  # further than twice the radius from either end: a sum of what each event gives
    assert told(0) > 1e-6
    assert Task("order", gap=6, frames=24, margin=4).clips(50).frames.min() == 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"family": "mtach"}, "family is one of 'match'"),
        ({"family": "match", "gap": 16}, "needs more than 16 frames"),
        ({"family": "match", "gap": 0}, "at least 1 frame apart"),
        ({"family": "flash", "size": 4}, "size >= 8"),
        ({"family": "flash", "noise": 2.0}, r"in \[0, 1\]"),
        ({"family": "flash", "margin": 8}, "needs more than 16 frames"),
    ],
)
def test_a_task_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Task(**wrong)


def test_bits_that_a_family_does_not_have_are_refused():
    with pytest.raises(ValueError, match=r"shows 2 bit\(s\)"):
        Task("match").clips(1, bits=(0,))
    with pytest.raises(ValueError, match="no bits"):
        Task("trajectory").clips(1, bits=(0,))


@pytest.mark.parametrize("name", pretrained_names())
def test_trained_weights_are_as_good_as_they_say_on_clips_nobody_trained_on(name):
    model, facts = load_pretrained(name), pretrained_facts(name)
    assert facts["accuracy"] >= 0.98
    fresh = PlantedClips(Task(**facts["task"]), 128, model.mean, model.std, seed=424_242)
    assert evaluate(model, fresh, 64) > 0.95
    assert model.classes == Task(**facts["task"]).classes


def test_an_unknown_name_of_trained_weights_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match=r"there are .*I3D-R18-f16-match-d4"):
        load_pretrained("I3D-R50")


def test_half_precision_weights_come_back_in_single_precision_with_the_facts_told(tmp_path):
    model = tsn_resnet(18, 2, width=8).eval()
    save_checkpoint(model, tmp_path / "half.safetensors", half=True, facts={"accuracy": 0.5})
    save_checkpoint(model, tmp_path / "whole.safetensors")
    half = load_model(tmp_path / "half.safetensors")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    for name, value in model.state_dict().items():
        torch.testing.assert_close(half.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    assert read_checkpoint(tmp_path / "half.safetensors").metadata["facts"] == '{"accuracy": 0.5}'
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]


def test_the_verdict_says_the_share_and_names_what_a_method_misses():
    matrix = torch.zeros(4, 8)
    matrix[:, 2], matrix[1, 5], matrix[0, 0] = -1.0, 1.0, 1.0
    seen = lrp3d.planted.finding(matrix, [2, 5])
    assert seen.share == pytest.approx(5 / 6)
    assert seen.chance == 0.25
    assert seen.missed == (5,)  # 1/6 is less than twice 1/8
    said = lrp3d.planted.verdict({"LRP": seen, "nothing": lrp3d.planted.finding(torch.zeros(4, 8), [2, 5])})
    assert said.startswith("The two deciding frames, 3 and 6, hold 83 % by LRP and 0 % by nothing (chance: 25 %).")
    assert said.endswith("LRP fails to find frame 6 and nothing fails to find frames 3 and 6.")


@pytest.mark.parametrize("frames", [[8], [-1]])
def test_a_frame_that_is_no_column_is_refused(frames):
    with pytest.raises(ValueError, match="8 columns"):
        lrp3d.planted.finding(torch.ones(4, 8), frames)
