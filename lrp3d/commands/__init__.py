"""The commands of `lrp3d`, one file each; beside them what they share.

A command is a module with `add_to(commands)`, which adds its parser, whose default `run` takes the options
and returns the exit code.
"""

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(ValueError):
    """What was asked for on the command line cannot be: exit code 2, and nothing was done."""
