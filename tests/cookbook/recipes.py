"""The recipes of `cookbook.txt`, cut out of that text, so that the tests run the text itself.

A recipe is named by its heading, the text that it begins with and the text that it ends with. The copy of the
cookbook has lost two things of the original page: the line break between a sentence and the code after it (so a
recipe can begin in the middle of a line), and Python's indentation (which `complete_example.indented.py` restores,
see `with_indentation_of`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TEXT = (HERE / "cookbook.txt").read_text()

# The only code in the text that the tests leave out. A reader replaces each of these by their own values.
# Here the values come from `demo.env`, under the same names.
PLACEHOLDERS = (
    'export RUNLAYER_URL="https://your-runlayer-instance.com"',
    'export CLIENT_ID="your-client-id"',
    'export CLIENT_SECRET="your-client-secret"',
    'export API_KEY="rl_..." # User API key from Settings -> API Keys',
    'USER_ID="aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"',
    'USER_ACCESS_TOKEN="eyJhbGciOiJSUz..." # WorkOS user JWT',
    'RUNLAYER_URL = "https://your-runlayer-instance.com"',
    'CLIENT_ID = "your-client-id"',
    'CLIENT_SECRET = "your-client-secret"',
    'SERVER_ID = "your-server-id"',
    'user_id = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"',
)


def cut(heading: str, first: str, last: str) -> str:
    """The text from `first` to `last`, both included, where they next occur below the heading."""
    start = TEXT.index(first, TEXT.index(heading))
    end = TEXT.index(last, start + len(first)) + len(last)
    return TEXT[start:end]


def without_placeholders(code: str) -> str:
    return "\n".join(line for line in code.splitlines() if line not in PLACEHOLDERS)


def with_indentation_of(file: Path, code: str) -> str:
    """The code's lines, each with the indentation of the same line in `file`.

    Fails if file and code differ in anything else.
    """
    indented = file.read_text().splitlines()
    lines = code.splitlines()
    if [line.strip() for line in indented] != [line.strip() for line in lines]:
        raise AssertionError(f"{file.name} no longer says what the cookbook says")
    indentations = (re.match(r"\s*", line).group() for line in indented)  # type: ignore[union-attr]
    return "\n".join(space + line for space, line in zip(indentations, lines, strict=True))


M2M_TOKEN = cut("Request an M2M token", "TOKEN_RESPONSE=$(curl", "jq -r '.access_token')")
M2M_TOKEN_PYTHON = cut("Request an M2M token", "import httpx", 'access_token = resp.json()["access_token"]')
CALL_TOOL = cut("Call an MCP tool", "curl -X POST", "}'")

LIST_DELEGATIONS_BY_JWT = cut(
    "Obtain the Runlayer user UUID",
    "# List delegations",
    "jq '.[] | {user_id: .delegator_user_id, email: .delegator_email}'",
)
LIST_DELEGATIONS_BY_API_KEY = cut(
    "Obtain the Runlayer user UUID",
    "# Or using an API key:",
    "jq '.[] | {user_id: .delegator_user_id, email: .delegator_email}'",
)
OBO_TOKEN_BY_USER_ID = cut("Request an OBO token", "TOKEN_RESPONSE=$(curl", "jq -r '.access_token')")
OBO_TOKEN_BY_USER_ID_PYTHON = cut(
    "Request an OBO token", "resp = httpx.post(", 'obo_token = resp.json()["access_token"]'
)
CALL_TOOL_ON_BEHALF = cut("Call MCP tools on behalf of the user", "curl -X POST", "}'")

OBO_TOKEN_BY_ACCESS_TOKEN = cut("Single-request flow", "TOKEN_RESPONSE=$(curl", "jq -r '.access_token')")
OBO_TOKEN_IN_TWO_STEPS = cut("Two-step flow (RFC 8693)", "# Step 1:", "jq -r '.access_token')")

FIND_USER_ID_PYTHON = cut(
    "Option B: Query the Delegations API\nFetch",
    "# Authenticate with",
    'if d["delegator_email"] == target_email\n)',
)

CREATE_GRANT_BY_JWT = cut("Create a personal session grant", "# With user JWT:", "| jq .")
CREATE_GRANT_BY_API_KEY = cut("Create a personal session grant", "# Or with API key:", "| jq .")
LIST_GRANTS = cut("List session grants", "# Returns your own grants", "| jq .")
LIST_GRANTS_OF_SERVER = cut("List session grants", "# Filter by server", "| jq .")
TOGGLE_GRANT = cut("Toggle shared / personal", "curl -s -X POST", "| jq .")
REVOKE_GRANT = cut("Revoke a session grant", "curl -s -X DELETE", "| jq .")

ALICE_CREATES_A_PERSONAL_GRANT = cut(
    "Alice creates a personal grant", "curl -s -X POST", '"shared": false }\''
)
ALICE_PROMOTES_HER_GRANT = cut("Alice promotes her grant to shared", "curl -s -X POST", "'\" }'")

COMPLETE_EXAMPLE_PYTHON = with_indentation_of(
    HERE / "complete_example.indented.py", cut("Complete Python Example", "import httpx", "print(result)")
)

ALL: dict[str, str] = {
    name: value
    for name, value in list(globals().items())
    if name.isupper() and isinstance(value, str) and name != "TEXT"
}


@dataclass(frozen=True)
class Trouble:
    """A row of the troubleshooting table: the status and the text in the cookbook."""

    error: str

    @property
    def status(self) -> int:
        return int(self.error.split(" ", 1)[0])

    @property
    def text(self) -> str:
        return self.error.split(" ", 1)[1]


def troubleshooting_table() -> list[Trouble]:
    rows = TEXT[TEXT.index("| Error | Cause | Fix |") :].splitlines()
    return [Trouble(row.split(" | ")[0]) for row in rows if re.match(r"\d{3} ", row)]
