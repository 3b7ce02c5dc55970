"""Composites by name: the presets, and those that users register."""

from __future__ import annotations

from lrp3d.composites.composite import Composite
from lrp3d.composites.presets import PRESETS
from lrp3d.suggestions import did_you_mean

REGISTERED: dict[str, Composite] = {}
"""Composites that users have registered with `register_composite`."""


def register_composite(name: str, composite: Composite, *, replace: bool = False) -> Composite:
    """Give a composite a name that `explain`, `convert`, `inspect`, studies and the command line then accept.

    Args:
        name: the name of the composite.
        composite: says which layer gets which rule.
        replace: whether a registered name may be given to another composite.

    Returns:
        The composite.

    Raises:
        TypeError: if `name` is not a string, or `composite` is not a `Composite`.
        ValueError: if the name is that of a preset, which always means the same rules; if it is registered for another
            composite and `replace` is not set; or if it is empty or contains white space.

    On the command line a name is known once the module that registers it is imported, which `--model
    package.module:factory` does.

    >>> import torch, lrp3d
    >>> from lrp3d.rules import Epsilon, Gamma
    >>> rules = {torch.nn.Conv3d: Gamma(0.1), torch.nn.Linear: Epsilon()}
    >>> gentle = lrp3d.register_composite("gentle", lrp3d.Composite(layers=rules))
    >>> model = torch.nn.Sequential(torch.nn.Conv3d(3, 2, 1), torch.nn.AdaptiveAvgPool3d(1), torch.nn.Flatten()).eval()
    >>> lrp3d.convert(model, "gentle").composite == gentle
    True
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a text, got {name!r}")
    if not isinstance(composite, Composite):
        raise TypeError(f"composite must be a lrp3d.Composite, got {type(composite).__name__}")
    if not name or name.split() != [name]:
        raise ValueError(f"name must be a text without white space, got {name!r}")
    if name in PRESETS:
        raise ValueError(f"{name!r} is a preset and keeps its rules: choose another name")
    if not replace and REGISTERED.get(name, composite) != composite:
        raise ValueError(
            f"{name!r} is registered already, for {REGISTERED[name]}: choose another name, or pass replace=True"
        )
    REGISTERED[name] = composite
    return composite


def preset_of(composite: Composite) -> str | Composite:
    """The name of the preset that says the same, or the composite itself.

    >>> preset_of(Composite())
    'paper'
    """
    return next((name for name, preset in PRESETS.items() if preset == composite), composite)


def name_of(composite: Composite) -> str:
    """The name of a composite in quotes, or its representation if it has no name.

    >>> name_of(composite_of("epsilon"))
    "'epsilon'"
    """
    for name, named in (PRESETS | REGISTERED).items():
        if named == composite:
            return repr(name)
    return repr(composite)


def composite_of(composite: str | Composite) -> Composite:
    """The composite with this name, or the given composite; raises ValueError or TypeError for anything else.

    >>> composite_of("paper") == Composite()
    True
    """
    if isinstance(composite, Composite):
        return composite
    if not isinstance(composite, str):
        raise TypeError(f"composite must be a name or a lrp3d.Composite, got {type(composite).__name__}")
    composites = PRESETS | REGISTERED
    if composite not in composites:
        own = f", registered are {', '.join(REGISTERED)}" if REGISTERED else ""
        meant = did_you_mean(composite, composites)
        raise ValueError(f"there is no composite {composite!r}; the presets are {', '.join(PRESETS)}{own}{meant}")
    return composites[composite]
