/** Public names of the package; nothing else. */

export { Chat } from "./chat.js";
export { prebuiltAppConfig } from "./config.js";
export { HearthError } from "./errors.js";
export { CreateMLCEngine, MLCEngine } from "./page-engine.js";
export { CreateServiceWorkerMLCEngine, ServiceWorkerMLCEngine } from "./service-worker-engine.js";
export type * from "./types.js";
