"""Callers that keep a journal each: what they sent, and what came of it.

Plain sockets: a client's own retries would hide what is counted here.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .service import KEY, Used
from .upstream import FAULTS, SLOW_S, words

#: What a caller can see: an answer that is right, an error that says so, its own leaving, a
#: connection that ended without a word, and an answer that isn't one.
OUTCOMES = ("completed", "error", "cancelled", "cut", "false")
_CALL_WITHIN_S = 60.0
#: Before the answer to a slow call, and after it has come to whom it was sent.
_LEAVES_AFTER_S = SLOW_S / 2


class Entry(NamedTuple):
    """A line of a journal. ``id``: the server's, where it could be read."""

    number: int
    do: str
    outcome: str
    status: int
    id: str | None


class Plan(NamedTuple):
    """A call to make. ``leave``: the caller goes away in the middle. ``model``: a chat's."""

    number: int
    do: str
    kind: str
    leave: bool = False
    model: str = "sound"


def plans(
    count: int, *, faults: float = 0.0, leaving: float = 0.0, seed: int = 1
) -> Iterator[Plan]:
    """``count`` calls of all kinds; the shares that go wrong, and that their callers leave."""
    chance = random.Random(seed)
    for number in range(1, count + 1):
        draw = chance.random()
        if draw < faults:
            do, kind = chance.choice((*FAULTS, "once")), chance.choice(("chat", "stream"))
            yield Plan(number, do, kind, model="faulty")
        elif draw < faults + leaving:
            kind = chance.choice(("chat", "stream"))
            yield Plan(number, "hold" if kind == "stream" else "slow", kind, leave=True)
        else:
            kind = chance.choices(("chat", "stream", "vectors"), (6, 2, 2))[0]
            # Sound answers keep the circuit of what fails closed, or nothing would reach it.
            model = "faulty" if draw < faults * 10 else "sound"
            yield Plan(number, "plain", kind, model=model)


def request(plan: Plan) -> bytes:
    """The whole request, over a connection that stays."""
    text = f"n={plan.number} do={plan.do}"
    body: dict[str, object]
    if plan.kind == "vectors":
        path, body = "/embeddings", {"model": "vectors", "input": [text]}
    else:
        path = "/chat/completions"
        body = {"model": plan.model, "messages": [{"role": "user", "content": text}]}
        if plan.kind == "stream":
            body["stream"] = True
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: soak\r\napi-key: {KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


class Callers:
    """Makes calls, ``at_once`` under way at a time, until the plans or the time run out."""

    def __init__(self, port: int, *, at_once: int = 32) -> None:
        self.journal: list[Entry] = []
        self.stopped = False
        self._port = port
        self._at_once = at_once

    async def run(
        self,
        work: Iterator[Plan],
        tell: Callable[[int], None] = lambda _: None,
        *,
        pause_s: float = 0.0,
    ) -> None:
        """``pause_s``: between two calls of one caller."""

        async def one() -> None:
            caller = Caller(self._port)
            for plan in work:
                self.journal.append(await caller.call(plan))
                if len(self.journal) % 1000 == 0:
                    tell(len(self.journal))
                if self.stopped:
                    break
                if pause_s:
                    await asyncio.sleep(pause_s)
            caller.close()

        await asyncio.gather(*(one() for _ in range(self._at_once)))

    def counts(self) -> Counter[str]:
        return Counter(entry.outcome for entry in self.journal)


class Caller:
    """One caller with one connection at a time, made anew when it ends."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, plan: Plan) -> Entry:
        seen = _Seen()
        try:
            async with asyncio.timeout(_CALL_WITHIN_S):
                outcome = await self._call(plan, seen)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            outcome = "error" if seen.said_error else "cut"
        except TimeoutError:
            self.close()
            outcome = "false"
        return Entry(plan.number, plan.do, outcome, seen.status, seen.id)

    def close(self) -> None:
        if self._ends is not None:
            self._ends[1].transport.abort()
            self._ends = None

    async def _call(self, plan: Plan, seen: "_Seen") -> str:
        if self._ends is None:
            self._ends = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._ends
        writer.write(request(plan))
        if plan.leave and plan.kind == "chat":
            await asyncio.sleep(_LEAVES_AFTER_S)
            # What had been sent before it left is read: on a machine that is slow, all of it.
            writer.write_eof()
            if not await reader.read(1):
                self.close()
                return "cancelled"
            head = b"H" + await reader.readuntil(b"\r\n\r\n")
        else:
            head = await reader.readuntil(b"\r\n\r\n")
        seen.read(head)
        if plan.leave and plan.kind == "stream":
            await reader.readline()
            self.close()
            return "cancelled"
        body = await self._body(head, reader, seen)
        if plan.leave or b"connection: close" in head.lower():
            self.close()
        return _judged(plan, seen.status, body)

    async def _body(self, head: bytes, reader: asyncio.StreamReader, seen: "_Seen") -> bytes:
        if b"content-length: " in head:
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return await reader.readexactly(length)
        pieces = []
        while size := int(await reader.readline() or b"-1", 16):
            if size < 0:
                raise ConnectionError
            piece = (await reader.readexactly(size + 2))[:-2]
            seen.said_error = seen.said_error or b'"error"' in piece
            pieces.append(piece)
        await reader.readexactly(2)
        return b"".join(pieces)


class _Seen:
    """What a caller has seen of a reply so far."""

    def __init__(self) -> None:
        self.status = 0
        self.id: str | None = None
        self.said_error = False

    def read(self, head: bytes) -> None:
        self.status = int(head[9:12])
        found = head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0]
        self.id = found.decode() or None


def _judged(plan: Plan, status: int, body: bytes) -> str:
    """What a reply that came whole is."""
    if status != 200:
        return "error" if json.loads(body)["error"]["message"] else "false"
    if plan.kind == "vectors":
        return (
            "completed" if json.loads(body)["data"][0]["embedding"][0] == plan.number else "false"
        )
    wanted = "".join(f"w{place} " for place in range(words(plan.number)))
    if plan.kind == "chat":
        said = json.loads(body)["choices"][0]["message"]["content"]
        return "completed" if said == wanted else "false"
    events = [each[6:] for each in body.decode().split("\n\n") if each]
    if events.pop() != "[DONE]":
        return "false"
    choices = [choice for each in events for choice in json.loads(each)["choices"]]
    said = "".join(choice["delta"].get("content") or "" for choice in choices)
    whole = said == wanted and choices[-1]["finish_reason"] == "stop"
    return "completed" if whole else "false"


class Ledger(NamedTuple):
    """The journals beside the usage records."""

    calls: int
    completed: int
    errors: int
    cancelled: int
    cut: int
    #: Calls that were answered, refused or cancelled and have no record, or one that says
    #: something else.
    lost: int
    #: Records of no call, or beside another one of the same.
    doubled: int
    false: int

    @property
    def exact(self) -> bool:
        return not (self.lost or self.doubled or self.false)


def compared(journal: Sequence[Entry], used: Sequence[Used], *, killed: bool = False) -> Ledger:
    """Hold one against the other. ``killed``: processes were, so that the record of a call
    that was cut may or may not be there.
    """
    counts = Counter(entry.outcome for entry in journal)
    by_id = {row.id: row for row in used}
    matched: set[str] = set()
    lost = len(used) - len(by_id)
    unnamed: Counter[str] = Counter()
    for entry in journal:
        if entry.id is None:
            unnamed[entry.outcome] += 1
            continue
        row = by_id.get(entry.id)
        if row is None:
            lost += not (killed and entry.outcome == "cut")
            continue
        matched.add(entry.id)
        lost += not _agrees(entry, row)
    left = [row for row in used if row.id not in matched]
    if killed:
        # Who was in a call when its process ended doesn't know its id.
        return Ledger(
            len(journal), counts["completed"], counts["error"], counts["cancelled"],
            counts["cut"], lost, max(0, len(left) - sum(unnamed.values())), counts["false"],
        )  # fmt: skip
    gone = sum(row.status == 499 for row in left)
    return Ledger(
        len(journal), counts["completed"], counts["error"], counts["cancelled"], counts["cut"],
        lost + abs(unnamed["cancelled"] - gone) + unnamed["cut"], len(left) - gone,
        counts["false"],
    )  # fmt: skip


def _agrees(entry: Entry, row: Used) -> bool:
    if entry.outcome == "completed":
        return row.status == 200 and row.prompt_tokens == entry.number
    if entry.outcome == "cancelled":
        return row.status == 499
    return entry.outcome == "cut" or row.status >= 400
