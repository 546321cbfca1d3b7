"""``python -m interlingua``: the command, where the script isn't on the path."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
