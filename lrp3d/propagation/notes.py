"""What is said about an explanation beside its numbers: notes for `Explanation.about`, and warnings."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from lrp3d.callers import warn
from lrp3d.printed import few
from lrp3d.propagation.clip_relevance import ClipRelevance
from lrp3d.rules import Contrastive
from lrp3d.twin.probabilities import logits_note
from lrp3d.twin.trace import Trace


def warn_of_nothing(empty: Tensor, clips: ClipRelevance) -> None:
    """Warns of clips that no relevance reached (`empty`, (b,)): their ATR is NaN, and their maps are zero."""
    if not empty.any():
        return
    subject = "the clip" if len(empty) == 1 else f"{int(empty.sum())} of {len(empty)} clips"
    why = "everything between the logits and it is zero or held constant"
    # In both kinds of contrast only the difference of two relevances travels, which says nothing of either.
    if clips.settings.contrastive:
        why += ", or what speaks for the class equals what speaks against it everywhere (contrastive=False tells which)"
    elif clips.chosen.against is not None:
        why += ", or the classes have the same relevance everywhere (an explanation without against= tells which)"
    else:
        why += " (the ledger says where relevance stays)"
    warn(f"no relevance reaches {subject}: {why}")


def _read_out_note(record: Trace) -> dict[str, str]:
    """Says where the forward takes values out of torch, after which no graph knows where they came from."""
    if not record.tracer.read_out:
        return {}
    places = few(record.tracer.read_out, 3)
    return {
        "read out": f"the forward reads values of features as numbers or arrays, at {places}: what it computes from "
        "them counts as a constant, and relevance that would go through it is missing; compute it with tensors instead"
    }


def _classifier_note(record: Trace) -> dict[str, str]:
    """Says where z+ took the place of a classifier's rule that gives no contrast."""
    replaced = [step for step in record.tracer.steps if getattr(step.rule, "instead_of", None) is not None]
    if not replaced:
        return {}
    rule = cast(Contrastive, replaced[0].rule)
    return {
        "classifier": f"{rule.rule} instead of {rule.instead_of}, which makes no contrast between what speaks for a "
        "class and what speaks against it"
    }


def warn_of_what_is_missing(clips: ClipRelevance) -> None:
    """Warns of relevance that could not be followed, and of layers whose relevance could not be kept."""
    missing = [*_read_out_note(clips.record).values()]
    if clips.inside.note:
        missing.append(f"relevance at layers is kept {clips.inside.note}")
    for note in missing:
        warn(note)


def about(clips: ClipRelevance) -> dict[str, str]:
    """Notes on what was explained, by topic, for `Explanation.about`."""
    record = clips.record
    notes = logits_note(record.left_out) | _read_out_note(record) | _classifier_note(record)
    if clips.settings.seed is not None and record.drew:
        notes["seed"] = (
            f"{clips.settings.seed}, of the random numbers that the model draws: other seeds, other relevance"
        )
    if clips.settings.output:
        notes["output"] = clips.settings.output
    if clips.inside.note:
        notes["layers"] = clips.inside.note
    return notes
