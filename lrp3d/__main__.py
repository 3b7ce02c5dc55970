"""`python -m lrp3d` is the command line."""

import signal
import sys

from lrp3d.commands import INTERRUPTED
from lrp3d.printed import say


def main() -> int:
    """Run the command line as all that a process does.

    Returns its exit code, also where it is interrupted before or after the command itself.
    """
    try:
        from lrp3d.commands.interrupts import between_imports

        with between_imports():
            from lrp3d.commands import command_line

        return command_line.main()
    except KeyboardInterrupt:
        say("lrp3d: interrupted", stream=sys.stderr)
        return INTERRUPTED
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the exit code is known, and Python only puts things away


if __name__ == "__main__":
    sys.exit(main())
