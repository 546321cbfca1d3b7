// The openai package for Node as published, in its Azure and v1 modes.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import OpenAI, { AzureOpenAI } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { key, runAll, test, url } from "./cases.mjs";

const messages = [{ role: "user", content: "Name the capital of France." }];
const short = { model: "smollm2", messages, max_tokens: 24, temperature: 0 };
const Capital = z.object({ capital: z.enum(["Paris", "Rome"]), sure: z.boolean() });
const add = {
  type: "function",
  function: {
    name: "add",
    parameters: { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
  },
};
const clients = {
  "/v1": (given = key) => new OpenAI({ baseURL: `${url}/v1`, apiKey: given }),
  "/openai/v1": (given = key) => new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: given }),
  AzureOpenAI: (given = key) =>
    new AzureOpenAI({ endpoint: url, apiKey: given, apiVersion: "2024-10-21" }),
};

for (const [mode, make] of Object.entries(clients)) {
  const client = make();

  test("chat", `chat, ${mode}`, async () => {
    const answer = await client.chat.completions.create(short);
    assert.match(answer.choices[0].message.content, /Paris/);
    assert.ok(answer.id.startsWith("chatcmpl-"));
    assert.ok(answer._request_id);
  });

  test("stream", `a stream with and without include_usage, ${mode}`, async () => {
    const whole = await client.chat.completions.create(short);
    let text = "";
    for await (const chunk of await client.chat.completions.create({ ...short, stream: true })) {
      text += chunk.choices[0].delta.content ?? "";
      assert.ok(!chunk.usage);
    }
    assert.equal(text, whole.choices[0].message.content);
    const chunks = [];
    const stream_options = { include_usage: true };
    const asked = { ...short, stream: true, stream_options };
    for await (const chunk of await client.chat.completions.create(asked)) chunks.push(chunk);
    const last = chunks.pop();
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.completion_tokens, whole.usage.completion_tokens);
  });

  test("tools", `a tool call in a stream, ${mode}`, async () => {
    const stream = client.chat.completions.stream({
      model: "smollm2",
      messages: [{ role: "user", content: "Add 3" }],
      tools: [add],
      tool_choice: "required",
      max_tokens: 100,
      temperature: 0,
    });
    const [choice] = (await stream.finalChatCompletion()).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    assert.equal(choice.message.tool_calls[0].function.name, "add");
    assert.ok(Number.isInteger(JSON.parse(choice.message.tool_calls[0].function.arguments).a));
  });

  test("structured", `structured output with parse, ${mode}`, async () => {
    const answer = await client.chat.completions.parse({
      ...short,
      max_tokens: 100,
      response_format: zodResponseFormat(Capital, "capital"),
    });
    const { parsed } = answer.choices[0].message;
    assert.ok(["Paris", "Rome"].includes(parsed.capital));
    assert.equal(typeof parsed.sure, "boolean");
  });

  test("embeddings", `embeddings, base64 by default and floats, ${mode}`, async () => {
    const packed = await client.embeddings.create({ model: "minilm", input: ["one", "two"] });
    assert.deepEqual(packed.data.map((item) => item.embedding.length), [384, 384]);
    const floats = await client.embeddings.create({
      model: "minilm",
      input: "one",
      encoding_format: "float",
    });
    assert.ok(Math.abs(floats.data[0].embedding[0] - packed.data[0].embedding[0]) < 1e-3);
  });

  test("completions", `text completions, ${mode}`, async () => {
    const body = { model: "smollm2", prompt: "The capital of France is", max_tokens: 6 };
    const one = await client.completions.create({ ...body, temperature: 0 });
    assert.match(one.choices[0].text, /Paris/);
    let text = "";
    const stream = await client.completions.create({ ...body, temperature: 0, stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? "";
    assert.equal(text, one.choices[0].text);
  });

  test("models", `the list of models, ${mode}`, async () => {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    for (const name of ["efficientnet", "minilm", "smollm2"]) assert.ok(names.includes(name));
    assert.equal((await client.models.retrieve("smollm2")).id, "smollm2");
  });

  test("errors", `errors have their classes, ${mode}`, async () => {
    await assert.rejects(
      client.chat.completions.create({ ...short, temperature: 9 }),
      (error) => error instanceof OpenAI.UnprocessableEntityError && error.param === "temperature",
    );
    await assert.rejects(make("wrong").chat.completions.create(short), OpenAI.AuthenticationError);
    const unknown = mode === "/v1" ? OpenAI.BadRequestError : OpenAI.NotFoundError;
    await assert.rejects(client.chat.completions.create({ ...short, model: "gpt-5" }), unknown);
  });
}

test("errors", "a call that meets 503 with Retry-After is tried again", async () => {
  let calls = 0;
  const front = createServer((incoming, outgoing) => {
    calls += 1;
    if (calls === 1) {
      outgoing.writeHead(503, { "retry-after": "1", "content-type": "application/json" });
      outgoing.end('{"error": {"code": "503", "message": "Loading"}}');
      return;
    }
    const { method, headers } = incoming;
    const onward = request(url + incoming.url, { method, headers }, (reply) => {
      outgoing.writeHead(reply.statusCode, reply.headers);
      reply.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  await new Promise((ready) => front.listen(0, "127.0.0.1", ready));
  try {
    const baseURL = `http://127.0.0.1:${front.address().port}/v1`;
    const answer = await new OpenAI({ baseURL, apiKey: key }).chat.completions.create(short);
    assert.match(answer.choices[0].message.content, /Paris/);
    assert.equal(calls, 2);
  } finally {
    front.closeAllConnections();
    front.close();
  }
});

await runAll();
