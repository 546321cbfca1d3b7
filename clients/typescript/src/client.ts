/** The five operations of the API over `fetch`. */

import { ApiError, BrokenReply } from "./errors.js";
import type { components } from "./schema.js";
import { objects } from "./sse.js";

type Schemas = components["schemas"];

/** A model's own parameters, which the API doesn't list: `extraParameters` decides on them. */
export interface Extras {
  readonly [name: string]: unknown;
}
export type ChatRequest = Asked<Schemas["ChatRequest"]>;
export type ChatCompletion = Schemas["ChatCompletion"];
export type ChatCompletionChunk = Schemas["ChatCompletionChunk"];
export type CompletionRequest = Asked<Schemas["CompletionRequest"]>;
export type Completion = Schemas["Completion"];
export type EmbeddingsRequest = Schemas["EmbeddingsRequest"];
export type ImageEmbeddingsRequest = Schemas["ImageEmbeddingsRequest"];
export type Embeddings = Schemas["Embeddings"];
export type Message = Schemas["Message"];
export type ModelInfo = Schemas["ModelInfo"];
export type Tool = Schemas["Tool"];
export type ToolCall = Schemas["ToolCall"];

/** `stream` follows from which method is called. */
type Asked<Request> = Omit<Request, "stream">;

/** What happens to parameters that the API doesn't list. */
export type ExtraParameters = "error" | "drop" | "pass-through";

export interface ClientOptions {
  /** Sent as `api-key`. */
  readonly key?: string;
  /** Sent as `Authorization: Bearer`; a function is asked before each call. */
  readonly token?: string | (() => string | Promise<string>);
  /** The model of every call that doesn't name one. */
  readonly model?: string;
  readonly apiVersion?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** In place of the global one: for a proxy, a log, or repetition. */
  readonly fetch?: typeof fetch;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly extraParameters?: ExtraParameters;
  /** Parameters that the API doesn't list. Where they are named, `pass-through` is the default. */
  readonly extras?: Extras;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the reply's headers say. */
export interface Reply {
  /** `x-interlingua-changes`: what of the request was dropped or renamed. */
  readonly changes: string | undefined;
  /** The call's id, as the server's log has it. */
  readonly requestId: string | undefined;
  /** The deployment that answered. */
  readonly deployment: string | undefined;
}

export type Result<Body> = Body & { readonly reply: Reply };

/** A stream's items, to be read once; leaving the loop early ends the call. */
export interface Stream<Item> extends AsyncIterable<Item> {
  readonly reply: Reply;
}

/** Speaks to one endpoint. Holds nothing open, and may be used by many calls at a time. */
export class Client {
  readonly #base: URL;
  readonly #options: ClientOptions;

  /** @param endpoint As given to any client of this API: with `/models`, `/v1` or no path. */
  constructor(endpoint: string | URL, options: ClientOptions = {}) {
    this.#base = new URL(endpoint);
    this.#options = options;
  }

  /** The next message of a conversation. */
  chatCompletions(request: ChatRequest, options?: CallOptions): Promise<Result<ChatCompletion>> {
    return this.#post("/chat/completions", request, options);
  }

  /** The same, piece by piece. */
  chatCompletionsStream(
    request: ChatRequest,
    options?: CallOptions,
  ): Promise<Stream<ChatCompletionChunk>> {
    return this.#stream("/chat/completions", request, options);
  }

  /** The continuation of a text. */
  completions(request: CompletionRequest, options?: CallOptions): Promise<Result<Completion>> {
    return this.#post("/completions", request, options);
  }

  /** The same, piece by piece. */
  completionsStream(
    request: CompletionRequest,
    options?: CallOptions,
  ): Promise<Stream<Completion>> {
    return this.#stream("/completions", request, options);
  }

  /** A vector for each text. */
  embeddings(request: EmbeddingsRequest, options?: CallOptions): Promise<Result<Embeddings>> {
    return this.#post("/embeddings", request, options);
  }

  /** A vector for each image. */
  imageEmbeddings(
    request: ImageEmbeddingsRequest,
    options?: CallOptions,
  ): Promise<Result<Embeddings>> {
    return this.#post("/images/embeddings", request, options);
  }

  /** Which model answers, and of which type it is. */
  async info(model?: string, options: CallOptions = {}): Promise<Result<ModelInfo>> {
    const url = this.#url("/info");
    const asked = model ?? this.#options.model;
    if (asked !== undefined) url.searchParams.set("model", asked);
    return result(await this.#send(url, { method: "GET" }, options));
  }

  async #post<Body extends object>(
    path: string,
    request: object,
    options: CallOptions = {},
  ): Promise<Result<Body>> {
    return result(await this.#send(this.#url(path), this.#body(request, options), options));
  }

  async #stream<Item>(
    path: string,
    request: object,
    options: CallOptions = {},
  ): Promise<Stream<Item>> {
    const asked = this.#body({ ...request, stream: true }, options);
    const response = await this.#send(this.#url(path), asked, options);
    const kind = response.headers.get("content-type") ?? "nothing";
    if (response.body === null || !kind.startsWith("text/event-stream")) {
      await response.body?.cancel();
      throw new BrokenReply(`A stream was asked for, and ${kind} came.`);
    }
    // The one place where what comes is taken for what the description promises.
    const items = objects(response.body, response.headers) as AsyncGenerator<Item>;
    return { reply: replyOf(response.headers), [Symbol.asyncIterator]: () => items };
  }

  #url(path: string): URL {
    const url = new URL(this.#base);
    url.pathname = url.pathname.replace(/\/+$/, "") + path;
    const version = this.#options.apiVersion;
    if (version !== undefined) url.searchParams.set("api-version", version);
    return url;
  }

  #body(request: object, options: CallOptions): RequestInit {
    const model = this.#options.model;
    const stated = { ...(model === undefined ? {} : { model }), ...request, ...options.extras };
    return {
      method: "POST",
      body: JSON.stringify(stated),
      headers: { "content-type": "application/json" },
    };
  }

  async #send(url: URL, request: RequestInit, options: CallOptions): Promise<Response> {
    const headers = new Headers(request.headers);
    headers.set("accept", "application/json, text/event-stream");
    const { key, token } = this.#options;
    if (key !== undefined) headers.set("api-key", key);
    if (token !== undefined) {
      headers.set("authorization", `Bearer ${typeof token === "string" ? token : await token()}`);
    }
    const policy = options.extraParameters ?? (options.extras && "pass-through");
    if (policy !== undefined) headers.set("extra-parameters", policy);
    for (const [name, value] of Object.entries({ ...this.#options.headers, ...options.headers })) {
      headers.set(name, value);
    }
    const asked: RequestInit = { ...request, headers, redirect: "error" };
    if (options.signal !== undefined) asked.signal = options.signal;
    const response = await (this.#options.fetch ?? fetch)(url, asked);
    if (!response.ok) {
      throw new ApiError(response.status, json(await response.text()), response.headers);
    }
    return response;
  }
}

async function result<Body extends object>(response: Response): Promise<Result<Body>> {
  const body = json(await response.text());
  if (typeof body !== "object" || body === null) {
    throw new BrokenReply("The reply isn't a JSON object.");
  }
  // Not enumerable, so that the result prints and serializes as what came.
  const reply = { value: replyOf(response.headers), enumerable: false };
  return Object.defineProperty(body, "reply", reply) as Result<Body>;
}

function replyOf(headers: Headers): Reply {
  return {
    changes: headers.get("x-interlingua-changes") ?? undefined,
    requestId: headers.get("x-request-id") ?? undefined,
    deployment: headers.get("x-ms-model-mesh-model-name") ?? undefined,
  };
}

/** The text as JSON, or as it is: a proxy's error page is a message too. */
function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
