// @azure-rest/ai-inference as published: every route, streams, tools, errors.
import assert from "node:assert/strict";
import ModelClient, { isUnexpected } from "@azure-rest/ai-inference";
import { AzureKeyCredential } from "@azure/core-auth";
import { createSseStream } from "@azure/core-sse";
import { key, runAll, test, url } from "./cases.mjs";

const options = { allowInsecureConnection: true };
const ask = [
  { role: "system", content: "You answer briefly." },
  { role: "user", content: "Name the capital of France." },
];
const city = {
  type: "object",
  properties: { city: { type: "string" }, unit: { type: "string", enum: ["c", "f"] } },
  required: ["city", "unit"],
  additionalProperties: false,
};
const weather = {
  type: "function",
  function: { name: "get_weather", description: "Get the weather of a city", parameters: city },
};
const pixel =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

const client = (base = "", given = key) =>
  ModelClient(url + base, new AzureKeyCredential(given), options);

const post = (path, body, { base, headers, given } = {}) =>
  client(base, given).path(path).post({ body, headers });

/** The body of a reply that must be a good one. */
function good(response) {
  if (isUnexpected(response)) throw new Error(`${response.status} ${JSON.stringify(response.body)}`);
  assert.equal(response.status, "200");
  return response.body;
}

/** The events of a streamed chat, and their chunks, by the library's own parser. */
async function streamed(body, base = "") {
  const response = await client(base)
    .path("/chat/completions")
    .post({ body: { ...body, stream: true } })
    .asNodeStream();
  assert.equal(response.status, "200");
  const events = [];
  for await (const event of createSseStream(response.body)) events.push(event.data);
  assert.equal(events.pop(), "[DONE]");
  return events.map((event) => JSON.parse(event));
}

for (const base of ["", "/models", "/inference", "/openai/deployments/smollm2"]) {
  test("chat", `chat at ${base || "/"}`, async () => {
    const body = { messages: ask, max_tokens: 32, temperature: 0 };
    const answer = good(await post("/chat/completions", body, { base }));
    assert.match(answer.choices[0].message.content, /Paris/);
    assert.equal(answer.object, "chat.completion");
    const { prompt_tokens, completion_tokens, total_tokens } = answer.usage;
    assert.equal(prompt_tokens + completion_tokens, total_tokens);
  });
}

test("stream", "a stream read with createSseStream", async () => {
  const body = { messages: ask, max_tokens: 32, temperature: 0 };
  const whole = good(await post("/chat/completions", body));
  const chunks = await streamed(body);
  const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
  assert.equal(text, whole.choices[0].message.content);
  assert.ok(chunks.length > 3);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  const last = chunks.at(-1);
  assert.equal(last.usage.completion_tokens, whole.usage.completion_tokens);
  assert.equal(last.choices[0].finish_reason, whole.choices[0].finish_reason);
});

test("stream", "a stream of the Azure OpenAI path has no usage unasked", async () => {
  const chunks = await streamed({ messages: ask, max_tokens: 8 }, "/openai/deployments/smollm2");
  assert.ok(chunks.every((chunk) => !chunk.usage));
});

test("stream", "a stream that is refused is an error with its status", async () => {
  const response = await client()
    .path("/chat/completions")
    .post({ body: { messages: ask, stream: true, safe_mode: true } })
    .asNodeStream();
  assert.equal(response.status, "400");
});

test("tools", "a forced tool, its result given back", async () => {
  const question = { role: "user", content: "What is the weather in Paris, in celsius?" };
  const named = { type: "function", function: { name: "get_weather" } };
  for (const tool_choice of ["required", named]) {
    const body = { messages: [question], tools: [weather], tool_choice, max_tokens: 200 };
    const [choice] = good(await post("/chat/completions", { ...body, temperature: 0 })).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    const [call] = choice.message.tool_calls;
    assert.equal(call.function.name, "get_weather");
    assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ["city", "unit"]);
    const told = { role: "tool", tool_call_id: call.id, content: "Sunny, 31 degrees" };
    const messages = [question, { role: "assistant", tool_calls: [call] }, told];
    const after = good(
      await post("/chat/completions", {
        messages,
        tools: [weather],
        tool_choice: "none",
        max_tokens: 30,
      }),
    );
    assert.ok(after.choices[0].message.content);
  }
});

test("tools", "a tool call in a stream", async () => {
  const chunks = await streamed({
    messages: [{ role: "user", content: "What is the weather in Paris?" }],
    tools: [weather],
    tool_choice: "required",
    max_tokens: 200,
    temperature: 0,
  });
  const parts = chunks.flatMap((chunk) => chunk.choices[0].delta.tool_calls ?? []);
  assert.ok(parts.every((part) => part.index === 0));
  assert.equal(parts[0].function.name, "get_weather");
  const written = parts.map((part) => part.function.arguments ?? "").join("");
  assert.deepEqual(Object.keys(JSON.parse(written)).sort(), ["city", "unit"]);
  assert.equal(chunks.at(-1).choices[0].finish_reason, "tool_calls");
});

test("structured", "a JSON schema binds the answer", async () => {
  const response_format = {
    type: "json_schema",
    json_schema: { name: "place", strict: true, schema: city },
  };
  const body = { messages: ask, response_format, max_tokens: 100, temperature: 0 };
  const answer = good(await post("/chat/completions", body));
  const value = JSON.parse(answer.choices[0].message.content);
  assert.deepEqual(Object.keys(value).sort(), ["city", "unit"]);
});

test("structured", "a JSON object", async () => {
  const messages = [{ role: "user", content: 'Answer with {"city": "Paris"} and nothing else.' }];
  const response_format = { type: "json_object" };
  const body = { messages, response_format, max_tokens: 200, temperature: 0 };
  const [choice] = good(await post("/chat/completions", body)).choices;
  assert.ok(choice.message.content.trimStart().startsWith("{"));
  if (choice.finish_reason === "stop") JSON.parse(choice.message.content);
});

test("extras", "an extra parameter follows the header", async () => {
  const body = { messages: ask, max_tokens: 4, safe_mode: true };
  const refused = await post("/chat/completions", body);
  assert.ok(isUnexpected(refused));
  assert.equal(refused.status, "400");
  assert.match(refused.body.error.message, /Extra parameters \['safe_mode'\] are not allowed/);
  const headers = { "extra-parameters": "drop" };
  const dropped = await post("/chat/completions", body, { headers });
  good(dropped);
  assert.equal(dropped.headers["x-interlingua-changes"], 'dropped=("safe_mode")');
  const passed = { "extra-parameters": "pass-through" };
  const two = await post("/chat/completions", { messages: ask, max_tokens: 2, n: 2 }, { headers: passed });
  assert.equal(good(two).choices.length, 2);
});

test("embeddings", "text embeddings, as floats and as base64", async () => {
  const input = ["first phrase", "second phrase"];
  const floats = good(await post("/embeddings", { input }, { base: "/endpoints/minilm" }));
  assert.deepEqual(floats.data.map((item) => item.embedding.length), [384, 384]);
  const packed = good(
    await post("/embeddings", { input, model: "minilm", encoding_format: "base64" }),
  );
  const bytes = Buffer.from(packed.data[0].embedding, "base64");
  assert.equal(bytes.length, 4 * 384);
  assert.ok(Math.abs(bytes.readFloatLE(0) - floats.data[0].embedding[0]) < 1e-3);
  assert.equal(floats.usage.prompt_tokens, floats.usage.total_tokens);
});

test("images", "image embeddings", async () => {
  const input = [{ image: pixel }];
  const answer = good(await post("/images/embeddings", { input, model: "efficientnet" }));
  assert.equal(answer.data[0].embedding.length, 1280);
});

test("info", "model info, where the service has it", async () => {
  for (const base of ["", "/models"]) {
    const info = good(await client(base).path("/info").get());
    assert.equal(info.model_type, "chat-completion");
    assert.equal(info.model_name, "smollm2");
  }
  const none = await client("/openai/deployments/smollm2").path("/info").get();
  assert.ok(isUnexpected(none));
  assert.equal(none.status, "404");
});

test("errors", "errors through isUnexpected", async () => {
  const cases = [
    [{ given: "wrong-key" }, { messages: ask }, "401", /auth token validation failed/i],
    [{}, { messages: ask, model: "nothing" }, "400", /nothing/],
    [{}, { messages: ask, temperature: 9 }, "422", /temperature/],
    [{}, { messages: [] }, "422", /messages/],
    [{ base: "/endpoints/minilm" }, { messages: ask }, "404", /chat/],
    [{ base: "/endpoints/nowhere" }, { messages: ask }, "404", /nowhere/],
  ];
  for (const [how, body, status, message] of cases) {
    const response = await post("/chat/completions", body, how);
    assert.ok(isUnexpected(response), status);
    assert.equal(response.status, status);
    assert.match(JSON.stringify(response.body), message);
    assert.equal(typeof response.body.error.code, "string");
    assert.ok(response.headers["x-ms-error-code"]);
    assert.equal(response.headers["retry-after"], undefined);
  }
});

await runAll();
