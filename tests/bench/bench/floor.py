"""The least that a token can cost: one signature, one hash of the secret and one read."""

import json
import subprocess

from .cores import SERVER_CORE, pinned
from .load import Measured
from .paths import FLOOR
from .report import MISSING, Row

WHAT = "Floor of a token: signature + hash + one read, no HTTP"


def measure(m2m: Measured | None) -> tuple[list[Row], dict | None]:
    if not FLOOR.exists():
        return [Row(WHAT, f"{MISSING}: `cargo build --release -p deputize-local --example floor`")], None
    done = subprocess.run(pinned(SERVER_CORE, [FLOOR]), capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        return [Row(WHAT, f"{MISSING}: it failed: {done.stderr.strip()[-200:]}")], None
    floor = json.loads(done.stdout)
    parts = [floor["sign_us"], floor["hash_us"], floor["read_us"]]
    per_second = 1e6 / sum(parts)
    shown = " + ".join(f"{part:.1f}" for part in parts)
    row = Row(WHAT, f"{shown} = {sum(parts):.1f} µs, so {per_second:,.0f}/s on one core")
    if m2m:
        ours = m2m.median("per_second")
        row.beside = f"an M2M token costs {1e6 / ours:.0f} µs"
        row.ratio = f"{ours / per_second:.0%} of the floor's rate"
    return [row], floor
