/** Against the real server at INTERLINGUA_ENDPOINT, whose deployment `echo` repeats. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { ApiError, BrokenReply, Client } from "../dist/index.js";

const endpoint = process.env.INTERLINGUA_ENDPOINT;
const key = process.env.INTERLINGUA_KEY;
assert.ok(endpoint, "INTERLINGUA_ENDPOINT and INTERLINGUA_KEY say which server is asked");
const client = new Client(endpoint, { key, model: "echo" });
const messages = [{ role: "user", content: "one two three" }];

test("a conversation is answered", async () => {
  const answer = await client.chatCompletions({ messages, max_tokens: 2 });
  assert.equal(answer.choices[0].message.content, "one two");
  assert.equal(answer.choices[0].finish_reason, "length");
  assert.deepEqual(answer.usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
  assert.equal(answer.reply.deployment, "echo");
  assert.match(answer.reply.requestId, /./);
  assert.equal(answer.reply.changes, undefined);
  assert.equal(JSON.parse(JSON.stringify(answer)).reply, undefined);
});

test("a streamed answer comes piece by piece, with its usage", async () => {
  const stream = await client.chatCompletionsStream({ messages });
  const pieces = [];
  for await (const chunk of stream) pieces.push(chunk);
  const text = pieces.map((piece) => piece.choices[0]?.delta.content ?? "").join("");
  assert.equal(text, "one two three");
  assert.equal(pieces.filter((piece) => piece.choices[0]?.delta.content).length, 3);
  assert.equal(pieces.at(-1).usage.completion_tokens, 3);
  assert.equal(stream.reply.deployment, "echo");
});

test("leaving a stream early is fine", async () => {
  for await (const chunk of await client.chatCompletionsStream({ messages })) {
    assert.ok(chunk.id);
    break;
  }
});

test("a text is continued, whole and streamed", async () => {
  const whole = await client.completions({ prompt: "a b" });
  assert.equal(whole.choices[0].text, "a b");
  let text = "";
  for await (const piece of await client.completionsStream({ prompt: "a b" })) {
    text += piece.choices[0]?.text ?? "";
  }
  assert.equal(text, "a b");
});

test("texts and images become vectors", async () => {
  const texts = await client.embeddings({ input: ["a", "b"], dimensions: 8 });
  assert.deepEqual(texts.data.map((item) => item.embedding.length), [8, 8]);
  const packed = await client.embeddings({ input: "a", encoding_format: "base64", dimensions: 8 });
  assert.equal(Buffer.from(packed.data[0].embedding, "base64").length, 32);
  const images = await client.imageEmbeddings({ input: [{ image: PIXEL }], dimensions: 8 });
  assert.equal(images.data[0].embedding.length, 8);
});

test("the model is named", async () => {
  assert.equal((await client.info()).model_name, "echo");
});

test("every kind of endpoint does", async () => {
  for (const base of ["/", "/models", "/v1", "/openai/deployments/echo"]) {
    const answer = await new Client(endpoint + base, { token: () => key }).chatCompletions({
      messages,
    });
    assert.equal(answer.choices[0].message.content, "one two three");
  }
});

test("what was dropped is listed", async () => {
  const options = { extras: { safe_mode: true }, extraParameters: "drop" };
  const answer = await client.chatCompletions({ messages }, options);
  assert.equal(answer.reply.changes, 'dropped=("safe_mode")');
  const stream = await client.chatCompletionsStream({ messages }, options);
  assert.equal(stream.reply.changes, 'dropped=("safe_mode")');
});

for (const base of ["", "/v1"]) {
  test(`a refusal names status, code and parameter, below '${base}'`, async () => {
    const refused = new Client(endpoint + base, { key }).chatCompletions({
      messages,
      temperature: 3,
    });
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof ApiError && error instanceof Error);
      assert.equal(error.status, 422);
      assert.equal(error.code, "Invalid input");
      assert.equal(error.param, "temperature");
      assert.match(error.message, /temperature/);
      assert.match(error.requestId, /./);
      return true;
    });
  });
}

test("a wrong key, an unknown model and an unknown parameter are refused", async () => {
  const asked = { messages };
  const wrong = new Client(endpoint, { key: "wrong" }).chatCompletions(asked);
  await assert.rejects(wrong, { name: "ApiError", status: 401, code: "unauthorized" });
  const model = client.chatCompletionsStream({ ...asked, model: "none" });
  await assert.rejects(model, { status: 400, code: "unknown_model" });
  const extra = client.chatCompletions(asked, { extras: { x: 1 }, extraParameters: "error" });
  await assert.rejects(extra, { status: 400, code: "extra_parameters" });
});

test("a call can be given up", async () => {
  const given = client.chatCompletions({ messages }, { signal: AbortSignal.abort() });
  await assert.rejects(given, { name: "AbortError" });
});

// -- Streams that the server never sends on purpose --

const CHUNK = '{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}';

/** What reading a stream of these pieces gives; `"cut"` breaks the connection off. */
async function read(...pieces) {
  const server = createServer(async (_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of pieces) {
      if (piece === "cut") {
        response.destroy();
        return;
      }
      response.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const broken = new Client(`http://127.0.0.1:${server.address().port}`);
    const found = [];
    for await (const chunk of await broken.chatCompletionsStream({ messages })) found.push(chunk);
    return found;
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("a stream may be cut into any pieces, with any line ends", async () => {
  const stream = Buffer.from(`: é\r\ndata: ${CHUNK}\r\n\r\ndata:${CHUNK}\r\rdata: [DONE]\n\n`);
  for (const size of [1, 2, 7, stream.length]) {
    const pieces = [];
    for (let at = 0; at < stream.length; at += size) pieces.push(stream.subarray(at, at + size));
    assert.equal((await read(...pieces)).length, 2, `pieces of ${size}`);
  }
});

test("a stream that ends without [DONE] is an error", async () => {
  await assert.rejects(read(`data: ${CHUNK}\n\n`), BrokenReply);
  await assert.rejects(read(`data: ${CHUNK}\n\n`, "data: [DONE]"), BrokenReply);
  await assert.rejects(read(), BrokenReply);
});

test("a connection that breaks off is an error", async () => {
  await assert.rejects(read(`data: ${CHUNK}\n\n`, "cut"), BrokenReply);
});

test("an error in the stream is the server's error", async () => {
  const event = 'data: {"error":{"code":"model_not_ready","message":"The engine ended."}}\n\n';
  const failed = { name: "ApiError", status: 200, code: "model_not_ready" };
  await assert.rejects(read(`data: ${CHUNK}\n\n`, event, "cut"), failed);
});

test("an event that is no JSON is an error", async () => {
  await assert.rejects(read("data: {\n\n", "data: [DONE]\n\n"), BrokenReply);
});

const PIXEL =
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" +
  "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
