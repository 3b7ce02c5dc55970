"""A report of studies: the paper's tables and figures as Markdown, as one page, and as files beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from lrp3d.figures.embedded import data_address
from lrp3d.figures.pages import fill_template
from lrp3d.filenames import unique_names
from lrp3d.files import replacing
from lrp3d.printed import few
from lrp3d.study.reporting import charts, paper_figures, paper_maps, paper_tables
from lrp3d.study.reporting.clip_pages import clip_pages
from lrp3d.study.reporting.data_set_figures import figures_across_studies, maps_of_data_sets
from lrp3d.study.reporting.distinct_studies import distinct, lists_of_one_name
from lrp3d.study.reporting.gallery import Gallery, ReadRecord, gallery
from lrp3d.study.reporting.inline_svg import inlined
from lrp3d.study.reporting.not_made import not_made
from lrp3d.study.reporting.report_charts import Chart, Ends, Missing
from lrp3d.study.reporting.study_clips import clips_of, standing_out
from lrp3d.study.reporting.study_view import Studied, filter_rule
from lrp3d.study.reporting.table_format import Cell, Table, Value, in_html, in_markdown
from lrp3d.study.running.folder import Study
from lrp3d.study.running.records import Record
from lrp3d.suggestions import names_near

__all__ = ["Chart", "Report", "report"]

MOST_NAMED = 5  # heat maps of so many classes at most stand in a row
GALLERIES = 1_000_000  # bytes of all galleries of a page
FEW_SECTIONS = 16  # the contents are open where they have so many sections at most
SMALL_DRAWING = 2**18  # bytes of SVG for which no PNG is drawn to compare it with
NOT_MADE = "Not made from these studies"


@dataclass(frozen=True)
class Report:
    """Tables and figures, and what a reader must know first.

    Made by `report`; `write` puts it into a folder as a page, Markdown, pictures and csv.

    >>> table = Table("atr", "ATR", ["model", "ATR"], [["I3D", 6]])
    >>> print(Report("Studies", [table]).markdown().splitlines()[0])
    # Studies
    """

    title: str
    parts: Sequence[Table | Chart | Gallery]
    facts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    missing: Sequence[str] = ()
    """One sentence for each table or figure of the paper that these studies cannot make, with what they lack."""

    def markdown(self) -> str:
        """Returns the page as Markdown; the figures are files in ``figures/``, the tables also in ``tables/``."""
        head = [f"# {self.title}", *(f"> {warning}" for warning in self.warnings), *self.facts]
        lines = [*map(in_markdown, head)]
        for part in self.parts:
            title, note = in_markdown(part.title), in_markdown(part.note)
            lines.append(f"## {title}")
            if isinstance(part, Table):
                words = [word for word in (note, part.cut, f"[csv](tables/{quote(part.name)}.csv)") if word]
                lines += [part.markdown(), " ".join(words)]
            elif isinstance(part, Gallery):
                lines.append(f"In report.html. [csv](tables/{quote(part.name)}.csv) has the numbers of all clips.")
            else:
                described = re.sub(r"[\[\]]", "", title)
                csv = f"[csv](figures/{quote(part.name)}.csv)" if part.data is not None else ""
                lines += [f"![{described}](figures/{quote(part.name)}.png)", f"{note} {csv}".strip()]
        if self.missing:
            lines += [f"## {NOT_MADE}", "\n".join(f"- {in_markdown(sentence)}" for sentence in self.missing)]
        lines = [line for line in lines if line]
        return "\n\n".join(lines) + "\n"

    def html(self, folder: str | Path | None = None) -> str:
        """Returns the page as one file: pictures are embedded, and the page forbids itself any request.

        Args:
            folder: where it will be; links to the pages of clips are relative to it.
        """
        head = [f'<p class="quiet">{in_html(fact)}</p>' for fact in self.facts]
        head += [f'<p class="warning" role="note">{in_html(warning)}</p>' for warning in self.warnings]
        places = [f"part-{number}" for number in range(1, len(self.parts) + 1)]
        body = []
        for place, part in zip(places, self.parts, strict=True):
            note = f'<p class="note">{in_html(part.note)}</p>' if part.note else ""
            if isinstance(part, Gallery):  # long: its note goes above it
                body_html, note = note + part.html(folder), ""
            else:
                body_html = part.html() if isinstance(part, Table) else _embedded(part, f"{place}-")
                # People without a mouse scroll with the arrow keys, and for this the region must take the focus.
                label = in_html(part.title)
                body_html = f'<div class="scroll" tabindex="0" role="group" aria-label="{label}">{body_html}</div>'
            body.append(f'<section id="{place}"><h2>{in_html(part.title)}</h2>{body_html}{note}</section>')
        titles = dict(zip(places, (part.title for part in self.parts), strict=True))
        if self.missing:
            titles["not-made"] = NOT_MADE
            items = "".join(f"<li>{in_html(sentence)}</li>" for sentence in self.missing)
            body.append(f'<section id="not-made"><h2>{NOT_MADE}</h2><ul class="note">{items}</ul></section>')
        parts = {"title": in_html(self.title), "body": "\n".join([*head, _contents(titles), *body])}
        return fill_template("lrp3d.study.reporting", "page.html", parts)

    def write(self, folder: str | Path) -> Iterator[Path]:
        """Writes report.md, report.html, tables and figures, each complete or not at all; yields their paths.

        Tables and figures of an earlier report in the folder that are no longer made are deleted.
        """
        folder = Path(folder)
        files: dict[str, bytes] = {}
        for part in self.parts:
            if isinstance(part, Table):
                files[f"tables/{part.name}.csv"] = part.csv().encode(errors="backslashreplace")
            elif isinstance(part, Gallery):
                if part.data is not None:
                    files[f"tables/{part.name}.csv"] = part.data.csv().encode(errors="backslashreplace")
            else:
                files[f"figures/{part.name}.png"] = part.png()
                if part.data is not None:
                    files[f"figures/{part.name}.csv"] = part.data.csv().encode(errors="backslashreplace")
        earlier = _written_before(folder / "report.md")
        files |= {"report.md": self.markdown().encode(), "report.html": self.html(folder).encode()}
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
            yield path
        for name in earlier - set(files):
            (folder / name).unlink(missing_ok=True)


def _written_before(page: Path) -> set[str]:
    """The tables and figures to which an earlier report links."""
    if not page.is_file():
        return set()
    links = re.findall(r"\]\(((?:figures|tables)/[^)/]+)\)", page.read_text(errors="replace"))
    return {unquote(link) for link in links}


def _contents(titles: Mapping[str, str]) -> str:
    """Returns links to the sections of a page, by their places; none where a page is short."""
    if len(titles) < 3:
        return ""
    links = "".join(f'<li><a href="#{place}">{in_html(title)}</a></li>' for place, title in titles.items())
    opened = " open" if len(titles) <= FEW_SECTIONS else ""
    return f'<nav aria-label="Contents"><details{opened}><summary>Contents</summary><ol>{links}</ol></details></nav>'


def _embedded(chart: Chart, prefix: str) -> str:
    """Embeds a figure as SVG, sharp and in the page's colours, unless it is large, and much larger than a PNG."""
    drawing, title = inlined(chart.svg(), prefix), in_html(chart.title)
    width = round(chart.figure.get_figwidth() * 130)  # in a browser's pixels; a narrow page shrinks it
    if len(drawing) <= SMALL_DRAWING or len(drawing) <= 4 * len(chart.png()):
        return drawing.replace(
            "<svg ", f'<svg class="chart" role="img" aria-label="{title}" style="--wide:{width}px" ', 1
        )
    address = data_address(chart.png())
    return f'<img width="{width}" style="--wide:{width}px" src="{address}" alt="{title}">'


def report(
    summaries: Sequence[tuple[str, Mapping[str, Any]]],
    *,
    title: str = "Temporal relevance",
    people: str | Path | tuple[Sequence[str], Sequence[str]] | None = None,
    show: Sequence[str] = (),
    clips: Sequence[Study | Sequence[Record] | None] = (),
    pages: str | Path | None = None,
    notes: Sequence[str] = (),
) -> Report:
    """Makes a report of studies.

    Args:
        summaries: the name and the summary of each study.
        title: the title of the page.
        people: the names of the classes that people call temporal and static, or json that `human_classes` reads.
        show: the classes whose heat maps are drawn; by default those of the least and the greatest avg-ATR.
        clips: for each study, the study on disk or its records; the page has a gallery of their clips. None for a study
            without a gallery.
        pages: the folder of the pages that `lrp3d explain` wrote of clips, to which the gallery links.
        notes: what else is to be known of the numbers, a sentence each, beside the notes of the studies in `clips`.

    Returns:
        A `Report` with as many tables and figures as the studies have numbers for. Tables: by data set and model (the
        paper's 1, 4, 5), agreement with people (3), LRP against CLRP (6), dense against uniform sampling (7), by class
        and by kernel (2). Figures: heat maps (Fig. 2, 11, 13), what ATR depends on (Fig. 3, 4, 5a, 10, 12), windows
        (Fig. 6, 14), accuracy against ATR (Fig. 7), classes (Fig. 8, 15) and people's classes (Fig. 9). `missing` names
        the others.

    Raises:
        ValueError: there are no summaries, two are of one study, no study has a class to show, people call a class both
            temporal and static, `clips` are not one for each study, or there are no pages.
        ImportError: matplotlib is not installed.

    >>> from lrp3d.study import Record, summarise
    >>> import torch
    >>> rows = {"frame_logits": torch.ones(2), "matrix": torch.eye(2), "atr": torch.ones(2), "conservation": 0.0}
    >>> summary = summarise([Record(0, "a.mp4", 1, 1, torch.tensor([0.0, 2.0]), **rows)], labels=["a", "b"])
    >>> [part.name for part in report([("first", summary)]).parts]
    ['counts', 'atr', 'heatmaps-first', 'classes-first', 'class-atr-first']
    """
    studies = distinct([Studied(name, summary) for name, summary in summaries])
    if clips and len(clips) != len(studies):
        raise ValueError(
            f"clips are of {len(clips)} studies, and the report is of {len(studies)}: give one, or None, for each"
        )
    if pages is not None and all(source is None for source in clips):
        raise ValueError("pages of clips are linked from a gallery: give clips as well")
    studies, about_pages = _with_galleries(studies, clips, pages)
    agreed = {study.name: study.people(people) for study in studies} if people else {}
    tables = [make(studies) for make in paper_tables.TABLES]
    tables.append(paper_tables.agreement(studies, agreed))
    parts: list[Table | Chart | Gallery] = [table for table in tables if table is not None]
    maps = {study.name: _matrices(study, show) for study in studies if study.moments("avg_atr")["count"]}
    ends = Ends.of(matrix for each in maps.values() for matrix in each.values())
    compared = [made for make in paper_figures.FIGURES for made in make(studies)]
    compared += [made for make_maps in paper_maps.MAPS for made in make_maps(studies, ends)]
    parts += [part for part in compared if not isinstance(part, Missing)]
    parts += maps_of_data_sets(studies, maps, ends)
    parts += figures_across_studies(studies)
    for study in studies:
        parts += _parts_of_study(study, agreed.get(study.name, ([], [])), maps.get(study.name, {}), ends)
    lacking = [*map(str, (part for part in compared if isinstance(part, Missing))), *not_made(studies, agreed)]
    _check_shown(studies, show)
    of_studies = [note for source in clips if isinstance(source, Study) for note in source.notes]
    facts = [*_facts(studies), *(f"Note: {note}" for note in dict.fromkeys([*of_studies, *notes]))]
    return Report(title, _with_file_names(parts), facts, [*_warnings(studies, agreed), *about_pages], lacking)


def _check_shown(studies: Sequence[Studied], show: Sequence[str]) -> None:
    """Raises ValueError for a class to show that no study has, with those that may be meant."""
    for name in show:
        if not any(study.indices([name]) for study in studies):
            names = list(dict.fromkeys(each for study in studies for each in study.class_names.values()))
            meant = names_near(name, names) or f"; expected one of {few(names)}"
            raise ValueError(f"no study has a class {name!r}{meant}")


def _with_galleries(
    studies: Sequence[Studied], clips: Sequence[Study | Sequence[Record] | None], pages: str | Path | None
) -> tuple[list[Studied], list[str]]:
    """Gives studies their galleries, which share the room there is; also says what became of pages."""
    made, notes = [], []
    count = sum(source is not None for source in clips)
    for number, (study, source) in enumerate(zip_longest(studies, clips), 1):
        if source is None:
            made.append(study)
            continue
        read, names = _records_and_names(source)
        own = clips_of(study.summary, names)
        page_of: dict[int, Path] = {}
        if pages is not None:
            page_of, page_notes = clip_pages(
                pages, {clip.number: clip.name for clip in own}, study.config.get("model", "")
            )
            notes += page_notes
            if not page_of:
                notes.append(f"None of the pages in {pages} is of a clip of {study.name}.")
        shown = gallery(
            own,
            read,
            list(standing_out(own, study.summary)),
            GALLERIES // count,
            name=f"clips-{study.name}",
            title=f"Clips: {study.label()}, {study.dataset}",
            place=f"clips-{number}",
            pages=page_of,
        )
        made.append(replace(study, gallery=shown))
    return made, list(dict.fromkeys(notes))


def _records_and_names(source: Study | Sequence[Record]) -> tuple[ReadRecord, dict[int, str]]:
    """Returns what reads the record of a clip by its number, and the names of clips."""
    if isinstance(source, Study):
        return source.record, {item.number: item.name for item in source.items}
    records = {record.number: record for record in source}
    return records.__getitem__, {number: record.name for number, record in records.items()}


def _with_file_names(parts: Sequence[Table | Chart | Gallery]) -> list[Table | Chart | Gallery]:
    """Gives the parts names that files can have, each a different one."""
    names = unique_names(part.name for part in parts)
    return [replace(part, name=name) for part, name in zip(parts, names, strict=True)]


def _parts_of_study(
    study: Studied, people: tuple[list[int], list[int]], maps: Mapping[str, Any], ends: Ends
) -> Iterator[Table | Chart | Gallery]:
    """Yields the tables and figures of one study."""
    subject = f"{study.label()}, {study.dataset}"
    if maps:
        note = (
            "Mean over clips; each clip is divided by the sum of its positive frame logits. All maps of this page have "
            "the same colours."
        )
        draw = partial(charts.heatmaps, maps, unit=study.unit, greatest=ends.greatest, least=ends.least)
        name, title = f"heatmaps-{study.name}", f"Mean relevance: {subject} (Fig. 2)"
        yield Chart(name, title, draw, note, paper_maps.matrices_of(name, title, maps))
    table = paper_tables.classes(study)
    yield table
    values = study.by_class("avg_atr")
    if study.moments("avg_atr")["count"]:
        spread = study.by_class("avg_atr", "std")
        spread[study.by_class("avg_atr", "count") < 2] = float("nan")  # one clip does not deviate
        draw = partial(charts.class_curve, values, spread, study.by_class("max_atr"), names=study.class_names)
        title = f"Classes by ATR: {subject} (Fig. 8, 15)"
        yield Chart(f"class-atr-{study.name}", title, draw, "Band: deviation over clips.", table)
    if any(people):
        draw = partial(charts.human_scatter, values, *people, names=study.class_names)
        title = f"Classes that people call temporal or static: {subject} (Fig. 9)"
        kinds = {index: kind for kind, classes in zip(("temporal", "static"), people, strict=True) for index in classes}
        rows: list[list[Cell]] = [
            [study.class_names[index], kind, Value(float(values[index]), digits=2)]
            for index, kind in sorted(kinds.items(), key=lambda pair: -float(values[pair[0]]))
            if index < len(values) and not values[index].isnan()
        ]
        name = f"people-{study.name}"
        yield Chart(name, title, draw, "", Table(name, title, ["class", "people say", "avg-ATR"], rows))
    outstanding = paper_tables.outstanding(study)
    if outstanding is not None:
        yield outstanding
    if study.gallery is not None:
        yield study.gallery


def _matrices(study: Studied, show: Sequence[str]) -> dict[str, Any]:
    """Returns the mean matrix of the data set and those of some classes."""
    values = study.by_class("avg_atr")
    measured = [index for index in study.class_names if index < len(values) and not values[index].isnan()]
    if show:
        chosen = [index for index in study.indices(show) if index in measured]
    else:
        ranked = sorted(measured, key=lambda index: (float(values[index]), index))
        chosen = ranked if len(ranked) < MOST_NAMED else [*ranked[:2], *ranked[-2:]]
    matrices = {study.dataset: study.summary["dataset"]["matrix"]}
    for index in chosen:
        name = f"{study.class_names[index]} ({values[index]:.1f})"
        matrices[name] = study.summary["classes"][f"{index:04d}"]["matrix"]
    return matrices


def _facts(studies: Sequence[Studied]) -> list[str]:
    rules = dict.fromkeys(f"Counted are clips {filter_rule(study.summary)}." for study in studies)
    facts = [*rules]
    sigmas = sorted({study.config["sigma"] for study in studies if "sigma" in study.config})
    if sigmas:
        facts.append(f"ATR windows hold {', '.join(f'{100 * s:g} %' for s in sigmas)} of a row of the matrix.")
    steps = [f"{study.name} ({study.step:g})" for study in studies if study.unit != "frame"]
    if steps:
        facts.append(
            f"A column stands for a step of several frames in {', '.join(steps)}: the classes and clips of such a "
            "study have their ATR in steps, and what can hold it against other studies has it in frames."
        )
    return facts


def _warnings(studies: Sequence[Studied], people: Mapping[str, tuple[list[int], list[int]]]) -> list[str]:
    warnings = [*lists_of_one_name(studies)]
    random = [study for study in studies if study.config.get("trained", True) is False]
    if random:
        models = ", ".join(dict.fromkeys(study.model for study in random))
        names = ", ".join(study.name for study in random)
        shows = "shows" if len(random) == 1 else "show"
        warnings.append(
            f"The weights of {models} are random: {names} {shows} how the architecture spreads relevance, not what a "
            "model learned."
        )
    unknown_weights = dict.fromkeys(study.model for study in studies if study.config.get("trained", True) is None)
    if unknown_weights:
        warnings.append(
            f"Nobody said whether the weights of {', '.join(unknown_weights)} are trained: no file of weights was "
            "given, and they are what its own code makes."
        )
    warnings += [
        f"{study.name} is not finished: {missing} clip{'s have' if missing > 1 else ' has'} no record yet."
        for study in studies
        if (missing := study.summary["counts"]["missing"])
    ]
    unknown = [name for name, classes in people.items() if not any(classes)]
    if unknown:
        warnings.append(f"People call no class of {', '.join(unknown)} temporal or static.")
    return warnings
