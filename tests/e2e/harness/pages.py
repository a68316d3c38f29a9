"""A web page at two origins: the same server, once as `localhost` and once as `127.0.0.1`."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.browser import Browser

# The page's script: it sends a request, and reads what the browser lets it read.
_PAGE = b"""<!doctype html><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,"><script>
async function ask([url, options]) {
  try {
    const answer = await fetch(url, options);
    const text = await answer.text();
    const header = (name) => answer.headers.get(name);
    return {
      status: answer.status,
      body: text && JSON.parse(text),
      request_id: header("x-request-id"),
      challenge: header("www-authenticate"),
    };
  } catch (error) {
    return { blocked: error.message };
  }
}
</script>"""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(_PAGE)))
        self.end_headers()
        self.wfile.write(_PAGE)

    def log_message(self, *_: Any) -> None:
        pass


class Pages:
    """`with Pages() as pages:` serves the page."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        port = self._server.server_address[1]
        self.origin = f"http://localhost:{port}"
        self.other_origin = f"http://127.0.0.1:{port}"

    def __enter__(self) -> Pages:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def ask(browser: Browser, url: str, **options: Any) -> dict[str, Any]:
    """What the browser's page can read of an answer, or that it was blocked."""
    return browser.call("ask", [url, options])
