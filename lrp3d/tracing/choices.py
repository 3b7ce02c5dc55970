"""What a composite must say before the whole forward pass is known; `lrp3d.Composite` implements it."""

from __future__ import annotations

from typing import Protocol

from torch import nn

from lrp3d.registry import Handler
from lrp3d.rules import Rule


class Choices(Protocol):
    """Choices that change how an operation is recorded."""

    @property
    def addresses_normalisation(self) -> bool:
        """Whether a batch norm may get another rule than Identity."""

    @property
    def addresses_products(self) -> bool:
        """Whether `product` may say anything."""

    def product(self, name: str, handler: Handler | None) -> str | None:
        """Which factor of a product of two signals is the weight; None if what is known about them decides."""

    def has_rule_of_softmax(self, name: str, handler: Handler | None, layer: nn.Module | None) -> bool:
        """Whether a rule is given for a softmax that is about to run; without one it is constant."""

    def rule_of_operation(self, handler: Handler | None) -> Rule | None:
        """The rule given for an operation, None without one."""
