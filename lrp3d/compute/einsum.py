"""Einstein sums of two tensors as a linear map of either, with an adjoint that copies neither for each seed."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lrp3d.compute.linear_map import LinearMap, grouped, of_every_entry
from lrp3d.compute.terms import Weight


def explicit(equation: str, axes: Sequence[int]) -> str:
    """The equation with all letters written out: without spaces or ellipsis, and with an output.

    Args:
        equation: as `torch.einsum` takes it.
        axes: number of axes of each operand, which says how many letters stand for an ellipsis.

    >>> explicit("b i j, b j", [3, 2]), explicit("...ij,...jk->...ik", [4, 3])
    ('bij,bj->i', 'BAij,Ajk->BAik')
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    operands = inputs.split(",")
    unused = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in equation]
    written, longest = [], ""
    for operand, count in zip(operands, axes, strict=True):
        extra = count - len(operand.replace("...", "")) if "..." in operand else 0
        letters = "".join(reversed(unused[:extra]))
        longest = max(longest, letters, key=len)
        written.append(operand.replace("...", letters))
    if not arrow:
        together = "".join(written)
        once = sorted(letter for letter in set(together) - set(longest) if together.count(letter) == 1)
        output = "..." + "".join(once)
    return f"{','.join(written)}->{output.replace('...', longest)}"


def contracted_in_pairs(equation: str) -> tuple[str, str]:
    """Splits an explicit equation into one for the first two operands and one for their result with all others.

    >>> contracted_in_pairs("bi,ij,jk->bk")
    ('bi,ij->bj', 'bj,jk->bk')
    """
    inputs, output = equation.split("->")
    first, second, *others = inputs.split(",")
    needed = set(output).union(*others)
    inner = "".join(letter for letter in dict.fromkeys(first + second) if letter in needed)
    return f"{first},{second}->{inner}", f"{','.join([inner, *others])}->{output}"


@dataclass(frozen=True)
class Einsum(LinearMap):
    """An explicit Einstein sum of two tensors, as a linear map of the `first` or of the second."""

    equation: str
    first: bool

    @staticmethod
    def can(equation: str, shapes: Sequence[torch.Size]) -> bool:
        """Whether every letter has one size and no operand has it twice, and a letter is left for the seeds."""
        sizes: dict[str, int] = {}
        for operand, shape in zip(equation.split("->")[0].split(","), shapes, strict=True):
            if len(set(operand)) < len(operand):
                return False
            for letter, size in zip(operand, shape, strict=True):
                if sizes.setdefault(letter, size) != size:
                    return False
        return len(sizes) < len(string.ascii_letters)

    @property
    def letters(self) -> tuple[str, str, str]:
        """The letters of the input, of the weight and of the output."""
        inputs, output = self.equation.split("->")
        left, right = inputs.split(",")
        return (left, right, output) if self.first else (right, left, output)

    def __call__(self, a: Tensor, v: Weight) -> Tensor:
        """Computes the einsum of `a` and `v`."""
        assert isinstance(v, Tensor)
        return torch.einsum(self.equation, a, v) if self.first else torch.einsum(self.equation, v, a)

    def adjoint(self, r: Tensor, v: Weight, shape: torch.Size) -> Tensor:
        """Contracts `r` with the weight; the seeds are one more letter of `r`, so that the weight is not copied."""
        assert isinstance(v, Tensor)
        of_input, of_weight, of_output = self.letters
        seeds = next(letter for letter in string.ascii_letters if letter not in self.equation)
        letters = "".join(letter for letter in of_input if letter in of_output + of_weight)
        relevance = torch.einsum(f"{seeds}{of_output},{of_weight}->{seeds}{letters}", r, v)
        for axis, letter in enumerate(of_input):  # a letter of the input alone is summed over: all values count alike
            if letter not in letters:
                relevance = relevance.unsqueeze(axis + 1)
        return relevance.expand(len(r), *shape)

    def time_axes(self, shape: torch.Size, output: torch.Size) -> list[int]:
        """The axes that are summed, for every query of the weight."""
        of_input, of_weight, of_output = self.letters
        summed = (letter in of_weight and letter not in of_output for letter in of_input)
        return [axis for axis, is_summed in enumerate(summed, -len(shape)) if is_summed and axis > -len(shape)]

    def without_time(self, shape: torch.Size, axis: int) -> LinearMap | None:
        """The sum over the other axes."""
        of_input, of_weight, of_output = self.letters
        equation = f"{of_input},{of_weight}->{of_output}{of_input[axis]}"
        return of_every_entry(lambda a, v: torch.einsum(equation, a, v), axis, shape[axis])

    def of_groups(self, shape: torch.Size, axis: int, groups: Tensor) -> LinearMap | None:
        """One sum for each group, of the size of the output; single entries would be as many of these."""
        of_input, of_weight, of_output = self.letters
        entry = of_input[axis]
        group = next(letter for letter in string.ascii_letters if letter not in self.equation)
        left, right = (letters.replace(entry, group + entry) for letters in (of_input, of_weight))
        of_weights = of_weight.index(entry) - len(of_weight)

        def sums(a: Tensor, v: Tensor) -> Tensor:
            return torch.einsum(
                f"{left},{right}->{of_output}{group}", grouped(a, axis, groups), grouped(v, of_weights, groups)
            )

        return of_every_entry(sums, axis, len(groups))
