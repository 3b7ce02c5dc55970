"""The paper's tables, made of one or several studies; a function returns None where the studies lack its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lrp3d.study.reporting.named_networks import standard_deviation
from lrp3d.study.reporting.statistics import overlap, pearson
from lrp3d.study.reporting.study_view import Studied
from lrp3d.study.reporting.table_format import Cell, Table, Value

ATR = (("avg_atr", "avg-ATR"), ("max_atr", "max-ATR"))
FOLDED = 20  # at most so many rows of a table of classes are shown
EXPLAINED, WRONG = 4, 9  # columns of the table of counts
NAME, CLIPS = 0, 2  # columns of the table of classes


def counts(studies: Sequence[Studied]) -> Table:
    """How many clips each study has, and why some do not count."""
    rows: list[list[Cell]] = []
    for study in studies:
        totals, filters = study.summary["counts"], study.summary["filter"]
        clips = [totals[key] for key in ("listed", "explained", "failed", "missing", "damaged")]
        clips += [
            filters["counted"],
            filters["wrong"],
            filters["low_score"],
            filters["without_label"] + filters["without_relevance"],
        ]
        rows.append([study.name, study.dataset, study.label(), *clips])
    headers = "study, data set, model, clips, explained, failed, not done, damaged, counted, wrong, low score, other"
    links = {}
    for row, study in enumerate(studies):
        if study.gallery is not None:
            links[row, EXPLAINED] = f"#{study.gallery.place}"
            links[row, WRONG] = study.gallery.link_of_mistakes()
    return Table(
        "counts",
        "Clips",
        headers.split(", "),
        rows,
        note="Accuracy is of all explained clips, ATR of those counted. The last three columns are of explained clips "
        "that do not count, and say why: with --wrong-too, no clip is left out because its prediction is wrong.",
        links=links,
    )


def datasets(studies: Sequence[Studied]) -> Table:
    """ATR and accuracy by data set and model (Tables 1, 4 and 5)."""
    names = list(dict.fromkeys(study.dataset for study in studies))
    models = list(dict.fromkeys(study.label() for study in studies))
    by_pair = {(study.label(), study.dataset): study for study in studies}
    headers = ["model", *(f"accuracy (%) {name}" for name in names)]
    headers += [f"{title} {name}" for _, title in ATR for name in names]
    rows: list[list[Cell]] = []
    for model in models:
        row: list[Cell] = [model]
        row += [_accuracy(by_pair.get((model, name))) for name in names]
        for kind, _ in ATR:
            first = by_pair.get((model, names[0]))
            row += [_atr(by_pair.get((model, name)), kind, first if name != names[0] else None) for name in names]
        rows.append(row)
    note = f"In brackets: difference from {names[0]}." if len(names) > 1 else ""
    return Table("atr", "Action temporal relevance by data set and model (Tables 1, 4, 5)", headers, rows, note)


def samplings(studies: Sequence[Studied]) -> Table | None:
    """Dense against uniform sampling (Table 7)."""
    pairs = _pairs(studies, "sampling", lambda study: study.sampling, ("uniform", "dense"))
    headers = ["model", "data set", "accuracy (%) uniform", "accuracy (%) dense"]
    headers += [f"{title} {kind}" for _, title in ATR for kind in ("uniform", "dense")]
    rows: list[list[Cell]] = []
    for uniform, dense in pairs:
        atr = [cell for kind, _ in ATR for cell in (_atr(uniform, kind), _atr(dense, kind, uniform))]
        rows.append([uniform.label("sampling"), uniform.dataset, _accuracy(uniform), _accuracy(dense), *atr])
    title = "Dense against uniform sampling (Table 7)"
    return Table("sampling", title, headers, rows, "In brackets: difference from uniform.") if rows else None


def contrast(studies: Sequence[Studied]) -> Table | None:
    """LRP against CLRP (Table 6)."""
    pairs = _pairs(studies, "contrastive", lambda study: study.contrastive, (True, False))
    headers = ["model", "data set", *(f"{method} {title}" for _, title in ATR for method in ("CLRP", "LRP"))]
    rows: list[list[Cell]] = []
    for clrp, lrp in pairs:
        atr = [cell for kind, _ in ATR for cell in (_atr(clrp, kind), _atr(lrp, kind, clrp))]
        rows.append([clrp.label("contrastive"), clrp.dataset, *atr])
    return (
        Table("contrast", "LRP against CLRP (Table 6)", headers, rows, "In brackets: difference from CLRP.")
        if rows
        else None
    )


def classes(study: Studied) -> Table:
    """ATR by class, from the greatest to the least (Fig. 8 and 15)."""
    ranked = sorted(study.summary["classes"].items(), key=lambda pair: (-(pair[1]["avg_atr"]["mean"] or 0.0), pair[0]))
    rows: list[list[Cell]] = []
    for key, entry in ranked:
        clips = [entry["clips"], entry["avg_atr"]["count"], Value(entry["accuracy"])]
        atr = [Value(entry[kind]["mean"], standard_deviation(entry[kind]), digits=2) for kind, _ in ATR]
        rows.append([entry["name"], int(key), *clips, *atr])
    headers = ["class", "number", "clips", "counted", "accuracy (%)", *(title for _, title in ATR)]
    title = f"ATR by class: {study.label()}, {study.dataset}"
    links = {}
    if study.gallery is not None:
        places = [study.gallery.link_of_class(int(key)) for key, _ in ranked]
        links = {(row, column): place for row, place in enumerate(places) for column in (NAME, CLIPS)}
    return Table(f"classes-{study.name}", title, headers, rows, shown=FOLDED, links=links)


def outstanding(study: Studied) -> Table | None:
    """The clips at both ends of each number, those that are far from their class, and the surest mistakes."""
    if study.gallery is None:
        return None
    rows: list[list[Cell]] = []
    links = {}
    for row, (why, clip) in enumerate(study.gallery.outstanding):
        class_name = clip.class_name if clip.known else "–"
        numbers = [Value(number, digits=2) for number in (clip.logit, clip.score, clip.avg_atr)]
        rows.append([why, clip.name, class_name, clip.predicted, *numbers, Value(clip.max_atr, digits=0)])
        links[row, 1] = study.gallery.link(clip)
    headers = ["what stands out", "clip", "class", "predicted", "logit", "score", "avg-ATR", "max-ATR"]
    title = f"Clips that stand out: {study.label()}, {study.dataset}"
    return Table(f"outstanding-{study.name}", title, headers, rows, links=links) if rows else None


def agreement(studies: Sequence[Studied], people: Mapping[str, tuple[list[int], list[int]]]) -> Table | None:
    """How far people and models agree on which classes need time (Table 3)."""
    rows: list[list[Cell]] = []
    ties = []
    for study in studies:
        temporal, static = people.get(study.name, ([], []))
        if not temporal and not static:
            continue
        for kind, title in ATR:
            result = overlap(study.by_class(kind), temporal, static)
            shares = (result.temporal, result.chance[0], result.static, result.chance[1])
            percent = [Value(None if share != share else 100 * share) for share in shares]
            auroc = Value(None if result.auroc != result.auroc else result.auroc, digits=2)
            numbers = [result.temporal_count, result.static_count]
            tied = (("temporal", result.temporal_ties), ("static", result.static_ties))
            ties += [f"{n} classes ({kind}, {title}, {study.label()}, {study.dataset})" for kind, n in tied if n]
            rows.append([study.label(), study.dataset, title, *percent, auroc, *numbers])
    headers = ["model", "data set", "by", "temporal agreed (%)", "by chance (%)"]
    headers += ["static agreed (%)", "static by chance (%)", "AUROC", "temporal classes", "static classes"]
    note = (
        "Share of people's temporal (static) classes among as many classes of greatest (least) ATR; AUROC is the "
        "probability that a temporal class has a greater ATR than a static one. Of classes of equal ATR, the one with "
        "the lower number counts as greater."
    )
    if ties:
        note += f" Numbers alone decide at the border among {'; '.join(ties)}."
    title = "Temporal and static classes, as people and as models see them (Table 3)"
    return Table("overlap", title, headers, rows, note) if rows else None


def correlations(studies: Sequence[Studied]) -> Table | None:
    """Whether accuracy correlates with ATR, for each data set with two models or more (Fig. 7)."""
    rows: list[list[Cell]] = []
    for name, group in comparable(studies).items():
        for kind, title in ATR:
            accuracy = [study.summary["accuracy"]["top1"] for study in group]
            correlation = pearson([study.moments(kind)["mean"] for study in group], accuracy)
            numbers = [None if x != x else x for x in (correlation.r, correlation.low, correlation.high)]
            rows.append([name, title, *(Value(x, digits=2) for x in numbers), correlation.n])
    headers = ["data set", "accuracy against", "Pearson's r", "95 % from", "to", "models"]
    return (
        Table("correlation", "Accuracy against ATR (Fig. 7)", headers, rows, "Interval by Fisher's z.")
        if rows
        else None
    )


def comparable(studies: Sequence[Studied]) -> dict[str, list[Studied]]:
    """Groups the studies with an accuracy and an ATR by data set and way of explaining; groups of one are left out."""
    groups: dict[str, list[Studied]] = {}
    for study in studies:
        if study.summary["accuracy"]["top1"] is not None and study.moments("avg_atr")["mean"] is not None:
            conditions = f" ({study.conditions()})" if study.conditions() else ""
            groups.setdefault(study.dataset + conditions, []).append(study)
    return {name: group for name, group in groups.items() if len(group) > 1}


def windows(studies: Sequence[Studied]) -> Table | None:
    """Accuracy under partial uniform sampling (Fig. 6)."""
    rows: list[list[Cell]] = []
    for study in studies:
        for entry in study.summary["windows"]:
            size, accuracy, empty = Value(entry["size"], digits=2), Value(entry["accuracy"]), Value(entry.get("empty"))
            rows.append([study.label(), study.dataset, str(entry["window"]), size, accuracy, empty, _accuracy(study)])
    headers = ["model", "data set", "window", "frames", "accuracy (%)", "with empty images (%)", "whole clip (%)"]
    note = (
        'The window "segment" shows every frame the segment of its own ATR, "centred" as many frames around it; their '
        "size is the mean ATR."
    )
    return Table("windows", "Partial uniform sampling (Fig. 6, 14)", headers, rows, note) if rows else None


def time(studies: Sequence[Studied]) -> Table | None:
    """Whether a network needs time at all: results for clips whose frames are reversed, shuffled or frozen."""
    rows: list[list[Cell]] = []
    for study in studies:
        for entry in study.summary.get("time", []):
            numbers = [Value(entry["accuracy"]), Value(entry["same_prediction"]), Value(entry["logit"], digits=2)]
            share = Value(None if entry["motion"] is None else 100 * entry["motion"])
            rows.append(
                [
                    study.label(),
                    study.dataset,
                    entry["time"],
                    *numbers,
                    Value(study.in_frames(entry["avg_atr"]), digits=2),
                    share,
                ]
            )
    headers = [
        "model",
        "data set",
        "time",
        "accuracy (%)",
        "same class as before (%)",
        "logit",
        "avg-ATR",
        "motion (%)",
    ]
    note = (
        "Shuffled: one order for all clips; frozen: the middle frame throughout; single: the mean of what each frame "
        "says alone. Logit, ATR and motion (plain LRP) are means over the clips that count, for the class explained in "
        "the clip as it is."
    )
    return Table("time", "Does the network need time?", headers, rows, note) if rows else None


def _accuracy(study: Studied | None) -> Value:
    return Value(study.summary["accuracy"]["top1"] if study else None)


def _atr(study: Studied | None, kind: str, reference: Studied | None = None) -> Value:
    if study is None:
        return Value(None)
    moments, other = study.moments(kind), reference.moments(kind) if reference else {"mean": None}
    both = moments["mean"] is not None and other["mean"] is not None
    return Value(moments["mean"], standard_deviation(moments), moments["mean"] - other["mean"] if both else None)


def _pairs(
    studies: Sequence[Studied], kind: str, value: Callable[[Studied], Any], wanted: tuple[Any, Any]
) -> list[tuple[Studied, Studied]]:
    """Returns pairs of studies that differ in one thing only."""
    groups: dict[tuple[str, str], dict[Any, Studied]] = {}
    for study in studies:
        groups.setdefault((study.dataset, study.label(kind)), {})[value(study)] = study
    return [(group[wanted[0]], group[wanted[1]]) for group in groups.values() if all(v in group for v in wanted)]


TableOf = Callable[[Sequence[Studied]], Table | None]
TABLES: tuple[TableOf, ...] = (counts, datasets, samplings, contrast, correlations, windows, time)
"""The tables that a report makes of its studies, in this order; a new table is a function above and its name here."""
