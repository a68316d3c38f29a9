"""Serves moto's DynamoDB, one request at a time: `serve.py PORT`.

`moto_server` answers each request in a thread of its own, and its transactions are not isolated from each other: a
transaction first copies all tables of its region, and one that fails puts the copy back, with it whatever others have
written meanwhile (`moto/dynamodb/models/__init__.py`, `transact_write_items`). DynamoDB's are serializable. One request
after the other is, too.
"""

from __future__ import annotations

import logging
import os
import sys

os.environ.setdefault("MOTO_ALLOW_NONEXISTENT_REGION", "true")

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
application = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", int(sys.argv[1]), application, threaded=False)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
