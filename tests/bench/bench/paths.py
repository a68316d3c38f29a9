"""Paths of the repository."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
OUTPUT = TARGET / "bench"

SERVER = TARGET / "release" / "deputize"
FLOOR = TARGET / "release" / "examples" / "floor"
TABLE = TARGET / "release" / "examples" / "dynamodb"

NODE = HERE / "node_modules" / "node" / "bin" / "node"
PYTHON = HERE / ".venv" / "bin" / "python"
PEERS = HERE / "peers"
