"""``python -m interlingua.cli.tethered``: the command, ending with whoever started it.

Its stdin is a pipe that the starter holds open and never writes to. When the starter ends,
in whatever way, the pipe closes and this process gets the SIGTERM that it knows how to obey.
"""

import os
import signal
import sys
import threading

from .main import main


def _obey_the_tether() -> None:
    # Not sys.stdin: a thread inside its buffer would hold the interpreter's exit up.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_obey_the_tether, daemon=True).start()
    sys.exit(main())
