"""What every engine process does first: tie its life to its parent, and take its settings.

Rules of this file:
- An engine never outlives the process that started it, however that one ends. On Linux the
  kernel sees to it; everywhere the end of standard input does.
- Settings come as one line of JSON on standard input, which then stays open as the life
  line; so neither the key nor anything else shows in arguments or environment.
- Standard output is for one line of JSON, ``{"error": "..."}``, where the engine can't start.
"""

import atexit
import ctypes
import json
import os
import signal
import sys
import threading
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def take_settings() -> dict[str, object]:
    """Tie this process to its parent and return the settings that the parent sent."""
    if sys.platform == "linux":
        # The signal is sent when the *thread* that started this process ends: parents start
        # engines from their main thread.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Ctrl-C in a terminal is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = sys.stdin.buffer.readline()
    if not line:
        leave()
    settings = json.loads(line)
    if not isinstance(settings, dict):
        refuse("The settings are not a JSON object.")
    if os.getppid() != settings.pop("parent", os.getppid()):
        leave()  # the parent had ended before the tie was made
    threading.Thread(target=_watch, name="lifeline", daemon=True).start()
    return settings


def refuse(reason: str) -> NoReturn:
    """Tell the parent why this engine can't start, and end."""
    sys.stdout.write(json.dumps({"error": reason}) + "\n")
    sys.stdout.flush()
    leave(1)


def leave(code: int = 0) -> NoReturn:
    """End at once, whatever native threads are doing.

    A regular exit while an engine's threads work aborts the process ("exception not
    rethrown"), so what is registered to run at exit is run here and the rest is skipped.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them before os._exit
    os._exit(code)


def _watch() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    leave()
