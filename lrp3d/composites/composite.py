"""A composite: which layer gets which rule, by name, position, operation or type."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import resolve_name

import lrp3d.operations  # noqa: F401  so that OPERATIONS is filled
from lrp3d.callers import warn
from lrp3d.composites.kinds import SUMS
from lrp3d.registry import OPERATIONS, handler_of
from lrp3d.rules import Contrastive, Rule, ZPlus, contrasted
from lrp3d.steps.elementwise import Elementwise
from lrp3d.steps.step import Step
from lrp3d.suggestions import names_hint

FACTORS = ("first", "second", "halves")
"""What a composite may say about a product of two signals."""


class Composite:
    """Says which layer gets which rule; layers that match no entry get the default of `paper`.

    Args:
        layers: rules by layer type; subclasses match, the nearest type wins. A function in a forward counts as the
            layer that does the same (`F.conv3d` as `nn.Conv3d`).
        operations: rules by torch function (`torch.add` means `+`, `+=` and `Tensor.add` as well).
        names: rules by qualified name (`"layer4.0.conv1"`) or pattern (`"layer4.*"`). A pattern matches the layers that
            share relevance (convolutions, linear layers, pools) and leaves out those for which its rule cannot be used;
            an exact name matches everything that has it. If one fits nothing in a model, the model is refused.
        first: the rule of the weighted layers that see the clip.
        classifier: the rule of the last weighted layers before the logits. Contrastive relevance needs one that gives
            relevance to what speaks for a class (`ZPlus`, `AlphaBeta`, `ZBeta`). If `layers` have another one for these
            layers, as in all presets but `paper`, z+ takes its place there, and `Explanation.about` says so.
        products: which factor of a product of two signals is the weight, and so constant to relevance: "first",
            "second", or "halves" if neither should be; for all products, or by name, pattern or torch function. For
            other products the signals decide (see docs/attention.md). The statistics of a norm are always constant.

    A name takes precedence over a position, a position over an operation, an operation over a type.

    Raises:
        TypeError: if a value is not a rule, or a key of `layers` is not a layer type.
        ValueError: if a function in `operations` is unknown to lrp3d.

    >>> import torch, lrp3d
    >>> from lrp3d.rules import Epsilon, Flat
    >>> lrp3d.Composite(layers={torch.nn.Linear: Epsilon(1e-6)}, names={"stem.*": Flat()})
    Composite(layers={Linear: Epsilon(epsilon=1e-06)}, names={'stem.*': Flat()})
    """

    def __init__(
        self,
        layers: Mapping[type[nn.Module], Rule] | None = None,
        operations: Mapping[Any, Rule] | None = None,
        names: Mapping[str, Rule] | None = None,
        first: Rule | None = None,
        classifier: Rule | None = None,
        products: str | Mapping[str | Callable[..., Any], str] | None = None,
    ):
        _check_dictionaries(layers=layers, operations=operations, names=names)
        if not isinstance(products, (str, Mapping, NoneType)):
            raise TypeError(f"Composite(products=...) must be a factor or a dictionary of them, got {products!r}")
        self.layers: dict[type[nn.Module], Rule] = dict(layers or {})
        self.operations: dict[Callable[..., Any], Rule] = dict(operations or {})
        self.names: dict[str, Rule] = dict(names or {})
        self.first = first
        self.classifier = classifier
        self.products: dict[str | Callable[..., Any], str] = (
            {"*": products} if isinstance(products, str) else dict(products or {})
        )
        self._check_keys()
        rules = [*self.layers.values(), *self.operations.values(), *self.names.values()]
        for rule in rules + [rule for rule in (first, classifier) if rule is not None]:
            if not isinstance(rule, Rule):
                raise TypeError(f"every rule of a composite must be one such as lrp3d.rules.ZPlus(), got {rule!r}")

    def _check_keys(self) -> None:
        """Raises TypeError or ValueError if something is no layer type, name, operation or factor."""
        if wrong := [key for key in self.names if not isinstance(key, str)]:
            raise TypeError(f"Composite(names=...): a key must be the name of a module, got {wrong[0]!r}")
        for key, factor in self.products.items():
            if factor not in FACTORS:
                allowed = ", ".join(map(repr, FACTORS))
                raise ValueError(f"Composite(products=...): a value must be one of {allowed}, got {factor!r}")
            if not isinstance(key, str) and key not in OPERATIONS:
                raise ValueError(
                    f"Composite(products=...): a key must be a name or an operation lrp3d knows, got "
                    f"{resolve_name(key) or repr(key)}"
                )
        for key in self.layers:
            if not (isinstance(key, type) and issubclass(key, nn.Module)):
                raise TypeError(f"Composite(layers=...): a key must be an nn.Module type, got {key!r}")
        for function in self.operations:
            if function not in OPERATIONS:
                raise ValueError(
                    f"Composite(operations=...): a key must be an operation lrp3d knows, got "
                    f"{resolve_name(function) or repr(function)}; register it first"
                )

    def __eq__(self, other: object) -> bool:
        return self._choices == other._choices if isinstance(other, Composite) else NotImplemented

    @property
    def _choices(self) -> tuple[Any, ...]:
        """All that the composite says; of patterns and operations the first one that fits counts, so in order."""
        ordered = (list(entries.items()) for entries in (self.operations, self.names, self.products))
        return (self.layers, self.first, self.classifier, *ordered)

    def __hash__(self) -> int:
        return hash((frozenset(self.layers.items()), frozenset(self.names.items()), self.first, self.classifier))

    def __repr__(self) -> str:
        layers = "{" + ", ".join(f"{key.__name__}: {rule}" for key, rule in self.layers.items()) + "}"
        names = {key: key if isinstance(key, str) else key.__name__ for key in self.operations}
        functions = "{" + ", ".join(f"{names[key]}: {rule}" for key, rule in self.operations.items()) + "}"
        parts = {"layers": layers if self.layers else "", "operations": functions if self.operations else ""}
        parts |= {"names": str(self.names) if self.names else ""}
        parts |= {"first": str(self.first or ""), "classifier": str(self.classifier or "")}
        parts |= {"products": str(self.products) if self.products else ""}
        return f"Composite({', '.join(f'{key}={value}' for key, value in parts.items() if value)})"

    @property
    def addresses_normalisation(self) -> bool:
        """Whether a batch norm may get another rule than Identity."""
        by_type = any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in self.layers)
        by_function = any(handler_of(function) is handler_of(F.batch_norm) for function in self.operations)
        return by_type or by_function or any(not _is_pattern(name) for name in self.names)

    @property
    def addresses_products(self) -> bool:
        """Whether it says which factor weighs in some products."""
        return bool(self.products)

    def product(self, name: str, handler: Callable[..., Any] | None) -> str | None:
        """Which factor of a product of two signals is the weight; None if the composite does not say."""
        for key, factor in self.products.items():
            fits = fnmatch.fnmatchcase(name, key) if isinstance(key, str) else handler_of(key) is handler
            if fits:
                return factor
        return None

    def rule_of_operation(self, handler: Callable[..., Any] | None) -> Rule | None:
        """The rule that the composite gives to an operation; None if it gives none."""
        return next((rule for function, rule in self.operations.items() if handler_of(function) is handler), None)

    def has_rule_of_softmax(self, name: str, handler: Callable[..., Any] | None, layer: nn.Module | None) -> bool:
        """Whether the composite gives a rule to a softmax that is about to run; without one it is constant.

        Args:
            name: the name that its step will have.
            handler: that of `F.softmax`.
            layer: the module that is running, if it is a layer.
        """
        kind = type(layer) if isinstance(layer, (nn.Softmax, nn.Softmax2d)) else nn.Softmax
        named = any(fnmatch.fnmatchcase(name, key) and rule.on_softmax for key, rule in self.names.items())
        by_type = self._of_kind(kind, lambda rule: rule.on_softmax)
        return name in self.names or named or self.rule_of_operation(handler) is not None or by_type is not None

    def rule_for(self, step: Step) -> Rule:
        """The rule of a step whose position is known; raises ValueError if the matching rule cannot be used there."""
        rule = self._entry(step)
        if rule is None:
            return step.default_rule
        if not step.accepts(rule):
            raise ValueError(
                f"{rule} cannot be the rule of '{step.name}' ({step.operation}); its default is {step.default_rule}"
            )
        return rule

    def contrastive_rule_for(self, step: Step) -> Contrastive:
        """The rule of a classifier with its contrast (paper, Eq. 2).

        Where the composite has a rule for the layer's type that gives no contrast (`Rule.contrasts`), z+ stands for it.

        Raises:
            ValueError: if the composite gives such a rule to the classifier itself, by position or by name.
        """
        rule = self.rule_for(step)
        if rule.contrasts:
            return contrasted(rule)
        if self._by_name(step) is not None or self.classifier is not None:
            raise ValueError(
                f"{rule} makes no contrast between what speaks for a class and what speaks against it: give the "
                f"classifier '{step.name}' another rule, such as ZPlus(), or pass contrastive=False"
            )
        return Contrastive(ZPlus(), instead_of=rule)

    def _entry(self, step: Step) -> Rule | None:
        if (named := self._by_name(step)) is not None:
            return named
        if step.is_classifier and self.classifier is not None:
            return self.classifier
        if step.sees_clip and step.weighted and self.first is not None:
            return self.first
        for function, rule in self.operations.items():
            if handler_of(function) is step.site.handler and (step.accepts(rule) or not _only_shifts(step)):
                return rule
        return self._by_type(step)

    def _by_name(self, step: Step) -> Rule | None:
        if step.name in self.names:
            return self.names[step.name]
        if _shares_as_layer(step):
            for pattern, rule in self.names.items():
                if fnmatch.fnmatchcase(step.name, pattern) and step.accepts(rule):
                    return rule
        return None

    def check_names(self, steps: Sequence[Step]) -> None:
        """Checks that all names and patterns are used; the positions of the steps are known.

        Raises:
            ValueError: if a name fits none of the steps, or a pattern none that shares relevance; or if the rule of a
                pattern can be used for none of the steps that it fits.
        """
        for pattern, rule in self.names.items():
            if any(step.name == pattern for step in steps):
                continue
            layers = [step for step in steps if _shares_as_layer(step) and fnmatch.fnmatchcase(step.name, pattern)]
            if not layers:
                names = list(dict.fromkeys(step.name for step in steps))
                raise ValueError(
                    f"Composite(names=...): {pattern!r} fits {_nothing(pattern)}; {names_hint([pattern], names)}"
                )
            if not any(step.accepts(rule) for step in layers):
                first = layers[0]
                raise ValueError(
                    f"{rule} cannot be the rule of any layer that {pattern!r} fits; the first is '{first.name}' "
                    f"({first.operation}), whose default is {first.default_rule}"
                )

    def warn_if_unused(self, steps: Sequence[Step]) -> None:
        """Warns if the composite says something about types and operations alone, and none of them is in a model."""
        others = self.names or self.first or self.classifier or self.products
        if others or not (self.layers or self.operations):
            return
        if all(self._entry(step) is None for step in steps):
            warn(
                f"the model has none of the layers and operations of {self}, so all of its rules are those of "
                "'paper'; lrp3d.inspect(model, clip) shows them"
            )

    def check_products(self, products: Sequence[str]) -> None:
        """Raises ValueError if a name or a pattern of `products` fits none of the products of two signals that ran."""
        for key in self.products:
            if isinstance(key, str) and key != "*" and not any(fnmatch.fnmatchcase(name, key) for name in products):
                names = list(dict.fromkeys(products))
                hint = names_hint([key], names)
                raise ValueError(f"Composite(products=...): {key!r} fits no product of two signals that ran; {hint}")

    def _by_type(self, step: Step) -> Rule | None:
        kinds = (type(step.layer) if step.layer is not None else None, step.site.kind)
        rules = (self._of_kind(kind, step.accepts) for kind in kinds if kind is not None)
        return next((rule for rule in rules if rule is not None), None)

    def _of_kind(self, kind: type, accepted: Callable[[Rule], bool]) -> Rule | None:
        """The rule of a type of layers or of its nearest ancestor; that of every module alike only where accepted."""
        rules = ((ancestor, self.layers.get(ancestor)) for ancestor in kind.__mro__)
        fitting = (rule for of, rule in rules if rule is not None and (of is not nn.Module or accepted(rule)))
        return next(fitting, None)


def _check_dictionaries(**given: Any) -> None:
    """Raises TypeError unless an argument that is given is a dictionary."""
    for argument, entries in given.items():
        if entries is not None and not isinstance(entries, Mapping):
            raise TypeError(f"Composite({argument}=...) must be a dictionary of rules, got {entries!r}")


def _shares_as_layer(step: Step) -> bool:
    """Whether a step is one of those that a pattern may match: a layer that shares relevance."""
    return not step.default_rule.unchanged and (step.weighted or step.layer is not None)


def _is_pattern(name: str) -> bool:
    return bool(set(name) & set("*?["))


def _nothing(name: str) -> str:
    return "no layer that ran and shares relevance" if _is_pattern(name) else "nothing that ran and has a rule"


def _only_shifts(step: Step) -> bool:
    """Whether a step only shifts or scales one summand (a constant is added, a summand negated) and shares nothing."""
    sums = (*SUMS, torch.matmul, torch.tensordot)
    return isinstance(step, Elementwise) and step.site.handler in map(handler_of, sums)
