"""`lrp3d prototypes`: the videos on which channels of a layer have most relevance."""

from __future__ import annotations

import argparse
from itertools import tee
from typing import TYPE_CHECKING, NamedTuple

from lrp3d.commands import arguments
from lrp3d.commands.listed_videos import add_out, add_videos, by_label, listed_videos, one_target, write_file
from lrp3d.commands.results import write_results
from lrp3d.commands.writable import check_folder
from lrp3d.printed import say

if TYPE_CHECKING:
    from lrp3d.commands.arguments import Commands
    from lrp3d.commands.listed_videos import ListedVideos
    from lrp3d.commands.model_options import ModelChoice
    from lrp3d.commands.result_pages import Strips
    from lrp3d.prototypes import Prototypes

BEST = 5  # channels that are shown if none is named
SHARE = (
    "Its share is that of all relevance for the explained class that reaches the layer from that clip. A clip with a "
    "negative share is among them only because there are no better ones."
)


def add_to(commands: Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "prototypes",
        help="find the videos on which channels of a layer have most relevance",
        description="Find out what a channel stands for: list the videos on which it had most relevance for the logit.",
        epilog="Example: lrp3d prototypes --model TAM2D-R50-f16 --weights tam.safetensors --list val.txt "
        "--layer features.layer4 --channel 12",
    )
    add_videos(parser, most=100)
    arguments.add_options(parser)
    arguments.add_layout(parser)
    parser.add_argument("--layer", required=True, metavar="MODULE", help="the module whose output has the channels")
    about = f"a channel; may be repeated (default: the {BEST} with most relevance over all videos)"
    parser.add_argument("--channel", type=arguments.count, action="append", metavar="N", help=about)
    about = "videos to show for each channel (default: 5)"
    parser.add_argument("--top", type=arguments.positive, default=5, metavar="N", help=about)
    parser.add_argument("--plain", action="store_true", help="plain LRP instead of contrastive LRP")
    add_out(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the videos of each channel."""
    from lrp3d.commands import model_options
    from lrp3d.commands.result_pages import page_of

    if options.out is not None:
        check_folder(options.out.parent, pictures=False)
    choice = model_options.choose(options)
    videos = listed_videos(options, choice)
    found = _find(options, choice, videos)
    without = [str(videos.read[i].path) for i in found.left_out]
    none_there = (f"no relevance reaches {options.layer} from {', '.join(without)}",) if without else ()
    notes = (*choice.notes, *videos.notes, *videos.left_out(), *none_there)
    of_model = [f"{choice.name}: {choice.weights}", *(f"note: {note}" for note in notes)]
    count = f"{len(videos.read)} video{'s' if len(videos.read) > 1 else ''}"
    best = _best_videos(options, found, videos)
    say(*of_model, f"{options.layer}, {count}; the channel's share of the layer's relevance for the class")
    for channel, entries in best.items():
        for rank, entry in enumerate(entries):
            head = "" if rank else f"channel {channel}"
            say(f"  {head:13} {100 * entry.share:5.1f} %  {entry.path}")
    facts = {
        "model": choice.name,
        "weights": choice.weights,
        "notes": notes,
        **videos.facts(),
        "layer": options.layer,
        "channels": {
            channel: [{"video": entry.path, "share": entry.share} for entry in entries]
            for channel, entries in best.items()
        },
    }

    def page() -> str:
        method = "plain LRP" if options.plain else "CLRP"
        about = (
            f"{options.layer}, {count}, {method}: for each channel, the clips on which it had most relevance. {SHARE}"
        )
        said = [*of_model, *(why for _, why in videos.failed), about]
        return page_of(f"Prototypes of {options.layer}", said, _sections(best, videos, choice, not options.plain))

    write_file(options.out, facts, page)
    write_results(options, facts)
    return videos.code()


class _Best(NamedTuple):
    """A video on which a channel had much relevance."""

    number: int  # among those that were read
    path: str
    share: float


def _find(options: argparse.Namespace, choice: ModelChoice, videos: ListedVideos) -> Prototypes:
    """Explains every video, each of which is read once; its class is that of the list where the options say so."""
    from lrp3d.commands.terminal import shows_progress
    from lrp3d.prototypes import prototypes

    target = one_target(options, videos, choice)
    clips, labels = tee(videos.clips(choice))
    return prototypes(
        choice.model,
        (clip[0] for clip, _ in clips),
        options.layer,
        options.channel,
        targets=(label for _, label in labels if label is not None) if by_label(options) else target,
        top=options.top,
        contrastive=not options.plain,
        input_range=choice.input_range,
        layout=options.layout,
        progress=shows_progress(),
    )


def _best_videos(options: argparse.Namespace, found: Prototypes, videos: ListedVideos) -> dict[int, list[_Best]]:
    """The best videos of the channels that were asked for, or else of those with most relevance over all videos."""
    rows = list(range(len(found.channels)))
    if options.channel is None:
        rows = found.of_clips.nanmean(0).topk(min(BEST, len(found.channels))).indices.tolist()
    return {
        found.channels[row]: [
            _Best(i, str(videos.read[i].path), share)
            for i, share in zip(found.clips[row].tolist(), found.relevance[row].tolist(), strict=True)
        ]
        for row in rows
    }


def _sections(
    best: dict[int, list[_Best]], videos: ListedVideos, choice: ModelChoice, contrastive: bool
) -> list[Strips]:
    """The part of the page for each channel: its best videos, each with its share and its frames."""
    from lrp3d.commands.result_pages import Strip, Strips

    return [
        Strips(
            f"Channel {channel}",
            [
                Strip(entry.path, _share_words(entry.share, contrastive), videos.pixels(entry.number, choice))
                for entry in entries
            ],
        )
        for channel, entries in best.items()
    ]


def _share_words(share: float, contrastive: bool) -> str:
    """What a channel's share of a clip's relevance says; plain relevance has the sign of the logit.

    >>> _share_words(0.556, True).replace("\\xa0", " ")
    "55.6 % of the clip's relevance"
    >>> _share_words(-0.133, True).replace("\\xa0", " ")
    "−13.3 % of the clip's relevance: here the channel speaks against the class"
    """
    percent = f"{100 * share:.1f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}") + " of the clip's relevance"
    against = "speaks against the class" if contrastive else "has the other sign than the logit"
    return percent if share >= 0 else f"{percent}: here the channel {against}"
