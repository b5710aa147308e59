// Records what the page client of @mlc-ai/web-llm posts to its worker. See README.md in this folder.
import { mkdirSync, writeFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

let next_uuid = 0;
Object.defineProperty(globalThis, "crypto", {
  value: { ...webcrypto, randomUUID: () => `00000000-0000-4000-8000-${String(++next_uuid).padStart(12, "0")}` },
});

/** Answers everything at once, and gives streams two chunks and an end. */
class FakeWorker {
  onmessage = () => {};
  posted = [];
  chunks_left = new Map();

  postMessage(message) {
    this.posted.push(JSON.parse(JSON.stringify(message)));
    const content = message.content ?? {};
    if (message.kind === "chatCompletionStreamInit") this.chunks_left.set(content.streamId, 2);
    let answer = null;
    if (message.kind === "completionStreamNextChunk") {
      const left = this.chunks_left.get(content.streamId);
      this.chunks_left.set(content.streamId, left - 1);
      answer = left > 0 ? { choices: [] } : undefined;
    }
    if (["setAppConfig", "setLogLevel", "keepAlive"].includes(message.kind)) return;
    queueMicrotask(() => this.onmessage({ data: { kind: "return", uuid: message.uuid, content: answer } }));
  }
}

const worker = new FakeWorker();
let heartbeat = () => {};
globalThis.setInterval = (callback) => ((heartbeat = callback), 0);
Object.defineProperty(globalThis, "navigator", {
  value: {
    serviceWorker: {
      set onmessage(handler) { worker.onmessage = handler; },
      controller: { postMessage: (message) => worker.postMessage(message) },
      get ready() { return Promise.resolve({ active: this.controller }); },
    },
  },
});

const webllm = await import(process.argv[2]);
const folder = new URL("./requests/", import.meta.url);
mkdirSync(folder, { recursive: true });
const recorded = new Set();
function save(name) {
  const [message, ...more] = worker.posted.splice(0);
  if (message === undefined || more.length > 0) throw new Error(`${name}: expected one message, got ${1 + more.length}`);
  write(name, message);
}
function write(name, message) {
  if (recorded.has(name)) throw new Error(`${name} is recorded twice`);
  recorded.add(name);
  writeFileSync(new URL(`${name}.json`, folder), JSON.stringify(message, null, 2) + "\n");
}

const appConfig = {
  model_list: [{
    model: "http://localhost:8080/models/tiny/tiny.gguf",
    model_id: "tiny",
    model_lib: "http://localhost:8080/unused.wasm",
    vram_required_MB: 100.5,
    low_resource_required: true,
    buffer_size_required_bytes: 1048576,
    required_features: ["shader-f16"],
    model_type: webllm.ModelType.LLM,
    overrides: { context_window_size: 1024, temperature: 0.6, top_p: 0.95 },
  }],
  cacheBackend: "indexeddb",
};
const engine = new webllm.ServiceWorkerMLCEngine({ appConfig, logLevel: "INFO" });
const first = worker.posted.splice(0);
write("setAppConfig", first[0]);
write("setLogLevel", first[1]);
heartbeat(); save("keepAlive");

await engine.reload("tiny"); save("reload");
await engine.reload(["tiny"], [{ context_window_size: 512, temperature: 0, repetition_penalty: 1.1,
  frequency_penalty: 0.5, presence_penalty: 0, top_p: 0.9, sliding_window_size: -1, attention_sink_size: -1 }]);
save("reload_with_options");

const messages = [
  { role: "system", content: "You are brief." },
  { role: "user", content: "What is the capital of France?", name: "ann" },
  { role: "assistant", content: "Paris." },
  { role: "user", content: "And of Italy?" },
];
const every_option = {
  messages, temperature: 0.7, top_p: 0.9, max_tokens: 64, frequency_penalty: 0.1, presence_penalty: -0.1,
  repetition_penalty: 1.05, logit_bias: { 42: -100, 7: 1.5 }, seed: 42, stop: ["\n\n", "END"], n: 1, ignore_eos: false,
  model: "tiny", logprobs: null, response_format: { type: "text" }, extra_body: { enable_thinking: true },
};
await engine.chat.completions.create({ messages: messages.slice(1, 2) }); save("chatCompletionNonStreaming");
await engine.chat.completions.create(every_option); save("chatCompletionNonStreaming_every_option");
await engine.chat.completions.create({ messages: [{ role: "user", content: [{ type: "text", text: "Hi" }] }], stop: "." });
save("chatCompletionNonStreaming_text_part");

const stream = await engine.chat.completions.create(
  { ...every_option, stream: true, stream_options: { include_usage: true } });
save("chatCompletionStreamInit");
await stream.next(); save("completionStreamNextChunk");
await stream.return(); save("completionStreamReturn");

engine.interruptGenerate(); save("interruptGenerate");
await engine.resetChat(); save("resetChat");
await engine.resetChat(true, "tiny"); save("resetChat_keep_stats");
await engine.getMessage(); save("getMessage");
await engine.getMessage("tiny"); save("getMessage_of_model");
await engine.runtimeStatsText(); save("runtimeStatsText");

// Kinds that this version of Hearth names in an error.
await engine.completions.create({ prompt: "Once" }); save("completionNonStreaming");
await engine.completions.create({ prompt: "Once", stream: true }); save("completionStreamInit");
await engine.embeddings.create({ input: "Once" }); save("embedding");
await engine.forwardTokensAndSample([1, 2], true); save("forwardTokensAndSample");
await engine.getGPUVendor(); save("getGPUVendor");
await engine.getMaxStorageBufferBindingSize(); save("getMaxStorageBufferBindingSize");
await engine.listResumableSessions(); save("listResumableSessions");
await engine.deleteResumableSession("s"); save("deleteResumableSession");

await engine.unload(); save("unload");
// Not recorded: 0.2.83 and older name a stream by its model.
write("completionStreamNextChunk_by_model",
  { kind: "completionStreamNextChunk", uuid: crypto.randomUUID(), content: { selectedModelId: "tiny" } });
