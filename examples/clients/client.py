"""A host in Python: registers a capsule, files a session, asks, and follows (needs httpx)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from uuid import uuid4

import httpx


def main(manifest: str) -> None:
    registry = httpx.Client(
        base_url=f"{os.environ['REGISTRY_URL']}/v1/namespaces/default",
        headers={"Authorization": f"Bearer {os.environ['REGISTRY_TOKEN']}"},
        timeout=30,
    )
    start = registry.get("/anchor").raise_for_status().json()

    body = {"manifest": Path(manifest).read_text()}
    made = registry.post("/capsules", json=body).raise_for_status().json()
    print("registered", made["revision"])

    # Sent again under the same key, as after a lost answer, it is not done again.
    session, key = str(uuid4()), {"Idempotency-Key": str(uuid4())}
    for _ in range(2):
        filed = registry.put(f"/uuids/{session}", json={"capsule_id": "notes"}, headers=key)
        answer = filed.raise_for_status().json()
        print("filed", answer["revision"], str(answer["repeated"]).lower())

    asked = [{"uuid": session, "capability": "kv", "value": value} for value in ("index", "other")]
    decided = registry.post("/check", json=asked).raise_for_status().json()
    print("allowed", *(str(one["allowed"]).lower() for one in decided))

    # From a revision of that very history: nothing is missed, and another history is an error.
    position = {"after": start["revision"], "incarnation": start["incarnation"]}
    lines = {"Accept": "application/x-ndjson"}
    seen: list[int] = []
    with registry.stream("GET", "/watch", params=position, headers=lines) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if line:  # An empty one is a sign of life.
                seen.append(json.loads(line)["revision"])
            if len(seen) == 2:
                break
    print("saw", *seen)


main(sys.argv[1])
