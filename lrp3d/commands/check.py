"""`lrp3d check`: is relevance faithful on this model and these videos?"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lrp3d.commands import arguments
from lrp3d.commands.listed_videos import add_out, add_videos, by_label, listed_videos, one_target, write_file
from lrp3d.commands.results import write_results
from lrp3d.commands.writable import check_folder
from lrp3d.printed import say

if TYPE_CHECKING:
    from lrp3d.commands.arguments import Commands


def add_to(commands: Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "check",
        help="measure whether relevance is faithful on your model and your videos",
        description="Hold CLRP, LRP, gradient x input and random numbers against interventions on your own model and "
        "videos. Does removing the frames that they name change the logit? Do they depend on the class and on the "
        "weights? Twenty videos or more give useful intervals.",
        epilog="Example: lrp3d check --model TAM2D-R50-f16 --weights tam.safetensors --list val.txt --clips 20",
    )
    add_videos(parser, most=20)
    arguments.add_options(parser)
    arguments.add_layout(parser)
    arguments.add_rows_at(parser)
    parser.add_argument("--no-shapley", action="store_true", help="leave out Shapley values, which take longest")
    add_out(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the table and the verdict."""
    from lrp3d.commands import model_options
    from lrp3d.commands.many_frames import ManyFrames
    from lrp3d.commands.result_pages import Section, page_of
    from lrp3d.commands.terminal import shows_progress
    from lrp3d.faithfulness.checking import check
    from lrp3d.faithfulness.scores import MEASURES
    from lrp3d.study.reporting.table_format import Table

    if options.out is not None:
        check_folder(options.out.parent, pictures=False)
    choice = model_options.choose(options)
    videos = listed_videos(options, choice)
    target = one_target(options, videos, choice)
    clips = list(videos.clips(choice))
    ManyFrames(choice).say()
    result = check(
        choice.model,
        [clip for clip, _ in clips],
        [label for _, label in clips if label is not None] if by_label(options) else target,
        shapley_values=not options.no_shapley,
        input_range=choice.input_range,
        layout=options.layout,
        rows_at=options.rows_at,
        progress=shows_progress(),
    )
    notes = (*choice.notes, *videos.notes, *videos.left_out())
    of_model = [f"{choice.name}: {choice.weights}", *(f"note: {note}" for note in notes)]
    say(*of_model, *str(result).split("\n"))
    facts = {
        "model": choice.name,
        "weights": choice.weights,
        "notes": notes,
        **videos.facts(),
    }

    def page() -> str:
        rows = result.rows()
        table = Table("faithfulness", result.headline, ["measure", *result.methods], rows, result.about)
        words = {measure: MEASURES[measure] for measure, *_ in rows}
        words |= {"-": "; ".join(result.blanks)} if result.blanks else {}
        return page_of(
            "Is relevance faithful here?",
            [*of_model, *(why for _, why in videos.failed)],
            [Section(table, words=words, points=result.findings)],
        )

    facts |= result.to_dict()
    write_file(options.out, facts, page)
    write_results(options, facts)
    return videos.code()
