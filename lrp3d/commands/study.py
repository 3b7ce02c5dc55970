"""`lrp3d study`: explains a data set, merges the records, and reports tables and figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrp3d.commands import DONE, UsageError, arguments, study_run
from lrp3d.commands.results import write_results
from lrp3d.defaults import MIN_SCORE
from lrp3d.printed import counted, say


def add_to(commands: arguments.Commands) -> None:
    """Add the parsers of this command."""
    parser = commands.add_parser(
        "study",
        help="explain a data set, and make the paper's tables and figures of it",
        description="Explain a data set: `run` makes a record of every clip, in as many processes as are started, "
        "`merge` a summary of all records, `report` tables and figures of one or several studies.",
    )
    steps = parser.add_subparsers(title="steps", required=True, metavar="STEP")
    study_run.add_to(steps)
    _add_merge(steps)
    _add_report(steps)


# merge


def _add_merge(steps: arguments.Commands) -> None:
    parser = steps.add_parser(
        "merge",
        help="make OUT/summary.json of all records",
        description="Make OUT/summary.json of all records: numbers by clip, class and data set. It has the same bytes "
        "whichever processes made the records, and in which order.",
    )
    parser.add_argument("out", type=arguments.place, metavar="OUT", help="folder of a study")
    about = "also write all records, a row for each clip, to this Parquet file (needs pyarrow)"
    parser.add_argument("--parquet", type=arguments.place, metavar="F", help=about)
    add_filter(parser)
    parser.set_defaults(run=merge)


def add_filter(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which clips count."""
    about = f"count clips whose score is above P only (default: {MIN_SCORE})"
    parser.add_argument("--min-score", type=_score, default=MIN_SCORE, metavar="P", help=about)
    parser.add_argument("--wrong-too", action="store_true", help="count clips that are predicted wrongly, too")


def _score(text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no score from 0 on, below 1")
    return score


def merge(options: argparse.Namespace) -> int:
    """Write the summary, and print its main numbers."""
    from lrp3d import study

    if options.parquet is not None:
        from lrp3d.study.reporting.parquet import require_pyarrow

        require_pyarrow()  # before the summary is written
    study_folder = study.load_study(options.out)
    summary = study.merge(study_folder, correct=not options.wrong_too, min_score=options.min_score)
    path = options.out / "summary.json"
    study.write_summary(summary, path)
    say(*summary_lines(summary), *(f"note: {note}" for note in study_folder.notes), f"wrote {path}")
    if options.parquet is not None:
        study.write_parquet(study_folder.records(), options.parquet)
        say(f"wrote {options.parquet}")
    write_results(options, {**summary, "notes": study_folder.notes, "wrote": _names(path, options.parquet)})
    return DONE


def summary_lines(summary: dict[str, Any]) -> Sequence[str]:
    """The main numbers of a summary, for the terminal."""
    from lrp3d import study

    counts, accuracy = summary["counts"], summary["accuracy"]
    lines = [f"{counts['explained']} of {counted(counts['listed'], 'clip')} explained, {counts['failed']} failed"]
    if counts["missing"]:
        lines[0] += f", {counts['missing']} NOT DONE YET"
    if counts["damaged"]:
        lines[0] += f"; {counts['damaged']} of damaged or short videos"
    lines += [study.filter_sentence(summary), *_advice(summary)]
    if accuracy["clips"]:
        top5 = "" if accuracy["top5"] is None else f" (top 5: {accuracy['top5']:.1f} %)"
        lines.append(f"accuracy {accuracy['top1']:.1f} %{top5}")
    for name in ("avg_atr", "max_atr"):
        value = summary["dataset"][name]
        if value["count"]:
            spread = "" if value["std"] is None or value["count"] < 2 else f" ± {value['std']:.2f}"
            lines.append(f"{name.replace('_atr', '-ATR')} {value['mean']:.2f}{spread}")
    return lines


def _advice(summary: dict[str, Any]) -> list[str]:
    """Where no clip counts, so that nothing is measured, which options count those that were left out."""
    left_out = summary["filter"]
    if left_out["counted"] or not summary["counts"]["explained"]:
        return []
    options = ["--wrong-too"] * bool(left_out["wrong"] or left_out["without_label"])
    options += ["--min-score 0"] * (left_out["min_score"] > 0 and bool(left_out["low_score"] or options))
    return [f"no clip counts, so nothing is measured: add {' '.join(options)} to count others"] if options else []


# report


def _add_report(steps: arguments.Commands) -> None:
    parser = steps.add_parser(
        "report",
        help="make tables and figures of one or several studies",
        description="Make report.md, report.html (one page, complete in itself, with a gallery of the clips), the "
        "tables as csv and the figures as png of one or several studies: models, data sets, samplings, CLRP and LRP "
        "side by side.",
        epilog="Example: lrp3d study report studies/* --humans --out report",
    )
    parser.add_argument(
        "studies", nargs="+", type=arguments.place, metavar="DIR", help="folder of a study, or its summary.json"
    )
    parser.add_argument(
        "--out",
        type=arguments.place,
        metavar="DIR",
        help="folder of the report (default: DIR/report of a single study)",
    )
    parser.add_argument("--title", default="Temporal relevance", help="title of the report")
    parser.add_argument(
        "--labels", type=arguments.place, metavar="F", help="names of classes, if a study was run without them"
    )
    parser.add_argument(
        "--humans",
        metavar="F",
        nargs="?",
        const="only-time-can-tell",
        help="which classes people call temporal and static: those of Sevilla-Lara et al. (2021), or json with lists "
        "NAME_temporal and NAME_static",
    )
    parser.add_argument("--temporal", metavar="F", help="classes that need time, as people see them: names in a file")
    parser.add_argument("--static", metavar="F", help="classes that do not")
    about = "draw this class's heat map (default: the two with the least and the two with the greatest ATR)"
    parser.add_argument("--show", action="append", default=[], metavar="CLASS", help=about)
    about = "link each clip of the gallery to its page below DIR, where `lrp3d explain VIDEO... --out DIR` wrote it"
    parser.add_argument("--pages", type=arguments.place, metavar="DIR", help=about)
    add_filter(parser)
    parser.set_defaults(run=report)


def report(options: argparse.Namespace) -> int:
    """Write the report, and print which clips count."""
    from lrp3d import study
    from lrp3d.commands.labels import read_labels
    from lrp3d.study.reporting.study_view import renamed

    _check_report(options)
    folders = [path if path.is_dir() else path.parent for path in options.studies]
    out = options.out or folders[0] / "report"
    people = None
    if options.temporal:
        people = (study.class_list(options.temporal), study.class_list(options.static))
    summaries = []
    clips: list[study.Study | Sequence[study.Record] | None] = []
    notes: dict[str, None] = {}  # the same file names the classes of all studies
    for path, folder in zip(options.studies, folders, strict=True):
        name = folder.name
        summary = study.load_summary(path, correct=not options.wrong_too, min_score=options.min_score)
        if options.labels:
            labels = read_labels(options.labels)
            notes |= dict.fromkeys(labels.notes)
            if others := renamed(summary, labels):
                notes[f"{name}: {others}"] = None
            summary = study.with_labels(summary, labels)
        summaries.append((name, summary))
        say(f"{name}: {study.filter_sentence(summary)}", *_advice(summary))
        if (path / "records").is_dir():
            clips.append(loaded := study.load_study(path))
            notes |= dict.fromkeys(loaded.notes)
        else:
            clips.append(None)
            notes[f"{path} is a summary: the gallery of clips needs the study's folder with its records"] = None
    if options.pages is not None and all(source is None for source in clips):
        raise UsageError("--pages links clips from a gallery, which needs the study's folder with its records")
    say(*(f"note: {note}" for note in notes))
    made = study.report(
        summaries,
        title=options.title,
        people=people or options.humans,
        show=options.show,
        clips=clips,
        pages=options.pages,
        notes=list(notes),
    )
    written = list(made.write(out))
    say(*(f"wrote {path}" for path in written))
    write_results(
        options, {"studies": [name for name, _ in summaries], "notes": list(notes), "wrote": _names(*written)}
    )
    return DONE


def _check_report(options: argparse.Namespace) -> None:
    """Raises UsageError where options do not go together."""
    if (options.temporal is None) != (options.static is None):
        raise UsageError("--temporal and --static are given together")
    if options.humans and options.temporal:
        raise UsageError("--humans, or --temporal and --static, not both")
    if options.out is None and len(options.studies) > 1:
        raise UsageError(f"--out: where does the report of {len(options.studies)} studies go?")
    places = [(path.parent if path.name == "summary.json" else path).resolve() for path in options.studies]
    if twice := [str(path) for path, place in zip(options.studies, places, strict=True) if places.count(place) > 1]:
        raise UsageError(f"{' and '.join(twice)} are the same study: name it once")


def _names(*paths: Path | None) -> list[str]:
    return [str(path) for path in paths if path is not None]
