"""The example "Slack agent with shared fallback", from its first request to its last statement."""

from __future__ import annotations

import recipes
import shell
from harness.api import caller, create_grant, list_channels, obo_token, text_of
from harness.server import Server


def test_the_bot_uses_own_credentials_first_and_falls_back_to_the_shared_grant(server: Server) -> None:
    demo = server.demo

    def credentials_used_as(user_id: str) -> str:
        said = text_of(list_channels(caller(server, token=obo_token(server, user_id)), demo)).lower()
        names = [name for name in ("alice", "bob", "carol") if name in said]
        assert len(names) == 1, said
        return names[0]

    personal = shell.run(recipes.ALICE_CREATES_A_PERSONAL_GRANT, server.demo_env_file).json()
    assert (personal["grantor_user_id"], personal["shared"]) == (demo.USER_ID, False)
    refused = list_channels(caller(server, token=obo_token(server, demo.BOB_ID)), demo)
    assert refused.status_code == 401, "a personal grant is nobody else's fallback"

    promoted = shell.run(recipes.ALICE_PROMOTES_HER_GRANT, server.demo_env_file).json()
    assert (promoted["id"], promoted["shared"]) == (personal["id"], True)

    assert credentials_used_as(demo.USER_ID) == "alice"
    assert credentials_used_as(demo.BOB_ID) == "alice"
    assert credentials_used_as(demo.CAROL_ID) == "alice", "until Carol grants her own"
    create_grant(caller(server, api_key=demo.CAROL_API_KEY), demo)
    assert credentials_used_as(demo.CAROL_ID) == "carol"
    assert credentials_used_as(demo.BOB_ID) == "alice", "Carol's personal grant changes nothing for Bob"
