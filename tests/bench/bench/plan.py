"""How much is measured: the whole benchmark, or a quick look whether it works."""

from dataclasses import dataclass

FEW, MANY = 1_000, 1_000_000


@dataclass
class Plan:
    repetitions: int
    warm_up_seconds: int
    token_seconds: int
    call_seconds: int
    counted_requests: int
    scale: bool


FULL = Plan(5, 3, 5, 4, 50, True)
QUICK = Plan(2, 1, 2, 1, 10, False)
