"""``<think>`` … ``</think>``: a model's thinking aloud, taken apart from its answer."""

OPEN = "<think>"
CLOSE = "</think>"


class Thinking:
    """Splits one streamed text; what may be the beginning of a tag is held back.

    ``opened`` says that the prompt already ended with the opening tag. Only a tag at the
    very beginning opens; white space around the thoughts is left out.
    """

    def __init__(self, *, opened: bool) -> None:
        self._state = "inside" if opened else "before"
        self._held = ""
        self._fresh = True

    @property
    def inside(self) -> bool:
        """Whether what comes next is still thought, not answer."""
        return self._state == "inside"

    def feed(self, text: str) -> tuple[str, str]:
        """The piece of thought and the piece of answer that are certain now."""
        if self._state == "after" and not self._fresh:
            return "", text
        self._held += text
        thought = ""
        if self._state == "before":
            self._begin()
        if self._state == "inside":
            thought = self._think()
        return (thought, self._answer()) if self._state == "after" else (thought, "")

    def finish(self) -> tuple[str, str]:
        """What was held back when the text ended."""
        held, self._held = self._held, ""
        return (held.rstrip(), "") if self._state == "inside" else ("", held)

    def _begin(self) -> None:
        start = self._held.lstrip()
        if start.startswith(OPEN):
            self._state, self._held = "inside", start[len(OPEN) :]
        elif not OPEN.startswith(start):
            # An answer without thoughts begins as it is, white space and all.
            self._state, self._fresh = "after", False

    def _think(self) -> str:
        held = self._held.lstrip() if self._fresh else self._held
        thought, closed, rest = held.partition(CLOSE)
        if closed:
            self._state, self._fresh, self._held = "after", True, rest
            return thought.rstrip()
        keep = _tag_begun(held)
        certain = held[: len(held) - keep].rstrip()
        self._held = held[len(certain) :]
        self._fresh = self._fresh and not certain
        return certain

    def _answer(self) -> str:
        text = self._held.lstrip() if self._fresh else self._held
        self._held = ""
        self._fresh = self._fresh and not text
        return text


def _tag_begun(text: str) -> int:
    """How many characters at the end may be the beginning of the closing tag."""
    for length in range(min(len(CLOSE) - 1, len(text)), 0, -1):
        if text.endswith(CLOSE[:length]):
            return length
    return 0
