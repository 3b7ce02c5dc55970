"""The ledger: how much relevance came into every layer, went out of it and was absorbed there."""

from __future__ import annotations

from typing import NamedTuple


class LedgerEntry(NamedTuple):
    """One line of the ledger: the relevance of the clips' logits that came into a layer and went out of it.

    >>> import torch, lrp3d
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
    >>> found = lrp3d.explain(model, torch.rand(1, 3, 2, 2), composite="epsilon", contrastive=False)
    >>> [(entry.layer, entry.rule) for entry in found.ledger if entry.absorbed]  # epsilon and the bias
    [('1', 'Epsilon(epsilon=1e-09)')]
    """

    layer: str
    rule: str
    relevance_in: float
    relevance_out: float

    @property
    def absorbed(self) -> float:
        """The relevance that stayed in the layer: by epsilon, the bias, or the contrast."""
        return self.relevance_in - self.relevance_out


class Ledger(list[LedgerEntry]):
    """Relevance in, out and absorbed for every layer, in the order in which relevance flows."""

    @property
    def absorbed(self) -> float:
        """The relevance that all layers absorbed; the sum of the map and this is the logit."""
        return sum(entry.absorbed for entry in self)

    def __str__(self) -> str:
        width = max([len(entry.layer) for entry in self] + [5])
        lines = [f"{'layer':{width}}  {'in':>12}  {'out':>12}  {'absorbed':>12}  rule"]
        for entry in self:
            numbers = (entry.relevance_in, entry.relevance_out, entry.absorbed)
            lines.append(f"{entry.layer:{width}}  " + "  ".join(f"{x:12.6g}" for x in numbers) + f"  {entry.rule}")
        return "\n".join(lines)
