"""What all seeds share, the factors over the denominators, is right wherever a denominator is zero."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrp3d.steps import coefficients

DENOMINATORS = [0.0, -0.0, 1.0, -2.5, 1e-30, 1e-40, 3e38, math.inf, -math.inf]
FACTORS = [0.0, 0.5, -1.5, 1e-30, 1e-40]


@given(st.lists(st.tuples(st.sampled_from(DENOMINATORS), st.sampled_from(FACTORS)), min_size=1, max_size=30))
def test_a_factor_is_divided_by_its_denominator_and_shared_equally_where_that_is_zero(pairs):
    z, factor = torch.tensor(pairs).T.contiguous()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coefficients, "BLOCK", 4)
        found, equal = coefficients.coefficients(
            z.clone(), 0.0, 1.0, factor, lambda: torch.full_like(z, 2.0), overwrite=True
        )
    for i, (denominator, numerator) in enumerate(zip(z.tolist(), factor.tolist(), strict=True)):
        # Relevance times the quotient could overflow, whatever stands beside it in its block.
        overflows = denominator == 0 or abs(numerator / denominator) > 1e31
        counts_as_zero = numerator != 0 and overflows
        shared = torch.zeros(()) if equal is None else equal[i]
        quotient = 0.0 if counts_as_zero or numerator == 0 else numerator / denominator
        torch.testing.assert_close(float(found[i]), quotient, rtol=1e-5, atol=1e-44)
        torch.testing.assert_close(float(shared), numerator / 2 if counts_as_zero else 0.0, rtol=1e-5, atol=1e-44)


def test_without_a_factor_over_a_zero_there_is_no_equal_share():
    z, factor = torch.tensor([0.0, 2.0]), torch.tensor([0.0, 3.0])
    found, equal = coefficients.coefficients(z, 0.0, 1.0, factor, lambda: torch.ones(2))
    assert equal is None
    assert found.tolist() == [0.0, 1.5]


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("coefficient", [1.0, -0.5, torch.tensor([1.0, 2.0, 3.0])])
def test_the_coefficient_of_the_share_counts_in_any_layout(contiguous, coefficient):
    z, factor = torch.tensor([[2.0, 4.0, 0.0], [1.0, 8.0, 5.0]]), torch.tensor([[1.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    if not contiguous:
        z = z.T.contiguous().T
    found, equal = coefficients.coefficients(z.clone(), 0.0, coefficient, factor, lambda: torch.full((2, 3), 4.0))
    torch.testing.assert_close(found, torch.where(z == 0, 0.0, factor / z) * coefficient)
    torch.testing.assert_close(equal, torch.where(z == 0, factor / 4, 0.0) * coefficient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_epsilon_has_the_sign_of_the_denominator_and_the_precision_of_its_type(dtype):
    z = torch.tensor([1e-3, -1e-3, 2.5, -1e-9, 1e-9], dtype=dtype)
    found, equal = coefficients.coefficients(z.clone(), 1e-3, 1.0, None, lambda: torch.ones_like(z))
    assert equal is None
    wanted = [1 / (value + math.copysign(1e-3, value)) for value in z.tolist()]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=dtype), rtol=4 * torch.finfo(dtype).eps, atol=0.0)
