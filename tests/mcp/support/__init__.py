"""What the tests of the MCP endpoint share: real servers behind it, an organization that may use them, real clients
in front of it, and a plain HTTP client for requests that no real client sends."""
