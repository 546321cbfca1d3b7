/** Server-sent events: the bytes of a reply → its objects, and nothing missing in silence. */

import { ApiError, BrokenReply } from "./errors.js";

const MAX_EVENT_CHARS = 8 * 1024 * 1024;

/**
 * The objects of a stream. It must end with `[DONE]`.
 *
 * Who stops early ends the call on the server too.
 *
 * @throws ApiError The server ended the stream with an error.
 * @throws BrokenReply The stream ended before `[DONE]`, or holds something else than JSON.
 */
export async function* objects(
  body: ReadableStream<Uint8Array>,
  headers: Headers,
): AsyncGenerator<unknown, void, undefined> {
  for await (const data of events(body)) {
    if (data === "[DONE]") return;
    const value = parsed(data);
    if (typeof value === "object" && value !== null && "error" in value && value.error) {
      throw new ApiError(200, value, headers);
    }
    yield value;
  }
  throw new BrokenReply("The stream ended before its end was announced by [DONE].");
}

/** The data of each event, by the rules of the HTML standard (9.2.6). */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let data: string[] = [];
  let length = 0;
  for await (const line of lines(body)) {
    if (line === "") {
      if (data.length > 0) yield data.join("\n");
      data = [];
      length = 0;
    } else if (line === "data" || line.startsWith("data:")) {
      const value = line.slice("data:".length);
      data.push(value.startsWith(" ") ? value.slice(1) : value);
      length = bounded(length + line.length);
    }
  }
  // An event that lacks its empty line was cut off: whoever waits for [DONE] will notice.
}

/** The lines that have an end; CR, LF and CRLF end a line, wherever the pieces are cut. */
async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let rest = "";
  let afterCr = false;
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await read(reader);
      ended = done;
      let piece = decode(decoder, value);
      if (afterCr && piece !== "") {
        if (piece.startsWith("\n")) piece = piece.slice(1);
        afterCr = false;
      }
      if (piece.endsWith("\r")) afterCr = true;
      const found = piece.split(/\r\n|\n|\r/);
      found[0] = rest + found[0];
      rest = found.pop() ?? "";
      bounded(rest.length);
      yield* found;
      if (done) return;
    }
  } finally {
    if (!ended) await reader.cancel().catch(() => undefined);
  }
}

async function read(
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
  try {
    return await reader.read();
  } catch (error) {
    if (error instanceof Error && /^(Abort|Timeout)Error$/.test(error.name)) throw error;
    throw new BrokenReply("The connection broke off in the middle of the stream.", {
      cause: error,
    });
  }
}

function decode(decoder: TextDecoder, value: Uint8Array | undefined): string {
  try {
    return decoder.decode(value, { stream: value !== undefined });
  } catch (error) {
    throw new BrokenReply("The stream isn't UTF-8.", { cause: error });
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch (error) {
    throw new BrokenReply("An event of the stream isn't JSON.", { cause: error });
  }
}

function bounded(length: number): number {
  if (length > MAX_EVENT_CHARS) {
    throw new BrokenReply(`An event is longer than ${MAX_EVENT_CHARS} characters.`);
  }
  return length;
}
