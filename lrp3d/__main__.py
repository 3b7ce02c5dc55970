"""`python -m lrp3d` is the command line."""

import sys

from lrp3d.commands.command_line import main

if __name__ == "__main__":
    sys.exit(main())
