"""Whom an endpoint asks first: pure, chance is the test's."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.gateway.choice import Choose, order

CHOICES: list[Choose] = ["weighted", "least-busy", "ordered"]
_WEIGHTS = st.dictionaries(
    st.sampled_from("abcdef"), st.one_of(st.just(0.0), st.floats(0.001, 1e6)), min_size=1
)


def choose(
    weights: dict[str, float],
    how: Choose,
    chance: random.Random,
    calls: dict[str, int] | None = None,
    resting: str = "",
) -> tuple[str, ...]:
    return order(
        weights,
        how,
        chance.random,
        calls=lambda each: (calls or {}).get(each, 0),
        ready=lambda each: each not in resting,
    )


@given(_WEIGHTS, st.sampled_from(CHOICES), st.randoms(use_true_random=False), st.text("abcdef"))
def test_everyone_with_a_weight_is_asked_once(
    weights: dict[str, float], how: Choose, chance: random.Random, resting: str
) -> None:
    chain = choose(weights, how, chance, resting=resting)
    taking = {each for each, weight in weights.items() if weight}
    assert sorted(chain) == (sorted(taking) or [next(iter(weights))])


@given(_WEIGHTS, st.sampled_from(CHOICES[:2]), st.randoms(use_true_random=False))
def test_those_that_rest_come_last_unless_the_order_is_stated(
    weights: dict[str, float], how: Choose, chance: random.Random
) -> None:
    rests = ["ace".count(each) for each in choose(weights, how, chance, resting="ace")]
    assert rests == sorted(rests)


@given(_WEIGHTS, st.randoms(use_true_random=False), st.text("abcdef"))
def test_a_stated_order_stays(
    weights: dict[str, float], chance: random.Random, resting: str
) -> None:
    taking = [each for each, weight in weights.items() if weight]
    if taking:
        assert list(choose(weights, "ordered", chance, resting=resting)) == taking


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.just(1.0), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 100)),
    st.randoms(use_true_random=False),
)
def test_the_least_busy_comes_first(
    weights: dict[str, float], calls: dict[str, int], chance: random.Random
) -> None:
    chain = choose(weights, "least-busy", chance, calls)
    busy = [calls.get(each, 0) for each in chain]
    assert busy == sorted(busy)


@pytest.mark.parametrize("how", ["weighted", "least-busy"])
def test_weights_hold_over_many_calls(how: Choose) -> None:
    weights, chance, calls = {"a": 70.0, "b": 20.0, "c": 10.0}, random.Random(7), Counter[str]()
    for _ in range(4000):
        # Nobody's call ends, so the least busy by weight follows the weights as well.
        calls[choose(weights, how, chance, dict(calls))[0]] += 1
    for name, weight in weights.items():
        assert calls[name] / 4000 == pytest.approx(weight / 100, abs=0.02)


def test_who_stands_in_is_drawn_by_weight_too() -> None:
    chance, seconds = random.Random(7), Counter[str]()
    for _ in range(4000):
        first, second, _ = choose({"a": 1000.0, "b": 3.0, "c": 1.0}, "weighted", chance)
        if first == "a":
            seconds[second] += 1
    assert seconds["b"] / seconds.total() == pytest.approx(0.75, abs=0.03)


def test_equals_share_what_is_least_busy() -> None:
    chance = random.Random(7)
    firsts = Counter(choose({"a": 1, "b": 1}, "least-busy", chance)[0] for _ in range(1000))
    assert firsts["a"] == pytest.approx(500, abs=60)
