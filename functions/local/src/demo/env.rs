//! `demo.env`: the cookbook's variables, to be sourced by a shell.

use std::io;

use super::{issuer::DemoIssuer, organization::Organization};
use crate::data_dir::DataDir;

pub(super) fn write(
    data: &DataDir,
    base_url: &str,
    issuer: &DemoIssuer,
    organization: &Organization,
) -> io::Result<()> {
    let Organization { agent_account_id, client_secret, alice, bob, carol, staff } = organization;
    let agent = agent_account_id.to_string();
    let alice_token = issuer.user_token(&alice.email)?;
    let (alice_id, bob_id, carol_id) = (alice.id.to_string(), bob.id.to_string(), carol.id.to_string());
    let variables: [(&str, &str); 20] = [
        ("RUNLAYER_URL", base_url),
        ("CLIENT_ID", &agent),
        ("CLIENT_SECRET", client_secret),
        ("AGENT_ACCOUNT_ID", &agent),
        ("AGENT_ID", &agent),
        ("SERVER_ID", "demo"),
        ("SLACK_SERVER_ID", "demo-oauth"),
        ("USER_ID", &alice_id),
        ("API_KEY", &alice.api_key),
        ("ALICE_API_KEY", &alice.api_key),
        ("USER_TOKEN", &alice_token),
        ("ADMIN_TOKEN", &alice_token),
        ("USER_ACCESS_TOKEN", &alice_token),
        ("BOB_ID", &bob_id),
        ("BOB_API_KEY", &bob.api_key),
        ("CAROL_ID", &carol_id),
        ("CAROL_API_KEY", &carol.api_key),
        ("DEMO_ISSUER", issuer.url()),
        ("DEMO_PASSWORD", issuer.password()),
        ("DEMO_EMAIL", &alice.email),
    ];
    let staff = staff.iter().flat_map(|staff| {
        [
            ("ERIN_ID", staff.erin.id.to_string()),
            ("ERIN_API_KEY", staff.erin.api_key.clone()),
            ("FRANK_ID", staff.frank.id.to_string()),
            ("FRANK_API_KEY", staff.frank.api_key.clone()),
        ]
    });
    let staff: Vec<(&str, String)> = staff.collect();
    let staff = staff.iter().map(|(name, value)| (*name, value.as_str()));
    let mut text = String::from("# The demo organization. Renewed at each start; keep it to yourself.\n");
    for (name, value) in variables.into_iter().chain(staff) {
        // No value can contain a quote: they are ids, addresses, and base64url.
        text.extend(["export ", name, "='", value, "'\n"]);
    }
    data.write("demo.env", text.as_bytes())
}
