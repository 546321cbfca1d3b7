export * from "./client.js";
export { ApiError, BrokenReply } from "./errors.js";
export type { components, operations, paths } from "./schema.js";
