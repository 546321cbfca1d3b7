/** What can go wrong with a call. */

/** The server, or the model behind it, refused or failed. */
export class ApiError extends Error {
  override readonly name: string = "ApiError";
  /** The HTTP status. 200 where a stream that had begun ended with an error. */
  readonly status: number;
  readonly code: string | undefined;
  /** The parameter at fault, as `messages[0].role`. */
  readonly param: string | undefined;
  /** The call's id, as the server's log has it. */
  readonly requestId: string | undefined;
  /** What the server asks to wait; it says so with 429 and 503 only. */
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, body: unknown, headers: Headers) {
    const stated = errorOf(body);
    super(text(stated.message) ?? `The server answered ${status} without a message.`);
    this.status = status;
    this.code = text(stated.code) ?? headers.get("x-ms-error-code") ?? undefined;
    this.param = text(stated.param);
    this.requestId = headers.get("x-request-id") ?? undefined;
    const wait = headers.get("retry-after");
    this.retryAfterSeconds = wait !== null && /^\d+$/.test(wait) ? Number(wait) : undefined;
  }
}

/** A reply that is no reply of this API, or that broke off before its end. */
export class BrokenReply extends Error {
  override readonly name: string = "BrokenReply";
}

interface Stated {
  readonly message?: unknown;
  readonly code?: unknown;
  readonly param?: unknown;
}

/** The error inside a body, whichever of the shapes it has. */
function errorOf(body: unknown): Stated {
  if (typeof body === "string") return { message: body.slice(0, 500) };
  if (typeof body !== "object" || body === null) return {};
  const inner = (body as { error?: unknown }).error;
  if (typeof inner === "string") return { message: inner };
  return typeof inner === "object" && inner !== null ? inner : body;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
