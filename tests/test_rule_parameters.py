"""A rule says at once which parameters it takes, and where it comes from."""

import math
import re

import pytest
import torch

from lrp3d import rules


def test_every_rule_has_a_source_and_an_example_in_its_docstring():
    for rule in vars(rules).values():
        if isinstance(rule, type) and issubclass(rule, rules.Rule) and rule is not rules.Rule:
            assert any(word in rule.__doc__ for word in ("paper", "al. 20")), rule
            assert ">>>" in rule.__doc__, rule


@pytest.mark.parametrize("rule", [rules.SameSign(), rules.Identity()])
def test_a_rule_that_shares_alike_under_w_and_its_negative_cannot_be_contrasted(rule):
    with pytest.raises(ValueError, match="nothing is left"):
        rules.Contrastive(rule)


WRONG = {
    "Epsilon(-1e-3)": (ValueError, "epsilon of Epsilon must be at least 0, got -0.001"),
    "Epsilon(nan)": (ValueError, "epsilon of Epsilon must be finite, got nan"),
    "Epsilon(None)": (TypeError, "epsilon of Epsilon must be a number, got None"),
    "Gamma('x')": (TypeError, "gamma of Gamma must be a number, got 'x'"),
    "Gamma(-1.0)": (ValueError, "gamma of Gamma must be at least 0, got -1.0"),
    "Gamma(0.25, -1.0)": (ValueError, "epsilon of Gamma must be at least 0"),
    "AlphaBeta(nan, 1.0)": (ValueError, "alpha of AlphaBeta must be finite"),
    "AlphaBeta('x', 1.0)": (TypeError, "alpha of AlphaBeta must be a number"),
    "AlphaBeta(0.5, -0.5)": (ValueError, "beta >= 0"),
    "ZBeta(1, 0)": (ValueError, "low of ZBeta must be at most high, got low=1 and high=0"),
    "ZBeta(torch.tensor([0.0, 1.0]), 0.5)": (ValueError, "low of ZBeta must be at most high"),
    "ZBeta(nan, 1.0)": (ValueError, "low of ZBeta must be finite"),
    "ZBeta(0.0, inf)": (ValueError, "high of ZBeta must be finite"),
    "ZBeta((0, 0, 0), 1.0)": (TypeError, "low of ZBeta must be a number"),
    "Opposed(SameSign())": (ValueError, "SameSign() cannot explain what speaks against"),
}


@pytest.mark.parametrize("written", WRONG)
def test_a_rule_says_at_once_which_parameters_it_takes(written):
    kind, message = WRONG[written]
    with pytest.raises(kind, match=re.escape(message)):
        eval(written, {**vars(rules), "torch": torch, "nan": math.nan, "inf": math.inf})


def test_rules_take_whole_numbers_tensors_and_empty_ranges():
    for rule in (rules.Epsilon(0), rules.Gamma(torch.tensor(0.25)), rules.ZBeta(0, 0), rules.ZBeta(high=1.0)):
        assert isinstance(rule, rules.Rule)
    low, high = (torch.full((1, 2, 1, 1, 1), end) for end in (0.0, 1.0))
    assert rules.ZBeta(low, high).low is low


def test_a_number_may_be_a_tensor_of_one_value_and_no_other_tensor():
    assert rules.Epsilon(torch.tensor(0.5)) == rules.Epsilon(0.5)
    with pytest.raises(TypeError, match="gamma of Gamma must be a number"):
        rules.Gamma(torch.tensor([0.1, 0.2]))
