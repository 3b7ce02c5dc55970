"""What `check` says of its numbers: intervals, a table, and a verdict that claims no more than they show."""

import pytest
import torch
from test_conservation import net
from checked_nets import Additive, CLIPS, frame_clips

import lrp3d
from lrp3d.faithfulness.scores import Faithfulness


def test_the_verdict_says_what_the_numbers_mean():
    alike = {"other logit": {"LRP": torch.ones(3)}, "gain (freeze)": {"LRP": torch.ones(3), "random": torch.zeros(3)}}
    said = Faithfulness(alike, torch.ones(3), torch.zeros(3)).verdict
    assert "LRP says the same of another class" in said
    assert "do not rely" not in said
    unsure = {"gain (freeze)": {"LRP": torch.tensor([-1.0, 2.0, 0.1]), "random": torch.zeros(3)}}
    doubted = Faithfulness(unsure, torch.ones(3), torch.zeros(3)).verdict
    assert "do not rely on the order" in doubted
    assert "That is not above a random order beyond what these 3 clips leave open." in doubted


def test_a_number_that_rounds_to_zero_is_not_said_to_be_below_it():
    tiny = {"gain (freeze)": {"LRP": torch.tensor([-0.003, 0.001, -0.002])}}
    assert str(Faithfulness(tiny, torch.ones(3), torch.zeros(3)).score("gain (freeze)", "LRP")) == "0.00 [0.00, 0.00]"


def test_a_method_is_best_only_where_the_clips_tell_it_from_the_others():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(2)
    unlike = torch.tensor([0.3, -0.2, 0.1, -0.1]).repeat(2)
    methods = {"CLRP": values, "LRP": values + unlike, "random": torch.zeros(8)}
    said = Faithfulness({"gain (freeze)": methods}, torch.ones(8), torch.zeros(8)).verdict
    assert "LRP gains most from its order of the frames" in said
    assert "These 8 clips do not tell it from CLRP." in said
    methods["LRP"] = values + unlike.abs()  # above on every clip, although the intervals overlap
    found = Faithfulness({"gain (freeze)": methods}, torch.ones(8), torch.zeros(8))
    assert "LRP orders the frames best" in found.verdict
    assert found.advantage("gain (freeze)", "LRP", "CLRP").low > 0
    assert found.to_dict()["exact_shapley"] is None


def test_the_headline_is_short_and_never_praises_an_order_that_chance_may_have_made():
    """It said that gradient x input orders the frames best, and then that this is not above a random order."""
    unsure = torch.tensor([-1.0, 2.0, 0.1])
    gains = {"LRP": unsure, "gradient x input": unsure + 1.0, "random": torch.zeros(3)}
    found = Faithfulness({"gain (freeze)": gains}, torch.ones(3), torch.zeros(3))
    assert found.advantage("gain (freeze)", "gradient x input", "LRP").low > 0
    assert found.score("gain (freeze)", "gradient x input").low <= 0
    assert found.headline == "No method is shown to order the frames better than chance: do not rely on the order"
    assert "best" not in found.verdict
    values = torch.tensor([1.0, 2.0, 3.0, 4.0]).repeat(2)
    near = {"CLRP": values, "LRP": values + torch.tensor([0.3, -0.2, 0.1, -0.1]).repeat(2), "random": torch.zeros(8)}
    found = Faithfulness({"gain (freeze)": near}, torch.ones(8), torch.zeros(8))
    assert found.headline == "CLRP and LRP order the frames better than chance"


def test_few_clips_and_clips_that_repeat_one_another_have_no_verdict():
    gains = {"gain (freeze)": {"LRP": torch.tensor([1.0, 1.1]), "random": torch.zeros(2)}}
    few = Faithfulness(gains, torch.ones(2), torch.zeros(2))
    assert few.headline == "2 clips are too few for a verdict: take at least 6, better twenty"
    assert "LRP gains most from its order" in few.verdict
    found = lrp3d.check(net(), CLIPS[:1].expand(7, -1, -1, -1, -1), 0, shapley_values=False)
    assert found.repeated == 6
    assert "6 of the clips repeat others, so that intervals are too narrow" in found.about
    assert found.headline == "1 different clip is too few for a verdict: take at least 6, better twenty"
    assert lrp3d.check(net(), CLIPS[:1].expand(2, -1, -1, -1, -1), [0, 1], shapley_values=False).repeated == 0


def test_what_the_headline_says_of_a_method_stands_among_its_reasons():
    """It said that LRP is better than chance, and then only that CLRP, which gains most, is not."""
    gains = {
        "LRP": torch.tensor([0.5, 0.6, 0.5, 0.6, 0.5, 0.6]),
        "CLRP": torch.tensor([-2.0, 4.0, -2.0, 4.0, -2.0, 4.0]),
        "random": torch.zeros(6),
    }
    found = Faithfulness({"gain (freeze)": gains}, torch.ones(6), torch.zeros(6))
    assert found.headline == "LRP orders the frames better than chance"
    assert "CLRP gains most" in found.verdict
    assert "is not above a random order" in found.verdict
    assert f"That of LRP is, with {found.score('gain (freeze)', 'LRP')}." in found.verdict


def test_what_holds_for_several_methods_is_said_once():
    alike = {"other logit": {"CLRP": torch.ones(3), "LRP": torch.ones(3)}}
    gains = {"gain (freeze)": {"CLRP": torch.ones(3), "LRP": torch.ones(3), "random": torch.zeros(3)}}
    said = Faithfulness(alike | gains, torch.ones(3), torch.zeros(3)).verdict
    assert "CLRP and LRP say the same of another class: they do not tell classes apart here." in said
    assert said.count("another class") == 1


def test_cells_without_a_number_say_why():
    found = lrp3d.check(net(), CLIPS, [0, 1, 2])
    assert str(found.score("other logit", "random")) == "-"
    why = "-: random numbers and gradient x input are not held against other classes and weights"
    assert why in str(found).split("\n")
    gains = {"gain (freeze)": {"LRP": torch.ones(3), "random": torch.zeros(3)}}
    assert Faithfulness(gains, torch.ones(3), torch.zeros(3)).blanks == []
    still = lrp3d.check(net(), CLIPS[:1, :, :1].expand(1, 3, 4, 5, 5), 0, methods=["LRP"])
    assert any("stand still" in why for why in still.blanks)


def test_intervals_hold_the_mean_and_gains_are_shares_of_the_lead():
    found = Faithfulness({"gain (freeze)": {"LRP": torch.tensor([1.0, 3.0])}}, torch.tensor([2.0, 6.0]), torch.zeros(2))
    score = found.score("gain (freeze)", "LRP")
    assert (score.mean, score.low, score.high) == pytest.approx((0.5, 0.5, 0.5))
    assert str(found.score("gain (freeze)", "CLRP")) == "-"


def test_an_order_that_is_good_gains_as_much_for_a_class_that_does_not_lead():
    model = Additive().double().eval()
    with torch.no_grad():
        model.fc.weight[1] = -1.0
    for_the_leader, for_the_other = (lrp3d.check(model, frame_clips(), k, shapley_values=False) for k in (0, 1))
    torch.testing.assert_close(for_the_other.lead, -for_the_leader.lead)
    gains = [found.score("gain (freeze)", "intervention").mean for found in (for_the_leader, for_the_other)]
    assert gains[0] > 0
    assert gains[1] == pytest.approx(gains[0])


def test_one_clip_has_no_interval_and_no_order_above_chance():
    gains = {"gain (freeze)": {"CLRP": torch.tensor([1.0]), "random": torch.tensor([-0.5])}}
    found = Faithfulness(gains, lead=torch.tensor([2.0]), targets=torch.tensor([0]))
    assert str(found.score("gain (freeze)", "CLRP")) == "0.50"
    assert found.to_dict()["measures"]["gain (freeze)"]["CLRP"]["low"] is None
    assert found.about.startswith("1 clip; no intervals")
    assert "not above a random order beyond what one clip leaves open" in found.verdict


def test_intervals_of_few_clips_are_said_to_be_too_narrow():
    gains = {"gain (freeze)": {"CLRP": torch.tensor([1.0, 2.0]), "random": torch.tensor([-0.5, 0.5])}}
    found = Faithfulness(gains, lead=torch.ones(2), targets=torch.zeros(2))
    assert "2 clips; means with 95 % intervals over clips, which are too narrow for so few" in found.about


def test_no_method_is_blamed_for_maps_that_are_the_same_by_interventions_too():
    """Rows of a network without temporal layers are single frames, whatever the class and the weights."""
    torch.manual_seed(0)
    model = lrp3d.models.build("TSN-R18-f4", num_classes=5, width=4).eval()
    clips = torch.randn(3, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    found = lrp3d.check(model, clips, methods=["CLRP"], shapley_values=False)
    assert found.score("random parameters", "CLRP").mean > 0.9
    assert "hardly notices" not in found.verdict
    assert "blames no method here" in found.verdict
