// Which model the demo talks to and how its worker is reached: the same for the page and for every stress tab.

import { CreateServiceWorkerMLCEngine } from "/hearth/index.js";

export const MODEL_ID = "SmolLM2-135M-Instruct";
const MODEL_URL = new URL("/models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf", location.href).href;
const WORKER_URL = "/hearth/hearth-sw.js";

/**
 * An engine with the model loaded, or about to be found loaded.
 * @param {import("/hearth/index.js").ChatOptions} chatOptions
 * @param {(report: import("/hearth/index.js").InitProgressReport) => void} [onProgress]
 */
export function openEngine(chatOptions, onProgress) {
  return CreateServiceWorkerMLCEngine(
    MODEL_ID,
    {
      appConfig: { model_list: [{ model: MODEL_URL, model_id: MODEL_ID }] },
      ...(onProgress === undefined ? {} : { initProgressCallback: onProgress }),
      hearth: { serviceWorkerUrl: WORKER_URL },
    },
    chatOptions,
  );
}
