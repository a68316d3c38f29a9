"""What the Python suites share: the real binary as a process, its demo.env, and a small client.

`tests/cookbook` and `tests/schemathesis` import it too. Each suite's `conftest.py` puts it on the path.
"""
