"""Cold starts: the time from the start of a process to its first poll and to its first answer, for each function and
for the smallest possible one. Also the size of each package, and the memory in use."""

from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from harness.function import Function, archive
from harness.gateway import Request

from . import functions
from .functions import FIRST, FUNCTIONS, HELLO, HELLO_TABLE, Deployment
from .plan import Plan
from .report import MISSING, Row, milliseconds

TARGET_RATIO = 1.5
TARGET_RESIDENT_MIB = 40
TARGET_ZIPPED_MB = 6
WARM_CALLS = 200


@dataclass
class Starts:
    """The starts of one binary. Times are in ms."""

    first_poll: list[float] = field(default_factory=list)
    first_answer: list[float] = field(default_factory=list)
    cpu_to_first_poll: list[float] = field(default_factory=list)
    cpu_to_first_answer: list[float] = field(default_factory=list)
    resident_mib: list[float] = field(default_factory=list)

    def add(self, function: Function, request: Request) -> None:
        polled = function.api.wait_for_first_poll()
        self.first_poll.append((polled - function.started) * 1000)
        self.cpu_to_first_poll.append(functions.on_cpu_ms(function))
        # The poll waits for this event. The time until then is the benchmark's, not the function's.
        invocation = functions.ask(function, request)
        waited = invocation.handed_out - polled
        self.first_answer.append((invocation.answered - function.started - waited) * 1000)
        self.cpu_to_first_answer.append(functions.on_cpu_ms(function))
        self.resident_mib.append(function.resident_mib())


def measure(server_binary: Path, plan: Plan) -> tuple[list[Row], dict]:
    if why := functions.missing():
        return [Row("Cold start", f"{MISSING}: {why}")], {}
    with functions.deployment(server_binary) as deployment:
        asked = {functions.binary(name): deployment.requests[FIRST[name]] for name in FUNCTIONS}
        hello = Request("GET", "/")
        asked = {HELLO: hello, HELLO_TABLE: hello, **asked}
        # First, since it also warms up what the functions call: Node's first answers are slow, and a start
        # must not include them.
        warm = {name: _warm_mib(deployment, name, request) for name, request in asked.items()}
        starts = {name: Starts() for name in asked}
        # In turn, so that other work of the machine affects all alike. The first round only fills the page
        # cache.
        for turn in range(plan.cold_starts + 1):
            for name, request in asked.items():
                with deployment.start(name) as function:
                    if turn:
                        starts[name].add(function, request)
                    else:
                        functions.ask(function, request)
    zipped = {name: archive(name).stat().st_size / 1e6 for name in asked}
    rows = [row for name in FUNCTIONS for row in _rows(functions.binary(name), starts, warm, zipped)]
    figures = {name: vars(each) | {"warm_mib": warm[name], "zipped_mb": zipped[name]} for name, each in starts.items()}
    return rows, figures


def _warm_mib(deployment: Deployment, name: str, request: Request) -> float:
    with deployment.start(name) as function:
        for _ in range(WARM_CALLS):
            functions.ask(function, request)
        return function.resident_mib()


def _rows(name: str, starts: dict[str, Starts], warm: dict[str, float], zipped: dict[str, float]) -> list[Row]:
    ours, hello, reading = starts[name], starts[HELLO], starts[HELLO_TABLE]
    target = f"≤ {TARGET_RATIO}× hello"
    poll = _ratio(ours.first_poll, hello.first_poll)
    answer = _ratio(ours.first_answer, hello.first_answer)
    cpu = _ratio(ours.cpu_to_first_poll, hello.cpu_to_first_poll)
    like = _ratio(ours.first_answer, reading.first_answer)
    resident, largest = max(median(ours.resident_mib), warm[name]), zipped[name]
    return [
        Row(
            f"{name}: start to first poll",
            _range(ours.first_poll),
            f"hello {_range(hello.first_poll)}, one that opens a table {_range(reading.first_poll)}",
            f"{poll:.2f}× (CPU time: {cpu:.2f}×)",
            target,
            poll <= TARGET_RATIO,
        ),
        Row(
            f"{name}: start to first answer",
            _range(ours.first_answer),
            f"hello {_range(hello.first_answer)}, one that reads a table {_range(reading.first_answer)}",
            f"{answer:.2f}×; {like:.2f}× of the one that reads",
            target,
            answer <= TARGET_RATIO,
        ),
        Row(
            f"{name}: resident at most, first answer / {WARM_CALLS} answers",
            f"{median(ours.resident_mib):.1f} / {warm[name]:.1f} MiB",
            f"hello {median(hello.resident_mib):.1f} / {warm[HELLO]:.1f} MiB",
            target=f"≤ {TARGET_RESIDENT_MIB} MB",
            met=resident * 1.048576 <= TARGET_RESIDENT_MIB,
        ),
        Row(
            f"{name}: zipped",
            f"{largest:.2f} MB",
            f"hello {zipped[HELLO]:.2f} MB",
            target=f"≤ {TARGET_ZIPPED_MB} MB",
            met=largest <= TARGET_ZIPPED_MB,
        ),
    ]


def _ratio(ours: list[float], peers: list[float]) -> float:
    return median(ours) / median(peers)


def _range(values: list[float]) -> str:
    return f"{milliseconds(median(values))} ({min(values):.1f} to {max(values):.1f})"
