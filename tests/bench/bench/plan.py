"""How much is measured: the whole benchmark, or a quick check that it works."""

from dataclasses import dataclass

FEW, MANY = 1_000, 1_000_000


@dataclass
class Plan:
    repetitions: int
    warm_up_seconds: int
    token_seconds: int
    call_seconds: int
    counted_requests: int
    first_bytes: int
    cold_starts: int
    warm_invocations: int
    first_calls: int
    client_calls: int


FULL = Plan(
    repetitions=5,
    warm_up_seconds=3,
    token_seconds=5,
    call_seconds=3,
    counted_requests=50,
    first_bytes=500,
    cold_starts=30,
    warm_invocations=500,
    first_calls=20,
    client_calls=1000,
)
QUICK = Plan(
    repetitions=2,
    warm_up_seconds=1,
    token_seconds=2,
    call_seconds=1,
    counted_requests=10,
    first_bytes=20,
    cold_starts=3,
    warm_invocations=20,
    first_calls=3,
    client_calls=100,
)
