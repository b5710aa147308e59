// The smallest page of an app. Tests choose a client by query: ?client=stock (web-llm's own bundle) or ?client=hearth.
// `window.client` is that module, once the service worker is active.

const parameters = new URLSearchParams(location.search);
const name = parameters.get("client") ?? "hearth";

window.ready = (async () => {
  if (parameters.get("worker") !== "none") {
    await navigator.serviceWorker.register("/hearth/hearth-sw.js", { scope: "/" });
    await navigator.serviceWorker.ready;
    // web-llm's client only posts to the controller; the worker claims its pages when it activates.
    while (navigator.serviceWorker.controller === null) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  window.client = await import(name === "stock" ? "/web-llm/index.js" : "/hearth/index.js");
})();
