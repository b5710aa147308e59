/**
 * What `wasm-bindgen --target web` makes of worker/shell, wrapped by the build (scripts/build.mjs) into a factory: every
 * call gives a scope of its own, so an instance that trapped can be dropped and a fresh one made.
 */
declare module "hearth-wasm" {
  /** Sends one reply to the client that asked. */
  export type Reply = (message: unknown) => void;

  /** The engine in one place: owns the device, the models and the cache. */
  export interface Host {
    /** Settles when everything that the message caused has ended. */
    handleMessage(clientId: string, data: unknown, port: MessagePort | undefined, reply: Reply): Promise<void>;
  }

  /** One scope of the wasm-bindgen glue. */
  export interface Glue {
    /** Fetches (unless it is given the response), compiles and starts the wasm. */
    default(options: { module_or_path: URL | Response }): Promise<unknown>;
    Host: new (options: { kind: "service-worker" | "page" | "dedicated-worker" | "shared-worker" }) => Host;
  }

  /** Makes a fresh scope; nothing is fetched until its `default` is called. */
  export function createGlue(): Glue;

  /** Hash of the wasm's content, in hexadecimal digits. */
  export const wasmHash: string;
}
