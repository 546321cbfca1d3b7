"""When a failed engine may start again."""

from interlingua.backends.engines.restarts import Restarts


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_the_first_start_does_not_wait():
    restarts = Restarts(Clock())
    assert restarts.wait_s == 0
    assert not restarts.is_open


def test_each_failure_in_a_minute_doubles_the_wait():
    clock = Clock()
    restarts = Restarts(clock)
    restarts.failed()
    assert restarts.wait_s == 0.5
    clock.time += 1
    assert restarts.wait_s == 0
    restarts.failed()
    assert restarts.wait_s == 1.0


def test_three_failures_in_a_minute_open_the_circuit_for_half_a_minute():
    clock = Clock()
    restarts = Restarts(clock)
    for _ in range(3):
        restarts.failed()
        clock.time += 10
    assert restarts.is_open
    assert restarts.wait_s == 20
    clock.time += 20
    assert not restarts.is_open


def test_a_failed_probe_opens_it_again_at_once():
    clock = Clock()
    restarts = Restarts(clock)
    for _ in range(3):
        restarts.failed()
    clock.time += 90
    assert not restarts.is_open
    restarts.failed()
    assert restarts.is_open


def test_an_engine_that_comes_up_closes_it():
    clock = Clock()
    restarts = Restarts(clock)
    for _ in range(3):
        restarts.failed()
    clock.time += 30
    restarts.succeeded()
    clock.time += 60
    restarts.failed()
    assert not restarts.is_open
    assert restarts.wait_s == 0.5


def test_failures_more_than_a_minute_apart_never_open_it():
    clock = Clock()
    restarts = Restarts(clock)
    for _ in range(5):
        restarts.failed()
        clock.time += 61
        assert not restarts.is_open
        assert restarts.wait_s == 0


def test_the_wait_is_never_longer_than_half_a_minute():
    clock = Clock()
    restarts = Restarts(clock)
    for _ in range(16):
        restarts.failed()
    assert restarts.wait_s == 30
