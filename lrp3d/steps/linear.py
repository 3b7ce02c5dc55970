"""Linear steps: convolutions, fully connected layers, averages and sums, over which a rule shares relevance.

What is the same for all seeds, above all the denominators, is computed at the first seed and kept
(`lrp3d.steps.shares`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import cast

from torch import Tensor

from lrp3d.compute.einsum import Einsum
from lrp3d.compute.maps import Broadcast, Convolution, FullyConnected, MatrixProduct, Scale
from lrp3d.compute.plain import is_plain
from lrp3d.rules import Epsilon, Identity, Rule, SameSign, ZBeta, ZPlus
from lrp3d.steps.factor import Released, all_are_kept
from lrp3d.steps.lazy_relevance import LazyRelevance
from lrp3d.steps.operands import PreparedOperand
from lrp3d.steps.shares import PreparedShares, distribute, prepared
from lrp3d.steps.step import Step
from lrp3d.steps.summands import ElementwiseShare
from lrp3d.steps.weigher import Weigher


class LinearStep(Step):
    """An operation that is linear in its inputs: a convolution, a fully connected layer, an average, a sum.

    `z = sum of map(x, w) over the operands + bias`. The denominators are computed at the first seed and kept.

    Args:
        operands: its inputs, each with its map and weight.
        bias: the bias, to which constant inputs count as well.
        weighted: whether it is a layer with a weight.
        in_range: whether the valid range of all inputs is known, so that they are still the clip.
        of_products: whether it sums values that another signal weighs, or that two signals made by a product.
        weigher: the other signal, where that is the weight.
    """

    def __init__(
        self,
        operands: list[PreparedOperand],
        bias: Tensor | None = None,
        weighted: bool = False,
        in_range: bool = False,
        of_products: bool = False,
        weigher: Weigher | None = None,
    ):
        self.operands: list[PreparedOperand] = operands
        self.bias = bias
        self.weighted = weighted
        self.in_range = in_range
        self.of_products = of_products
        self.weigher = weigher
        self.prepared: PreparedShares = PreparedShares()
        """The shares of the rule, prepared when the first relevance arrives."""
        self._preparing = threading.Lock()
        self._shares_without_factor: Sequence[ElementwiseShare] | None = None
        self._unchanged = False
        self._released = False

    @property
    def weighed_by_signal(self) -> bool:
        """Whether the weight is another signal, such as attention probabilities or a kernel computed from the clip."""
        if self.of_products:
            return True
        return not self.weighted and any(isinstance(operand.w.value, Tensor) for operand in self.operands)

    @property
    def new_axis(self) -> int | None:
        """The axis (channels) that a layer makes with its weights; None for one that has a weight for each value."""
        if not self.weighted or not self.operands:
            return None
        map, axes = self.operands[0].map, len(self.shape)
        if isinstance(map, (Convolution, Scale)):
            return 1
        if isinstance(map, FullyConnected):
            return axes - 1
        if isinstance(map, MatrixProduct):
            return axes - 1 if map.left else axes - 2
        if isinstance(map, Einsum):
            of_input, _, of_output = map.letters
            new = [letter for letter in of_output if letter not in of_input]
            return of_output.index(new[0]) if len(new) == 1 else None
        return None

    @property
    def hands_on_all(self) -> bool:
        """Whether nothing that came last could stay in it: no bias, no epsilon, and inputs for every output.

        Of plain kernels it is not taken for granted.
        """
        return self.prepared.always_handed_on_all and not is_plain()

    @property
    def is_booked(self) -> bool:
        """Whether its rule shares."""
        return self.rule is None or not self.rule.unchanged

    @property
    def default_rule(self) -> Rule:
        """Z-beta where it sees the clip, z+ elsewhere; epsilon after the classifier, identity where nothing is shared.

        Values that are weighted by another signal (attention) share by the parts that have the sign of the result, so
        that a negative result is explained by what made it negative. Between the classifier and the logits (the average
        over frames) relevance is shared by what each frame logit contributes, with its sign: nothing can be amplified
        there, and the sum of the rows of the temporal matrix stays the clip's relevance. A constant that is added there
        gets nothing.
        """
        if isinstance(self.operands[0].map, Scale):
            return Identity()
        shifted = len(self.operands) == 1 and isinstance(self.operands[0].map, Broadcast)
        if self.after_classifier and not shifted:
            return Epsilon(0.0)
        if self.sees_clip:
            return ZBeta()
        return SameSign() if self.weighed_by_signal else ZPlus()

    def accepts(self, rule: Rule) -> bool:
        """Accepts rules that share, and rules that change nothing where the only input has the shape of the output."""
        if rule.unchanged:
            return len(self.operands) == 1 and self.operands[0].shape == self.shape
        return rule.on_linear

    def assign_rule(self, rule: Rule) -> None:
        """Takes the rule, and releases the activations where relevance will pass unchanged."""
        super().assign_rule(rule)
        alone = len(self.operands) == 1 and isinstance(self.operands[0].map, Broadcast)
        self._unchanged = rule.unchanged or (alone and self.operands[0].shape == self.shape and not rule.absorbs)
        if self._unchanged and not self.after_classifier:  # where signs count
            self.operands, self.bias = [], None

    def under(self, rule: Rule) -> LinearStep:
        """The same operation under another rule."""
        step = LinearStep(self.operands, self.bias, self.weighted, self.in_range, self.of_products, self.weigher)
        step.site, step.position = self.site, self.position
        step.assign_rule(rule)
        return step

    def relevance(self, r: Tensor) -> Sequence[Tensor]:
        """Applies Eq. 1 for every share of the rule."""
        if self._unchanged:
            return [r]
        return [c.tensor(o.shape) for c, o in zip(self.propagate(LazyRelevance(r)), self.operands, strict=True)]

    def propagate(self, lazy: LazyRelevance) -> Sequence[LazyRelevance]:
        """Applies Eq. 1, and leaves the last multiplication to the next step."""
        if self._unchanged:
            return [lazy]
        with self._preparing:  # seeds that come at the same time, with several factors
            if not self.prepared.fit(lazy):
                self._prepare(lazy)
            shares = self.prepared.shares
        sums: list[LazyRelevance | None] = [None] * len(self.operands)
        for contributions in distribute(shares, self.operands, self.shape, lazy):
            sums = [
                new if old is None else old.plus(new, operand.shape)
                for old, new, operand in zip(sums, contributions, self.operands, strict=True)
            ]
        whole = cast(list[LazyRelevance], sums)
        if len(whole) == 1 and self.hands_on_all:
            lazy.share_total(whole[0], self.operands[0].shape.numel() < self.shape.numel())
        return [c if o.map.keeps_bands else c.narrowed(lazy) for c, o in zip(whole, self.operands, strict=True)]

    def _prepare(self, lazy: LazyRelevance) -> None:
        """Computes everything about the shares that is the same for all seeds."""
        assert self.rule is not None
        if self._released:
            raise Released(f"{self.name} was released and gets relevance with another factor")
        factor = None if lazy.factor is None else lazy.factor.whole()
        if self._shares_without_factor is not None:
            self.prepared.keep([share.times(factor) for share in self._shares_without_factor], lazy)
            return
        self.operands = [operand.widened() for operand in self.operands]
        self.prepared.keep(prepared(self.rule, self.operands, self.bias, self.shape, factor), lazy)
        if factor is None and len(self.operands) > 1 and lazy.value.dtype == self.operands[0].source.dtype:
            self._release_inputs()

    def release(self, lazy: LazyRelevance) -> None:
        """Releases the inputs, and what the factor of the relevance holds: both are in the prepared shares.

        The classifier keeps its own, as it hands on one side of a contrast as well.
        """
        if self.is_classifier or self.after_classifier:
            super().release(lazy)
        elif not self._unchanged:
            if lazy.factor is not None:
                lazy.factor.held.release()
            if not self._released and not all_are_kept():
                self._released = True
                self.operands = [operand.emptied() for operand in self.operands]
                self.bias = None
                self.prepared.release()

    def _release_inputs(self) -> None:
        """Releases the summands as soon as their contributions are known, because nothing else needs them."""
        self._shares_without_factor = self.prepared.elementwise
        if self._shares_without_factor is not None:
            self.operands = [operand.emptied() for operand in self.operands]
            self.bias = None
