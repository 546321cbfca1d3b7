"""Run the conformance suite through our server with servers that others wrote behind it.

``make peers``, or ``python -m peers litellm --only tool`` for a part of it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from clients.environments import SetupFailed
from tests.server.service import KEY, served
from tests.support.conforming import declared_by, outcomes

from interlingua.config.schema import Config
from interlingua.server.app import App
from interlingua.server.build import build, plan

from .page import Result, Seen, summary, write
from .peers import PEERS, Peer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m peers", description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"of {', '.join(PEERS)}; else all")
    parser.add_argument("--only", default="", help="just the cases with this in their name")
    parser.add_argument("--write", action="store_true", help="write docs/reference/peers.md")
    given = parser.parse_args()
    unknown = set(given.peers) - set(PEERS)
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are: {', '.join(PEERS)}")
    seen: list[Seen] = []
    troubles = []
    for name in given.peers or list(PEERS):
        try:
            began = time.monotonic()
            seen += check(PEERS[name], given.only)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        except SetupFailed as error:
            troubles.append(f"{name}: {error}")
    print("\n" + summary(seen))
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    if given.write:
        write(seen)
    if troubles or any(each.counts["fail"] for each in seen):
        sys.exit(1)


def check(peer: Peer, only: str) -> Iterator[Seen]:
    """What the suite says of each deployment that has the peer behind it."""
    with tempfile.TemporaryDirectory() as folder, peer.run(Path(folder)) as running:
        listed = [{"timeout_s": 60.0, **each} for each in running.deployments]
        config = msgspec.convert({"deployment": listed}, Config)
        gateway = build(plan(config, Path(folder)), config).gateway
        with served(App(gateway, config, [KEY])) as url:
            for deployment in gateway.deployments:
                declared = declared_by(deployment)
                found = outcomes(url, declared, only=lambda case: only in case.name, at_once=4)
                results = tuple(Result.of(each, peer.deviations) for each in found)
                for result in results:
                    if result.state in {"fail", "deviates"}:
                        print(f"{deployment.name}: {result.case}: {result.state}: {result.why}")
                yield Seen(
                    peer=peer.name,
                    package=peer.package,
                    version=running.version,
                    behind=running.behind,
                    deployment=deployment.name,
                    results=results,
                )


if __name__ == "__main__":
    main()
