"""llama.cpp's server alone: its own defaults, on a port of this machine.

Run as ``python -m bench.llama_server FILE SLOTS CONTEXT``, the context being that of one
slot; prints its address.
"""

import sys
import threading

import xllamacpp


def main(path: str, slots: str, context: str) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_parallel = int(slots)
    params.n_ctx = int(slots) * int(context)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.verbosity = -1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
