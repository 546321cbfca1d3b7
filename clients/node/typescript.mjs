// The TypeScript client of this repository: is it current, does it compile, do its tests pass?
import { spawnSync } from "node:child_process";
import { run } from "node:test";

import { runAll, test } from "./cases.mjs";

const BIN = "node_modules/.bin";
// What a test is about, by the first of these that is in its name; else a chat.
const ABOUT = [
  [/refus|error|wrong|breaks off|given up/, "errors"],
  [/stream/, "stream"],
  [/continued/, "completions"],
  [/vectors/, "embeddings"],
  [/model is named/, "info"],
  [/dropped/, "extras"],
];

function succeeds(program, ...words) {
  const done = spawnSync(program, words, { encoding: "utf-8" });
  if (done.status !== 0) throw new Error(done.stdout + done.stderr);
}

test("types", "its types are those of the OpenAPI document", () => {
  const options = ["--empty-objects-unknown", "--output", "src/schema.ts", "--check"];
  succeeds(`${BIN}/openapi-typescript`, process.env.DOCUMENT, ...options);
});

test("types", "it compiles, and what must not compile doesn't", () => {
  succeeds(`${BIN}/tsc`);
  succeeds(`${BIN}/tsc`, "--project", "test");
});

/** The package's own tests, each as a case. */
async function runTests() {
  for await (const { type, data } of run({ files: ["test/client.test.js"] })) {
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (!data.name.includes(process.env.ONLY ?? "")) continue;
    const error = data.details.error?.cause ?? data.details.error;
    const outcome = {
      operation: ABOUT.find(([words]) => words.test(data.name))?.[1] ?? "chat",
      case: data.name,
      ok: type === "test:pass",
      why: String(error?.message ?? error ?? "").slice(0, 1500),
      seconds: data.details.duration_ms / 1000,
    };
    console.log(JSON.stringify(outcome));
  }
}

await runAll();
await runTests();
