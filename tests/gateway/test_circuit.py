"""When a deployment is asked, left alone and tried again: pure, the clock is the test's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlingua.errors import (
    ApiError,
    DeadlineExceeded,
    InternalError,
    InvalidValue,
    QueueFull,
    RateLimited,
    Unavailable,
    UpstreamError,
)
from interlingua.gateway.circuit import (
    FAILURES,
    FIRST_OPEN_S,
    LONGEST_OPEN_S,
    LONGEST_REST_S,
    Circuit,
    RetryBudget,
)

THEIRS = [Unavailable("down"), UpstreamError("nonsense"), DeadlineExceeded("silent")]
NEUTRAL = [QueueFull("full"), InternalError("a defect here")]


class Subject(Circuit):
    """A circuit whose time the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__("far", lambda: self.now)


def fail(circuit: Circuit, times: int = 1, error: ApiError = THEIRS[1]) -> None:
    for _ in range(times):
        circuit.failed(error, trial=circuit.enter())


def opened() -> Subject:
    circuit = Subject()
    fail(circuit, FAILURES)
    return circuit


@pytest.mark.parametrize("error", THEIRS)
def test_failures_in_a_row_open_the_circuit(error: ApiError) -> None:
    circuit = Subject()
    fail(circuit, FAILURES - 1, error)
    assert circuit.state == "closed"
    fail(circuit, 1, error)
    assert circuit.state == "open"
    with pytest.raises(Unavailable, match=rf"'far' failed.*{error.message}") as caught:
        circuit.enter()
    assert caught.value.retry_after_s == FIRST_OPEN_S


@pytest.mark.parametrize("between", [None, InvalidValue("the caller's"), RateLimited("slow down")])
def test_an_answer_between_failures_starts_the_count_anew(between: ApiError | None) -> None:
    circuit = Subject()
    for _ in range(3):
        fail(circuit, FAILURES - 1)
        if between is None:
            circuit.answered(trial=circuit.enter())
        else:
            fail(circuit, 1, between)
        circuit.now += 2
    assert circuit.state == "closed"


@pytest.mark.parametrize("error", NEUTRAL)
def test_what_is_not_the_deployments_fault_says_nothing(error: ApiError) -> None:
    circuit = Subject()
    fail(circuit, FAILURES - 1)
    fail(circuit, 50, error)
    assert circuit.state == "closed"
    fail(circuit)
    assert circuit.state == "open"


def test_one_call_tries_and_its_answer_closes_the_circuit() -> None:
    circuit = opened()
    circuit.now = FIRST_OPEN_S
    assert circuit.state == "half-open"
    trial = circuit.enter()
    assert trial
    with pytest.raises(Unavailable):
        circuit.enter()
    circuit.answered(trial=trial)
    assert circuit.state == "closed"
    assert not circuit.enter()


def test_a_trial_that_fails_opens_it_for_twice_as_long_up_to_a_limit() -> None:
    circuit, waits = opened(), []
    for _ in range(30):
        with pytest.raises(Unavailable) as caught:
            circuit.enter()
        waits.append(caught.value.retry_after_s or 0)
        circuit.now += waits[-1]
        fail(circuit)
    assert waits[:4] == [FIRST_OPEN_S, 2 * FIRST_OPEN_S, 4 * FIRST_OPEN_S, 8 * FIRST_OPEN_S]
    assert set(waits[4:]) == {LONGEST_OPEN_S}


def test_a_trial_whose_caller_leaves_lets_the_next_one_try() -> None:
    circuit = opened()
    circuit.now = FIRST_OPEN_S
    circuit.undecided(trial=circuit.enter())
    assert circuit.state == "half-open"
    assert circuit.enter()


def test_calls_from_before_the_opening_change_nothing() -> None:
    circuit = opened()
    circuit.now = 1
    circuit.failed(THEIRS[0], trial=False)
    circuit.answered(trial=False)
    circuit.undecided(trial=False)
    assert circuit.state == "open"
    circuit.now = FIRST_OPEN_S
    assert circuit.state == "half-open"


@pytest.mark.parametrize(("asked", "rests"), [(7, 7), (3600, LONGEST_REST_S), (1, 1)])
def test_a_429_rests_for_as_long_as_it_says(asked: int, rests: float) -> None:
    circuit = Subject()
    fail(circuit, 1, RateLimited("Slow down", retry_after_s=asked))
    assert circuit.state == "cooling"
    with pytest.raises(RateLimited, match="Slow down") as caught:
        circuit.enter()
    assert caught.value.retry_after_s == rests
    circuit.now = rests
    assert circuit.state == "closed"


def test_a_503_that_says_when_rests_as_well() -> None:
    circuit = Subject()
    fail(circuit, 1, Unavailable("Overloaded", retry_after_s=9))
    circuit.now = 8
    with pytest.raises(Unavailable, match="Overloaded"):
        circuit.enter()
    circuit.now = 9
    assert circuit.state == "closed"
    fail(circuit, 1, Unavailable("Overloaded"))
    assert circuit.state == "closed"


_STEPS = st.lists(
    st.tuples(
        st.floats(0, 30),
        st.sampled_from(["begin", "answer", "leave", *THEIRS, *NEUTRAL, RateLimited("slow")]),
    ),
    max_size=200,
)


@given(_STEPS)
def test_whatever_happens_one_call_tries_at_a_time_and_rest_ends(
    steps: list[tuple[float, str | ApiError]],
) -> None:
    circuit = Subject()
    under_way: list[bool] = []
    for wait, step in steps:
        circuit.now += wait
        admitted, state = circuit.admits, circuit.state
        assert not (state in {"open", "cooling"} and admitted)
        if step == "begin":
            if admitted:
                under_way.append(circuit.enter())
            else:
                with pytest.raises((Unavailable, RateLimited)) as caught:
                    circuit.enter()
                assert 1 <= (caught.value.retry_after_s or 0) <= LONGEST_REST_S
        elif under_way:
            end(circuit, step, trial=under_way.pop(0))
        assert sum(under_way) <= 1
    for trial in under_way:
        circuit.undecided(trial=trial)
    circuit.now += max(LONGEST_OPEN_S, LONGEST_REST_S)
    assert circuit.admits


def end(circuit: Circuit, step: str | ApiError, *, trial: bool) -> None:
    if isinstance(step, ApiError):
        circuit.failed(step, trial=trial)
    elif step == "answer":
        circuit.answered(trial=trial)
    else:
        circuit.undecided(trial=trial)


@given(st.lists(st.one_of(st.integers(0, 500), st.none()), max_size=200))
def test_retries_are_a_fifth_of_the_calls_under_way_or_one(steps: list[int | None]) -> None:
    budget, under_way = RetryBudget(), 0
    for calls in steps:
        if calls is None:
            if under_way:
                budget.give()
                under_way -= 1
            continue
        allowed = under_way < max(1, calls // 5)
        assert budget.take(calls) == allowed
        under_way += allowed
    assert budget.spent <= sum(calls is not None for calls in steps)
