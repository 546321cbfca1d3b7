"""In which order an endpoint's deployments are asked. Pure: chance is given.

Rules of this file:
- Everyone with a weight is in the order once; what has none is only asked if nobody has one,
  and then only the first.
- By weight and by load, those that are ready come before those that rest; a stated order
  stays as it is.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

T = TypeVar("T")
Choose = Literal["weighted", "least-busy", "ordered"]


def order(
    weights: Mapping[T, float],
    choose: Choose,
    chance: Callable[[], float],
    *,
    calls: Callable[[T], int],
    ready: Callable[[T], bool],
) -> tuple[T, ...]:
    """All of them, the first to ask first.

    ``chance`` gives numbers from 0 to below 1; ``calls`` tells how many calls are under way.
    The first of those drawn by weight is each with the probability of its weight, the second
    likewise among the rest, and so on (Efraimidis and Spirakis, 2006).
    """
    taking = {each: weight for each, weight in weights.items() if weight > 0}
    if not taking:
        return tuple(weights)[:1]
    if choose == "ordered" or len(taking) == 1:
        return tuple(taking)
    drawn = {each: -math.log(1.0 - chance()) / weight for each, weight in taking.items()}

    def rank(each: T) -> tuple[bool, float, float]:
        load = (calls(each) + 1) / taking[each] if choose == "least-busy" else 0.0
        return (not ready(each), load, drawn[each])

    return tuple(sorted(taking, key=rank))
