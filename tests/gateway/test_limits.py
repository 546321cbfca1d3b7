"""Limits: what fits flows, what doesn't waits exactly as long as it must, nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import RateLimited
from interlingua.gateway.allowance import (
    ANSWER_TOKENS,
    Allowance,
    CallerLimited,
    duration,
    estimate,
    headers,
    of_deployment,
    of_key,
)
from interlingua.gateway.limits import Budget, Limit, Now, OwnShares, Rate
from interlingua.gateway.meter import CallMeter
from interlingua.types.chat import ChatRequest, ImagePart, TextPart, UserMessage
from interlingua.types.completions import CompletionRequest
from interlingua.types.embeddings import EmbeddingsRequest, ImageEmbeddingsRequest, ImageInput


class Clock:
    """Seconds that the test moves on."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> Now:
        return Now(1000.0 + self.passed, 86400.0 * 20_000 + 3600 + self.passed)


def chat(text: str = "", max_tokens: int = 0) -> ChatRequest:
    return ChatRequest(messages=(UserMessage(text),), max_tokens=max_tokens)


def call_of(caller: str) -> CallMeter:
    call = CallMeter("chat_completions", "0" * 32)
    call.key = caller
    return call


async def admitted(shares: OwnShares, tokens: int, *deployments: str) -> Allowance:
    allowance = Allowance(shares, call_of("a"))
    allowance.expect(chat(max_tokens=tokens))
    for deployment in deployments or ("d",):
        await allowance.enter(deployment)
    return allowance


def tokens_left(shares: OwnShares, name: str = of_key("a")) -> int:
    left = shares.left(name)
    room = left and left.tokens
    assert room is not None
    return room.left


def requests_left(shares: OwnShares, name: str = of_key("a")) -> int:
    left = shares.left(name)
    room = left and left.requests
    assert room is not None
    return room.left


def test_a_burst_of_a_minutes_worth_and_then_an_even_flow() -> None:
    rate = Rate(60)
    taken = 0
    while rate.wait_s(1, 0.0) == 0:
        rate.take(1, 0.0)
        taken += 1
    assert taken == 60
    assert rate.wait_s(1, 0.0) == pytest.approx(1.0)
    assert rate.wait_s(1, 1.0) == 0
    rate.take(1, 1.0)
    assert rate.wait_s(1, 1.0) == pytest.approx(1.0)
    assert rate.room(31.0).left == 30


@given(
    amount=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 2000)), min_size=1, max_size=60),
)
def test_no_minute_ever_takes_more_than_two_minutes_worth(
    amount: int, steps: list[tuple[float, int]]
) -> None:
    """GCRA: a burst, and what flowed in meanwhile. A cost beyond it all counts as all of it."""
    rate, now = Rate(amount), 0.0
    taken: list[tuple[float, int]] = []
    for pause, cost in steps:
        now += pause
        if rate.wait_s(cost, now) == 0:
            rate.take(min(cost, amount), now)
            taken.append((now, min(cost, amount)))
    for start, _ in taken:
        within = sum(cost for at, cost in taken if start <= at <= start + 60)
        assert within <= 2 * amount + 1e-6


@given(amount=st.integers(1, 1000), cost=st.integers(1, 1000), times=st.integers(1, 30))
def test_the_wait_is_as_long_as_it_must_be_and_no_longer(
    amount: int, cost: int, times: int
) -> None:
    rate = Rate(amount)
    now = 0.0
    for _ in range(times):
        wait_s = rate.wait_s(cost, now)
        if wait_s > 1e-6:
            assert rate.wait_s(cost, now + wait_s * 0.99) > 0
        now += wait_s + 1e-9
        assert rate.wait_s(cost, now) == pytest.approx(0, abs=1e-6)
        rate.take(cost, now)


@given(amount=st.integers(1, 1000), cost=st.integers(1, 1000))
def test_what_is_given_back_can_be_taken_again(amount: int, cost: int) -> None:
    rate = Rate(amount)
    rate.take(min(cost, amount), 0.0)
    rate.take(-min(cost, amount), 0.0)
    assert rate.room(0.0).left == amount


def test_a_budget_is_new_at_midnight() -> None:
    budget = Budget(100, 40, 86400.0)
    assert budget.room(86400.0).left == 60
    budget.take(60, 86400.0)
    assert budget.wait_s(86400.0 + 3600) == 86400 - 3600
    assert budget.wait_s(2 * 86400.0) == 0
    assert budget.room(2 * 86400.0).left == 100


def test_what_was_used_before_midnight_is_none_of_the_next_days() -> None:
    assert Budget(100, 100, 86399.0).wait_s(86400.0) == 0


@pytest.mark.anyio
async def test_what_a_call_did_not_use_goes_back_once() -> None:
    shares = OwnShares(
        {of_key("a"): Limit(tokens_per_minute=1000, tokens_per_day=5000)}, {}, Clock()
    )
    first = await admitted(shares, 900)
    assert tokens_left(shares) == 100
    with pytest.raises(CallerLimited) as refused:
        await admitted(shares, 900)
    assert refused.value.retry_after_s == 48
    assert tokens_left(shares) == 100
    first.settle(50)
    first.settle(0)
    assert tokens_left(shares) == 950
    await admitted(shares, 900)
    assert tokens_left(shares) == 50


@pytest.mark.anyio
async def test_a_call_that_fails_gives_its_tokens_back_and_stays_a_request() -> None:
    limit = Limit(requests_per_minute=10, tokens_per_minute=1000)
    shares = OwnShares({of_key("a"): limit, of_deployment("d"): limit}, {}, Clock())
    call = await admitted(shares, 400)
    for name in (of_key("a"), of_deployment("d")):
        assert (requests_left(shares, name), tokens_left(shares, name)) == (9, 600)
    call.settle(0)
    for name in (of_key("a"), of_deployment("d")):
        assert (requests_left(shares, name), tokens_left(shares, name)) == (9, 1000)


@pytest.mark.anyio
async def test_more_than_was_reserved_counts_as_well() -> None:
    shares = OwnShares({of_key("a"): Limit(tokens_per_minute=1000)}, {}, Clock())
    call = await admitted(shares, 100)
    call.settle(800)
    call.settle(0)
    assert tokens_left(shares) == 200


@pytest.mark.anyio
async def test_a_refused_call_takes_nothing_of_any_limit() -> None:
    clock = Clock()
    shares = OwnShares(
        {of_key("a"): Limit(requests_per_minute=2, tokens_per_minute=100)}, {}, clock
    )
    await admitted(shares, 100)
    for _ in range(5):
        with pytest.raises(CallerLimited, match="2 requests a minute, 100 tokens a minute"):
            await admitted(shares, 50)
    clock.passed += 30
    await admitted(shares, 50)
    assert requests_left(shares) == 1


@pytest.mark.anyio
async def test_whom_the_deployment_refuses_has_taken_nothing_of_its_own_limit() -> None:
    limit = Limit(requests_per_minute=1, tokens_per_minute=1000)
    own = Limit(requests_per_minute=5, tokens_per_minute=1000)
    shares = OwnShares({of_key("a"): own, of_deployment("d"): limit}, {}, Clock())
    await admitted(shares, 10)
    call = Allowance(shares, call_of("a"))
    call.expect(chat(max_tokens=10))
    with pytest.raises(RateLimited) as refused:
        await call.enter("d")
    assert not isinstance(refused.value, CallerLimited)
    assert refused.value.retry_after_s == 60
    call.settle(0)
    assert (requests_left(shares), tokens_left(shares)) == (4, 990)


@pytest.mark.anyio
async def test_a_deployment_that_was_asked_in_vain_gets_its_tokens_back_at_once() -> None:
    limits = {of_deployment(name): Limit(tokens_per_minute=1000) for name in "de"}
    shares = OwnShares({of_key("a"): Limit(requests_per_minute=5)} | limits, {}, Clock())
    call = await admitted(shares, 300, "d", "e")
    assert tokens_left(shares, of_deployment("d")) == 1000
    assert tokens_left(shares, of_deployment("e")) == 700
    assert requests_left(shares) == 4
    call.settle(100)
    assert tokens_left(shares, of_deployment("e")) == 900


def test_a_changed_limit_applies_at_once_to_what_was_used() -> None:
    clock, name = Clock(), of_key("a")
    limit = Limit(requests_per_minute=10, tokens_per_minute=1000, tokens_per_day=5000)
    shares = OwnShares({name: limit}, {}, clock)
    shares.grant(name, 4, 600)
    other = Limit(requests_per_minute=5, tokens_per_minute=2000, tokens_per_day=700)
    shares.change({name: other, of_key("b"): limit}, {name: 9999})
    assert requests_left(shares) == 1
    assert tokens_left(shares) == 100
    shares.change({name: limit}, {name: 9999})
    assert (requests_left(shares), tokens_left(shares)) == (6, 400)
    shares.change({name: Limit(requests_per_minute=10)})
    left = shares.left(name)
    assert left is not None
    assert left.tokens is None
    shares.change({name: limit}, {name: 4990})
    assert tokens_left(shares) == 10


def test_a_call_is_reckoned_by_its_texts_and_its_longest_answer() -> None:
    parts = (TextPart("abcd"), ImagePart("data:image/png;base64,aaaa"))
    assert estimate(ChatRequest(messages=(UserMessage(parts),), max_tokens=7)) == 8
    assert estimate(ChatRequest(messages=(UserMessage("äää"),), max_tokens=7, n=3)) == 2 + 21
    assert estimate(ChatRequest(messages=(UserMessage(""),))) == ANSWER_TOKENS
    assert estimate(CompletionRequest(prompts=("abcde", (1, 2, 3)), max_tokens=10)) == 5 + 20
    assert estimate(EmbeddingsRequest(inputs=("abcd", "abcde"))) == 3
    image = ImageInput(image="data:image/png;base64,aaaa", text="abcd")
    assert estimate(ImageEmbeddingsRequest(inputs=(image,))) == 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0ms"), (0.0165, "17ms"), (1, "1s"), (59.1, "1m0s"), (360, "6m0s"), (7322, "2h2m2s")],
)
def test_times_are_spelled_as_openai_spells_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_reply_tells_the_nearest_limit_of_tokens() -> None:
    limit = Limit(requests_per_minute=60, tokens_per_minute=1000, tokens_per_day=5000)
    shares = OwnShares({of_key("a"): limit}, {of_key("a"): 4900}, Clock())
    shares.grant(of_key("a"), 1, 50)
    assert headers(shares, "a") == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"5000"),
        (b"x-ratelimit-remaining-tokens", b"50"),
        (b"x-ratelimit-reset-tokens", b"23h0m0s"),
    ]
    assert not headers(shares, "b")
