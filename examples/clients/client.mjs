// A host in JavaScript: registers a capsule, files a session, asks, and follows (Node 18 or newer).

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";

const base = `${process.env.REGISTRY_URL}/v1/namespaces/default`;
const authorization = `Bearer ${process.env.REGISTRY_TOKEN}`;

async function ask(method, path, body, headers = {}) {
  const answer = await fetch(`${base}${path}`, {
    method,
    headers: { authorization, "content-type": "application/json", ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer;
}

const start = await (await ask("GET", "/anchor")).json();

const manifest = await readFile(process.argv[2], "utf8");
const made = await (await ask("POST", "/capsules", { manifest })).json();
console.log("registered", made.revision);

// Sent again under the same key, as after a lost answer, it is not done again.
const [session, key] = [randomUUID(), { "idempotency-key": randomUUID() }];
for (let time = 0; time < 2; time++) {
  const filed = await (await ask("PUT", `/uuids/${session}`, { capsule_id: "notes" }, key)).json();
  console.log("filed", filed.revision, filed.repeated);
}

const asked = ["index", "other"].map((value) => ({ uuid: session, capability: "kv", value }));
const decided = await (await ask("POST", "/check", asked)).json();
console.log("allowed", ...decided.map((one) => one.allowed));

// From a revision of that very history: nothing is missed, and another history is an error.
async function* follow(after, incarnation) {
  const path = `/watch?after=${after}&incarnation=${incarnation}`;
  const answer = await ask("GET", path, undefined, { accept: "application/x-ndjson" });
  let rest = "";
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    yield* lines.filter((line) => line !== "").map((line) => JSON.parse(line)); // Empty: still there.
  }
}

const seen = [];
for await (const one of follow(start.revision, start.incarnation)) {
  seen.push(one.revision);
  if (seen.length === 2) break;
}
console.log("saw", ...seen);
