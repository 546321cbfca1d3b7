"""Keys: where they may stand, and what is none."""

import hmac

import pytest

from interlingua.server import auth
from interlingua.server.auth import Keys

KEYS = Keys(["correct-key", "second"])


def admitted(*headers: tuple[bytes, bytes], keys: Keys = KEYS) -> bool:
    return keys.holder(headers) is not None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"api-key", b"correct-key")],
        [(b"api-key", b" correct-key\t")],
        [(b"authorization", b"Bearer correct-key")],
        [(b"authorization", b"bearer   correct-key")],
        [(b"authorization", b"correct-key")],
        [(b"api-key", b"second"), (b"authorization", b"Bearer second")],
        [(b"api-key", b"wrong"), (b"authorization", b"Bearer correct-key")],
        [(b"api-key", b"correct-key"), (b"authorization", b"Bearer wrong")],
        [(b"api-key", b"wrong"), (b"api-key", b"second")],
        [(b"api-key", b""), (b"authorization", b"correct-key")],
    ],
)
def test_any_valid_key_suffices(headers: list[tuple[bytes, bytes]]) -> None:
    assert admitted(*headers)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"api-key", b"")],
        [(b"api-key", b"  ")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Basic correct-key")],
        [(b"authorization", b"Bearer Bearer correct-key")],
        [(b"api-key", b"Bearer correct-key")],
        [(b"api-key", b"correct-kez")],
        [(b"api-key", b"Correct-Key")],
        [(b"api-key", b"correct-key ' OR 1=1 --")],
        [(b"api-key", b"correct-key\x00")],
        [(b"api-key", b"correct-key,second")],
        [(b"api-key", b"\xff\xfe")],
        [(b"api-key", b"a" * 100_000)],
        [(b"x-api-key", b"correct-key")],
        [(b"cookie", b"api-key=correct-key")],
        [(b"proxy-authorization", b"Bearer correct-key")],
        [(b"api-key", b"wrong")] * 8 + [(b"api-key", b"correct-key")],
    ],
)
def test_nothing_else_does(headers: list[tuple[bytes, bytes]]) -> None:
    assert not admitted(*headers)


def test_without_keys_nobody_is_admitted() -> None:
    assert not admitted((b"api-key", b"x"), keys=Keys([]))


def test_the_keys_themselves_are_not_kept() -> None:
    assert "correct-key" not in repr(vars(KEYS))


@pytest.mark.parametrize("key", [b"correct-key", b"correct-kez", b"xorrect-key", b"unknown"])
def test_whatever_the_key_its_digest_is_compared_once_in_constant_time(
    monkeypatch: pytest.MonkeyPatch, key: bytes
) -> None:
    """Timing it would tell where its bytes lie in memory: a comparison takes ten nanoseconds."""
    compared: list[tuple[bytes, bytes]] = []

    class Watched:
        @staticmethod
        def compare_digest(given: bytes, known: bytes) -> bool:
            compared.append((given, known))
            return hmac.compare_digest(given, known)

    monkeypatch.setattr(auth, "hmac", Watched)
    assert admitted((b"api-key", key)) == (key == b"correct-key")
    ((given, known),) = compared
    assert len(known) == len(given) == 32
    assert key not in given
