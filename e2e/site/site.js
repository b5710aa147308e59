// The smallest page of an app, with what tests do over and over. `window.client` is the module of the client under test,
// `window.tab` drives it. Nothing here knows which of the two clients it is.

/** Registers the worker, waits until it controls this page, then imports the client. */
export function start(moduleUrl) {
  window.ready = (async () => {
    if (!new URLSearchParams(location.search).has("no-worker")) await useWorker();
    window.client = await import(moduleUrl);
  })();
}

async function useWorker() {
  const container = navigator.serviceWorker;
  const controlled = new Promise((resolve) => {
    if (container.controller !== null) resolve();
    else container.addEventListener("controllerchange", () => resolve(), { once: true });
  });
  await container.register("/hearth/hearth-sw.js", { scope: "/" });
  await container.ready;
  await controlled;
}

window.tab = {
  /** Progress texts of all loads of this page. */
  progress: [],

  /** What was done to this page's contexts; only Hearth's client reports it. */
  events: [],

  /** Loads a model with an engine of its own, by the factory `make` of the client; the page keeps it as `window.engine`. */
  async load({ url, id = "model", make = "CreateServiceWorkerMLCEngine", overrides, chatOpts, hearth }) {
    const record = { model: new URL(url, location.href).href, model_id: id, model_lib: "unused.wasm", overrides };
    const config = {
      appConfig: { model_list: [record] },
      initProgressCallback: (report) => tab.progress.push(report),
      hearth: { onContextEvent: (event) => tab.events.push(event), ...hearth },
    };
    const startedMs = performance.now();
    window.engine = await client[make](id, config, chatOpts);
    return performance.now() - startedMs;
  },

  /** One whole reply. */
  async ask(request) {
    const reply = await engine.chat.completions.create({ temperature: 0, ...request, stream: false });
    const [choice] = reply.choices;
    return { text: choice.message.content ?? "", finish: choice.finish_reason, usage: reply.usage, reply };
  },

  /** A reply in chunks, each with its time on a clock that all pages share. */
  async stream(request) {
    const chunks = await engine.chat.completions.create({
      temperature: 0,
      stream_options: { include_usage: true },
      ...request,
      stream: true,
    });
    return tab.collect(chunks);
  },

  async collect(chunks) {
    const result = { text: "", finish: null, usage: undefined, ids: new Set(), stampsMs: [] };
    for await (const chunk of chunks) {
      const [choice] = chunk.choices;
      const content = choice?.delta.content;
      if (content) {
        result.text += content;
        result.stampsMs.push(performance.timeOrigin + performance.now());
      }
      result.ids.add(chunk.id);
      result.finish = choice?.finish_reason ?? result.finish;
      result.usage = chunk.usage ?? result.usage;
    }
    return { ...result, ids: [...result.ids] };
  },

  /** How something failed, in a form that survives the way to the test. Throws when it did not. */
  async failure(action) {
    let value;
    try {
      value = await action();
    } catch (error) {
      const isError = error instanceof Error;
      return {
        text: String(error),
        isError,
        name: isError ? error.name : "",
        message: isError ? error.message : "",
        details: isError ? error.details : undefined,
      };
    }
    throw new Error(`expected a failure, got ${JSON.stringify(value)}`);
  },

  /** Posts a message by hand and gives its `return` or `throw`. */
  post(kind, content, uuid = crypto.randomUUID()) {
    return new Promise((resolve) => {
      const onMessage = ({ data }) => {
        if (data.uuid !== uuid || data.kind === "initProgressCallback") return;
        navigator.serviceWorker.removeEventListener("message", onMessage);
        resolve(data);
      };
      navigator.serviceWorker.addEventListener("message", onMessage);
      navigator.serviceWorker.controller.postMessage({ kind, uuid, content });
    });
  },
};
