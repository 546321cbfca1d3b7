"""What an operator does to a server that has work: replace its workers, change its config."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from azure.ai.inference import ChatCompletionsClient
from azure.ai.inference.models import UserMessage
from azure.core.credentials import AzureKeyCredential
from openai import OpenAI

from .callers import Callers, compared, plans
from .ledger import told_of
from .report import Finding, tell
from .service import DEPLOYMENT, KEY, Service, serving, upstream

RESTARTS, RELOADS = 100, 100
#: What a client says to a text.
Work = Callable[[str], str]


class Clients:
    """The official clients, calling until they are told to stop."""

    def __init__(self, port: int) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        url = f"http://127.0.0.1:{port}"
        works = (_azure(url), _openai(url))
        self._threads = [
            threading.Thread(target=self._call, args=(name, work))
            for each in works
            for name, work in each.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, name: str, work: Work) -> None:
        while not self._stop.is_set():
            try:
                said = work("n=5 do=plain")
            except Exception as error:  # noqa: BLE001 - whatever a client raises is a failure
                self.failures.append(f"{name}: {error!r}"[:200])
                continue
            self.counts[name] += 1
            if said != "w0 w1 w2 w3 w4 w5 w6 ":
                self.failures.append(f"{name}: said {said!r}"[:200])


def _azure(url: str) -> dict[str, Work]:
    client = ChatCompletionsClient(url, AzureKeyCredential(KEY))

    def whole(text: str) -> str:
        reply = client.complete(model="sound", messages=[UserMessage(text)])
        return reply.choices[0].message.content or ""

    def streamed(text: str) -> str:
        events = client.complete(model="sound", messages=[UserMessage(text)], stream=True)
        return "".join(e.choices[0].delta.content or "" for e in events if e.choices)

    return {"azure-ai-inference": whole, "azure-ai-inference, streamed": streamed}


def _openai(url: str) -> dict[str, Work]:
    client = OpenAI(base_url=f"{url}/v1", api_key=KEY)

    def whole(text: str) -> str:
        reply = client.chat.completions.create(
            model="sound", messages=[{"role": "user", "content": text}]
        )
        return reply.choices[0].message.content or ""

    def streamed(text: str) -> str:
        events = client.chat.completions.create(
            model="sound", messages=[{"role": "user", "content": text}], stream=True
        )
        return "".join(e.choices[0].delta.content or "" for e in events if e.choices)

    return {"openai": whole, "openai, streamed": streamed}


def restarts(folder: Path, share: float) -> Iterator[Finding]:
    """SIGUSR2 again and again while the official clients, and plain sockets, call."""
    times = max(1, int(RESTARTS * share))
    with upstream() as far, serving(folder / "restarts", far.port) as service:
        callers = Callers(service.port, at_once=8)
        with Clients(service.port) as clients:
            took = asyncio.run(_restarted(service, callers, times))
        half_sent = _half_sent(service)
        began = time.monotonic()
        code = service.stop()
        ended_s = time.monotonic() - began
        half_sent.close()
        calls = sum(clients.counts.values())
        failed = len(clients.failures)
        each = ", ".join(f"{name} {count:,}" for name, count in sorted(clients.counts.items()))
        yield Finding(
            "restarts", "rolling restarts of 2 workers", str(times), f"{times}", kept=True
        )
        yield Finding("restarts", "each took, s", f"{took / times:.1f}", "", kept=True)
        what = "failed calls of the official clients, default retries"
        yield Finding(
            "restarts", what, f"{failed} of {calls:,} ({each})", "0", not failed and calls > 0
        )
        for failure in clients.failures[:3]:
            yield Finding("restarts", "failure", failure, "", kept=False)
        counts = callers.counts()
        bad = sum(counts.values()) - counts["completed"]
        what = "calls of plain sockets that don't retry, failed"
        yield Finding("restarts", what, f"{bad} of {counts.total():,}", "0", bad == 0)
        found = compared(callers.journal, service.used())
        # The official clients' calls are records without a journal.
        yield Finding("restarts", "usage lost", str(found.lost), "0", found.lost == 0)
        said = f"exit code {code} after {ended_s:.1f} s"
        yield Finding(
            "restarts",
            "SIGTERM with half-sent requests",
            said,
            "0, < 25 s",
            code == 0 and ended_s < 25,
        )


async def _restarted(service: Service, callers: Callers, times: int) -> float:
    calling = asyncio.create_task(callers.run(plans(10_000_000)))
    await asyncio.sleep(1)
    began = time.monotonic()
    for number in range(times):
        before = set(service.workers())
        service.process.send_signal(signal.SIGUSR2)  # type: ignore[union-attr]
        async with asyncio.timeout(120):
            while len(now := set(service.workers())) != len(before) or now & before:
                await asyncio.sleep(0.05)
        tell(f"restarts: {number + 1} of {times}, {len(callers.journal):,} calls")
    took = time.monotonic() - began
    callers.stopped = True
    await calling
    return took


def _half_sent(service: Service) -> socket.socket:
    """A request whose body never comes."""
    end = socket.create_connection(("127.0.0.1", service.port))
    end.sendall(
        f"POST /chat/completions HTTP/1.1\r\nhost: soak\r\napi-key: {KEY}\r\n"
        'content-length: 500\r\n\r\n{"mess'.encode()
    )
    return end


def reloads(folder: Path, share: float) -> Iterator[Finding]:
    """Configs that change, and configs that can't be served, by signal and by command."""
    times = max(4, int(RELOADS * share))
    with upstream() as far, serving(folder / "reloads", far.port) as service:
        callers = Callers(service.port, at_once=8)
        wrong, refused = asyncio.run(_reloaded(service, callers, times, far.port))
        code = service.stop()
        counts = callers.counts()
        bad = counts.total() - counts["completed"]
        said = f"{times}, of which {refused} were refused"
        yield Finding(
            "reloads", "reloads", said, f"{times}, half of them refused", refused == times // 2
        )
        yield Finding("reloads", "reloads that did something else", str(wrong), "0", wrong == 0)
        yield Finding("reloads", "failed calls", f"{bad} of {counts.total():,}", "0", bad == 0)
        yield from told_of("reloads", compared(callers.journal, service.used()))
        yield Finding("reloads", "exit code", str(code), "0", code == 0)


async def _reloaded(service: Service, callers: Callers, times: int, port: int) -> tuple[int, int]:
    """How many reloads did what they shouldn't, and how many were refused."""
    calling = asyncio.create_task(callers.run(plans(10_000_000)))
    wrong = refused = 0
    for number in range(times):
        name = f"generation-{number}"
        bad, by_signal = number % 2 == 1, number % 4 >= 2
        more = DEPLOYMENT.format(
            name="no such name" if bad else name,
            type="chat-completion",
            port=port,
            silence_s=1,
            slots=8,
        )
        service.write_config(port, more=more)
        before = len(service.log())
        if by_signal:
            os.kill(service.pid, signal.SIGHUP)
        else:
            wrong += await _by_command(service) == bad
        async with asyncio.timeout(60):
            said = False
            while not (said or await asyncio.to_thread(_serves, service, name)):
                await asyncio.sleep(0.02)
                said = "goes on as before" in service.log()[before:]
        refused += said
        wrong += said != bad
        tell(f"reloads: {number + 1} of {times}, {len(callers.journal):,} calls")
    callers.stopped = True
    await calling
    return wrong, refused


async def _by_command(service: Service) -> bool:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "interlingua", "reload", "--data-dir", str(service.data)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return await process.wait() == 0


def _serves(service: Service, name: str) -> bool:
    """Whether the deployment is there."""
    url = f"http://127.0.0.1:{service.port}/v1/models"
    asked = urllib.request.Request(url, headers={"api-key": KEY})
    with urllib.request.urlopen(asked, timeout=30) as reply:
        return any(each["id"] == name for each in json.load(reply)["data"])
