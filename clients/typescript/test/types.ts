/** What compiles, and what must not: checked by `tsc`, never run. */

import { ApiError, Client } from "../src/index.js";
import type { ChatCompletionChunk, Message, Tool } from "../src/index.js";

const client = new Client("http://127.0.0.1:8080", { key: "key" });
const tool: Tool = {
  type: "function",
  function: { name: "weather", parameters: { type: "object", properties: { city: {} } } },
};
const messages: Message[] = [
  { role: "developer", content: "You answer in one sentence." },
  { role: "user", content: [{ type: "text", text: "Which weather?" }] },
  { role: "tool", content: "sunny", tool_call_id: "call_1" },
];

export async function compiled(): Promise<(string | undefined)[]> {
  const whole = await client.chatCompletions({ messages, tools: [tool], tool_choice: "auto" });
  const content: string | null | undefined = whole.choices[0]?.message.content;
  const stream = await client.chatCompletionsStream({ messages }, { extras: { top_k: 4 } });
  const pieces: ChatCompletionChunk[] = [];
  for await (const piece of stream) pieces.push(piece);
  const vectors = await client.embeddings({ input: ["a"], encoding_format: "base64" });
  return [content ?? undefined, whole.reply.changes, vectors.reply.requestId, pieces[0]?.id];
}

// @ts-expect-error: no such role
export const role: Message = { role: "robot", content: "" };
// @ts-expect-error: the method says whether the answer is streamed
export const streamed = client.chatCompletions({ messages, stream: true });
// @ts-expect-error: what the API doesn't list goes into `extras`
export const unlisted = client.chatCompletions({ messages, top_k: 4 });
export const status: number = new ApiError(404, undefined, new Headers()).status;
