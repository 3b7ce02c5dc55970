"""The configuration of a study: everything that its numbers depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lrp3d.composites import PRESETS
from lrp3d.defaults import LAYOUT
from lrp3d.files import as_json
from lrp3d.layout import Layout
from lrp3d.study.running.clips import Clips
from lrp3d.study.running.explainer import Explainer
from lrp3d.study.running.reader import Reader
from lrp3d.twin.digest import network_digest, weights_digest


def configuration(
    explainer: Explainer,
    reader: Reader | Clips,
    *,
    dataset: str = "",
    model: str = "",
    options: Mapping[str, Any] | None = None,
    trained: bool | None = True,
    explain_labels: bool = False,
    keep_relevance: bool = False,
    temporal_convolutions: int | None = None,
) -> dict[str, Any]:
    """Collects everything that the numbers of a study depend on, but no path: studies move between machines.

    Args:
        explainer: the model, and how it is explained.
        reader: how clips are read.
        dataset: the name of the data set, by which reports group studies.
        model: the model's name.
        options: further arguments that the model was built with.
        trained: False where weights are random, which every report then says; None where nobody knows.
        explain_labels: whether the true classes are explained, not the predictions.
        keep_relevance: whether maps are kept.
        temporal_convolutions: how many the model has, for reports (`lrp3d.models.count_temporal_convolutions`).

    Returns:
        A dict for `lrp3d.study.create`.

    >>> import lrp3d
    >>> model = lrp3d.models.tsn_resnet(18, num_classes=5, width=8).eval()
    >>> config = configuration(Explainer(model), Reader("videos", frames=16), dataset="mini", model="TSN-R18")
    >>> config["frames"], config["sampling"], config["contrastive"]
    (16, 'uniform', True)
    """
    from lrp3d import __version__

    composite = explainer.composite
    layout = Layout(explainer.layout).pattern.replace(" ", "")  # one spelling of each
    own = isinstance(composite, str) and composite not in PRESETS  # elsewhere such a name may stand for other rules
    return {
        "lrp3d": __version__,
        "dataset": dataset,
        "model": model or type(explainer.model).__name__,
        "options": dict(options or {}),
        "weights": weights_digest(explainer.model),
        "network": network_digest(explainer.model),
        "trained": trained,
        **reader.options,
        "mean": list(explainer.mean),
        "std": list(explainer.std),
        **({} if explainer.input_range is None else {"input_range": as_json(explainer.input_range)}),
        "composite": composite if isinstance(composite, str) else repr(composite),
        **({"rules": repr(explainer.twin.composite)} if own else {}),
        "contrastive": explainer.contrastive,
        "explained_class": "label" if explain_labels else "prediction",
        "sigma": explainer.sigma,
        "windows": list(explainer.windows),
        "empty": explainer.empty,
        **({} if explainer.time is None else {"time": list(explainer.time.names)}),
        "merge": explainer.merge,
        **({} if explainer.rows_at is None else {"rows_at": explainer.rows_at}),
        **({} if layout == LAYOUT else {"layout": layout}),  # studies of before say none
        "keep_relevance": keep_relevance,
        **({} if temporal_convolutions is None else {"temporal_convolutions": temporal_convolutions}),
    }
