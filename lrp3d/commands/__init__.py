"""The commands of `lrp3d`, one file each, and what they share.

A command is a module with `add_to(commands)`, which adds its parser, whose default `run` takes the options and returns
the exit code. `command_line` lists the commands, reads the arguments and runs the command; `terminal` says in one line
what went wrong, and `spelling` names options there where the library names arguments; `streams` prints, whoever reads
it, and `results` prints what `--json` asks for. `arguments` has options of several commands, `model_options` makes the
model that they ask for on the device that `devices` finds, `pixel_options` says how its frames are prepared,
`sampling_note` which frames it learned from and `many_frames` that long clips take long, `listed_videos` and
`one_clip` read the videos, `summaries` words what is printed, `output_folder` writes files and `result_pages` pages,
`labels` finds classes by their names.
"""

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(ValueError):
    """What was asked for on the command line cannot be: exit code 2, and nothing was done."""
