"""Attribution with the interface of captum's LRP, so that code written for it runs with lrp3d and without captum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lrp3d.composites import Composite
from lrp3d.explain import explain
from lrp3d.explanation.explanation import Explanation
from lrp3d.layout import Layout
from lrp3d.twin.twin import Twin, convert

__all__ = ["LRP", "LayerLRP"]

Inputs = Tensor | tuple[Tensor, ...]


class LRP:
    """LRP of a model's input, called as `captum.attr.LRP` is.

    Args:
        model: as in `lrp3d.explain`; it is never modified.
        composite: which layer gets which rule: a name or a `Composite`; None means "paper". It replaces captum's
            `module.rule = ...`.
        contrastive: whether to use CLRP, which captum does not have, instead of LRP.
        options: further arguments of `lrp3d.explain`, such as input_range, layout and output.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))
    >>> clip = torch.rand(2, 3, 4, 8, 8)
    >>> relevance, delta = LRP(model.eval()).attribute(clip, target=[1, 3], return_convergence_delta=True)
    >>> relevance.shape, bool((delta.abs() < 1e-4).all())
    (torch.Size([2, 3, 4, 8, 8]), True)
    """

    def __init__(
        self,
        model: nn.Module,
        composite: str | Composite | None = None,
        *,
        contrastive: bool = False,
        **options: Any,
    ):
        if "temporal" in options:
            raise TypeError("attribute() returns relevance of the input alone: call lrp3d.explain for the matrix")
        self.model = model
        self.twin: Twin = convert(model, "paper" if composite is None else composite)
        self.options: dict[str, Any] = {**options, "contrastive": contrastive, "temporal": False}

    def attribute(
        self,
        inputs: Inputs,
        target: int | Sequence[int] | Tensor | None = None,
        additional_forward_args: None = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        """Relevance of the inputs for the target's logit.

        Args:
            inputs: a clip (b, 3, t, h, w), images (b, 3, h, w), or a tuple of pathways.
            target: a class, or one per clip; None for the prediction.
            additional_forward_args: must be None; wrap a model with further arguments into one without them.
            return_convergence_delta: also return the logit minus the sum of relevance, (b,); only for LRP.
            verbose: also print the rule of each layer, and how much relevance came in and went out.

        Returns:
            A tensor like the inputs, or a tuple like them; with the delta, both.

        Raises:
            ValueError, UnsupportedOperation: as for `lrp3d.explain`; or the delta of a contrastive map is requested.
            TypeError: additional_forward_args are given.
        """
        if additional_forward_args is not None:
            raise TypeError(
                "additional_forward_args cannot be passed on: wrap the model into a module whose forward takes the "
                "inputs alone"
            )
        if return_convergence_delta and not self.has_convergence_delta():
            raise ValueError("a contrastive map does not sum to the logit, so it has no convergence delta")
        explanation = self.explanation(inputs, target)
        if verbose:
            print(explanation.ledger)
        maps = self._attribution(explanation)
        attributed = maps if isinstance(inputs, tuple) else maps[0]
        return (attributed, self._delta(explanation, maps)) if return_convergence_delta else attributed

    def explanation(
        self, inputs: Inputs, target: int | Sequence[int] | Tensor | None = None, **more: Any
    ) -> Explanation:
        """The whole `Explanation` of the inputs, of which `attribute` returns only a part."""
        clip = list(inputs) if isinstance(inputs, tuple) and len(inputs) > 1 else inputs
        clip = clip[0] if isinstance(clip, tuple) else clip
        return explain(self.twin, clip, target, **{**self.options, **more})

    def has_convergence_delta(self) -> bool:
        """Whether relevance sums to the logit."""
        return not self.options["contrastive"] and self.options.get("against") is None

    def _attribution(self, explanation: Explanation) -> tuple[Tensor, ...]:
        return tuple(explanation.relevance) if isinstance(explanation.relevance, list) else (explanation.relevance,)

    def _delta(self, explanation: Explanation, maps: tuple[Tensor, ...]) -> Tensor:
        logit = explanation.logits.gather(1, explanation.target[:, None])[:, 0]
        if explanation.sign is not None:  # of a lone logit, the class that its sign says is explained
            logit = logit * explanation.sign.to(logit)
        return logit - self._sums(explanation, maps).to(logit)

    def _sums(self, explanation: Explanation, maps: tuple[Tensor, ...]) -> Tensor:
        """The sum of each clip's relevance (b,)."""
        layout, batch = Layout(explanation.layout), len(explanation.logits)
        sums = [layout.clips(x[None], batch)[0] if x.dim() == layout.axes else x.flatten(1).sum(1) for x in maps]
        return torch.stack(sums).sum(0)


class LayerLRP(LRP):
    """LRP of a layer's output, called as `captum.attr.LayerLRP` is.

    Args:
        model: as in `LRP`.
        layer: a module of the model, or its name.
        composite, contrastive, options: as in `LRP`.

    Raises:
        ValueError: the layer is not a module of the model.

    >>> import torch
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))
    >>> LayerLRP(model.eval(), model[0]).attribute(torch.rand(2, 3, 4, 8, 8), target=1).shape
    torch.Size([2, 4, 2, 6, 6])
    """

    def __init__(
        self,
        model: nn.Module,
        layer: nn.Module | str,
        composite: str | Composite | None = None,
        *,
        contrastive: bool = False,
        **options: Any,
    ):
        names = {module: name for name, module in model.named_modules()}
        if isinstance(layer, nn.Module) and layer not in names:
            raise ValueError(f"the layer ({type(layer).__name__}) is not a module of the model")
        self.layer: str = layer if isinstance(layer, str) else names[layer]
        super().__init__(model, composite, contrastive=contrastive, **options, layers=[self.layer])

    def _sums(self, explanation: Explanation, maps: tuple[Tensor, ...]) -> Tensor:
        """The sum of each clip's relevance (b,): clips are the first axis of a layer's output."""
        return torch.stack([x.flatten(1).sum(1) for x in maps]).sum(0)

    def _attribution(self, explanation: Explanation) -> tuple[Tensor, ...]:
        return (explanation.layers[self.layer],)
