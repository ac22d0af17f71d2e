"""An empty FastAPI endpoint, on the server that serves the registry: what there is to lose."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI

from capsule_registry.service.server import configured, listen
from capsule_registry.service.settings import Settings

app = FastAPI()


@app.post("/check")
async def check() -> dict[str, str]:
    """Return nothing."""
    return {}


def main() -> None:
    """Serve until a signal ends it."""
    listener = listen("127.0.0.1", 0)
    config = configured(Settings("sqlite://"))
    config.app, config.factory, config.lifespan = app, False, "off"
    print(f"serving at http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
