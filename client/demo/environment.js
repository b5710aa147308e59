// What this browser lacks, if anything, and what its user can do about it.

/** @typedef {{title: string, text: string, steps: string[], canRetry?: boolean, details?: string}} Trouble */

/** @returns {Trouble | undefined} */
export function findObstacle() {
  if (!window.isSecureContext) {
    return {
      title: "This page must come from a secure address",
      text: "Browsers allow service workers and WebGPU only over https, or from this machine itself.",
      steps: [`Open the page as http://localhost:${location.port || "80"}/ on this machine, or serve it over https.`],
    };
  }
  if (!("serviceWorker" in navigator)) {
    return {
      title: "Service workers are switched off",
      text: "The model runs in a service worker, so that all tabs can share it.",
      steps: ["Leave the private window, or allow site data for this page in the browser's settings, then reload."],
    };
  }
  if (!("gpu" in navigator)) return noWebGpu();
  return undefined;
}

/** @returns {Trouble} */
function noWebGpu() {
  return {
    title: "This browser has no WebGPU",
    text: "The model runs on the GPU through WebGPU, which this browser does not offer, or not yet.",
    steps: [
      "Use Chrome or Edge 124 or newer, or Safari 26 or newer.",
      "In Chrome on Linux, open chrome://flags, enable “Unsafe WebGPU Support” and restart the browser.",
      "Make sure that “Use graphics acceleration when available” is on in the browser's settings.",
    ],
    canRetry: true,
  };
}

/** Advice by the name of the error; the error's own message is shown with it. */
const ADVICE = {
  WebGPUNotAvailableError: noWebGpu,
  WorkerLostError: () => ({
    title: "The browser stopped the model's worker",
    text: "Nothing is lost: the model is still stored, and starts again with the next message.",
    steps: [],
  }),
  EngineCrashedError: () => ({
    title: "The engine met an internal error and was restarted",
    text: "The conversation is still here.",
    steps: ["Try again. If the same message fails again, start a new chat."],
  }),
  DeviceLostError: () => ({
    title: "The GPU was reset",
    text: "Another program or a driver update may have done it. The conversation is still here.",
    steps: ["Try again. If it happens often, close other programs that use the GPU, or update its driver."],
  }),
  ContextWindowSizeExceededError: () => ({
    title: "This conversation is longer than the model can see",
    text: "The model reads at most as many tokens as its context window holds.",
    steps: ["Start a new chat, or send a shorter message."],
    canRetry: false,
  }),
};

/** @param {unknown} error @param {string} doing what failed, e.g. "loading the model" @returns {Trouble} */
export function explain(error, doing) {
  const name = error instanceof Error ? error.name : "";
  const message = error instanceof Error && error.message !== "" ? error.message : String(error);
  const advice = ADVICE[name]?.() ?? {
    title: `Something went wrong while ${doing}`,
    text: shorten(message),
    steps: [],
  };
  return { canRetry: true, details: String(error), ...advice };
}

/** The first line, and not too much of it: the whole is in the details. */
function shorten(message) {
  const [line] = message.split("\n");
  return line.length > 240 ? `${line.slice(0, 240)}…` : line;
}
