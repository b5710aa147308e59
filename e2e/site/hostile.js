// Messages that no client sends. Made in the page: most of them could not be carried there.
//
// `expects`: the name of the error that is thrown back under the message's uuid; `return` or `heartbeat` where the message is
// strange but fine; `silence` where there is nobody to answer, or where web-llm answers nothing.

const text = (length) => "x".repeat(length);
const user = (content) => [{ role: "user", content }];
const chat = (request, more = {}) => ({ request, modelId: ["model"], ...more });
const whole = (request) => ({ kind: "chatCompletionNonStreaming", content: chat(request) });

function cycle() {
  const value = {};
  value.self = value;
  return value;
}

function deep(levels, wrap) {
  let value = null;
  for (let level = 0; level < levels; level += 1) value = wrap(value);
  return value;
}

const INVALID = "InvalidMessageError";

/** [name, how the message is made, expects]; objects get a uuid unless they have one. */
const MESSAGES = [
  // No envelope.
  ["null", () => null, "silence"],
  ["undefined", () => undefined, "silence"],
  ["a number", () => 42, "silence"],
  ["NaN", () => NaN, "silence"],
  ["a BigInt", () => 10n ** 30n, "silence"],
  ["a text", () => "reload", "silence"],
  ["a long text", () => text(5_000_000), "silence"],
  ["an array", () => ["reload", { kind: "reload" }], "silence"],
  ["a date", () => new Date(), "silence"],
  ["a map", () => new Map([["kind", "reload"]]), "silence"],
  ["a buffer", () => new ArrayBuffer(1_000_000), "silence"],
  ["an error", () => new Error("kind"), "silence"],
  ["a regular expression", () => /kind/, "silence"],
  ["an empty object", () => ({}), "silence"],
  ["kind is null", () => ({ kind: null, content: {} }), "silence"],
  ["kind is a number", () => ({ kind: 7, content: {} }), "silence"],
  ["kind is an object", () => ({ kind: { reload: 1 }, content: {} }), "silence"],
  ["kind is empty", () => ({ kind: "", content: null }), "silence"],
  ["an unknown kind without content", () => ({ kind: "launch" }), "silence"],
  ["an unknown kind with content", () => ({ kind: "launch", content: { x: 1 } }), "silence"],
  ["an unknown kind of Hearth's", () => ({ kind: "hearth.launch", content: { x: 1 } }), "UnknownMessageKindError"],
  ["kind is a name that objects have", () => ({ kind: "__proto__", content: { x: 1 } }), "silence"],
  ["kind is `constructor`", () => ({ kind: "constructor", content: { x: 1 } }), "silence"],
  ["a very long kind", () => ({ kind: text(1_000_000), content: { x: 1 } }), "silence"],
  // Not JSON.
  ["a cycle", () => ({ kind: "reload", content: cycle() }), INVALID],
  ["a cycle in the envelope", () => Object.assign(cycle(), { kind: "reload" }), INVALID],
  ["a BigInt inside", () => ({ kind: "reload", content: { modelId: [1n] } }), INVALID],
  ["objects without end", () => ({ kind: "reload", content: deep(1_000, (inner) => ({ inner })) }), INVALID],
  ["arrays without end", () => ({ kind: "reload", content: deep(1_000, (inner) => [inner]) }), INVALID],
  ["arrays that the browser gives up on", () => ({ kind: "reload", content: deep(3_000, (inner) => [inner]) }), "silence"],
  ["a lone surrogate", () => ({ kind: "getMessage", content: { modelId: "\ud800" } }), "SpecifiedModelNotFoundError"],
  // Known kinds with other content.
  ["reload without content", () => ({ kind: "reload" }), INVALID],
  ["reload of null", () => ({ kind: "reload", content: null }), INVALID],
  ["reload of a number", () => ({ kind: "reload", content: 3 }), INVALID],
  ["reload of ids that are numbers", () => ({ kind: "reload", content: { modelId: [1, 2] } }), INVALID],
  ["reload of ids that are an object", () => ({ kind: "reload", content: { modelId: { length: 1e9 } } }), INVALID],
  ["reload of an unknown id", () => ({ kind: "reload", content: { modelId: ["nothing"] } }), "ModelNotFoundError"],
  ["reload of `__proto__`", () => ({ kind: "reload", content: { modelId: ["__proto__"] } }), "ModelNotFoundError"],
  ["reload of twice the same", () => ({ kind: "reload", content: { modelId: ["model", "model"] } }), "ReloadModelIdNotUniqueError"],
  ["reload with too many options", () => ({ kind: "reload", content: { modelId: ["model"], chatOpts: [{}, {}] } }), "ReloadArgumentSizeUnmatchedError"],
  ["reload with options that are texts", () => ({ kind: "reload", content: { modelId: ["model"], chatOpts: ["big"] } }), INVALID],
  ["reload with a window of text", () => ({ kind: "reload", content: { modelId: ["model"], chatOpts: [{ context_window_size: "big" }] } }), INVALID],
  ["setAppConfig of null", () => ({ kind: "setAppConfig", content: null }), INVALID],
  ["setAppConfig with a list that is none", () => ({ kind: "setAppConfig", content: { model_list: "all" } }), INVALID],
  ["setAppConfig with records of nothing", () => ({ kind: "setAppConfig", content: { model_list: [{}] } }), INVALID],
  ["setLogLevel to a number", () => ({ kind: "setLogLevel", content: 3 }), INVALID],
  ["setLogLevel to a word", () => ({ kind: "setLogLevel", content: "LOUD" }), INVALID],
  ["chat without a request", () => ({ kind: "chatCompletionNonStreaming", content: {} }), INVALID],
  ["chat with a request that is null", () => ({ kind: "chatCompletionNonStreaming", content: chat(null) }), INVALID],
  ["chat without messages", () => whole({}), INVALID],
  ["chat with messages that are a text", () => whole({ messages: "hi" }), INVALID],
  ["chat with no message", () => whole({ messages: [] }), "MessageOrderError"],
  ["chat with a message that is null", () => whole({ messages: [null] }), INVALID],
  ["chat with a message of a number", () => whole({ messages: user(5) }), INVALID],
  ["chat of an unknown role", () => whole({ messages: [{ role: "wizard", content: "x" }] }), "UnsupportedRoleError|InvalidMessageError|MessageOrderError"],
  ["chat with a prompt longer than the window", () => whole({ messages: user("word ".repeat(100_000)) }), "ContextWindowSizeExceededError"],
  ["chat with n of a billion", () => whole({ messages: user("x"), n: 1e9 }), "*"],
  ["chat with a negative temperature", () => whole({ messages: user("x"), temperature: -1 }), "NonNegativeError"],
  ["chat with a temperature of text", () => whole({ messages: user("x"), temperature: "hot" }), INVALID],
  ["chat with max_tokens of -5", () => whole({ messages: user("x"), max_tokens: -5 }), "MinValueError|InvalidMessageError"],
  ["chat with max_tokens of 1e300", () => whole({ messages: user("x"), max_tokens: 1e300 }), "*"],
  ["chat with a top_p of 9", () => whole({ messages: user("x"), top_p: 9 }), "RangeError"],
  ["chat with a seed of a half", () => whole({ messages: user("x"), seed: 0.5 }), "SeedTypeError"],
  ["chat with a bias for tokens that are none", () => whole({ messages: user("x"), logit_bias: { nobody: 5 } }), "*"],
  ["chat with a bias for a token outside", () => whole({ messages: user("x"), max_tokens: 1, logit_bias: { 4000000000: 5 } }), "*"],
  ["chat with stops of numbers", () => whole({ messages: user("x"), stop: [1, 2] }), INVALID],
  ["chat with a response format that is a number", () => whole({ messages: user("x"), response_format: 5 }), INVALID],
  ["chat for a model that is not loaded", () => whole({ messages: user("x"), model: "other" }), "SpecifiedModelNotFoundError"],
  ["chat for a model that is an object", () => whole({ messages: user("x"), model: {} }), INVALID],
  ["chat with keys of prototypes", () => ({ kind: "chatCompletionNonStreaming", content: JSON.parse('{"__proto__":{"request":1},"constructor":{"prototype":1}}') }), INVALID],
  ["a stream without a name", () => ({ kind: "chatCompletionStreamInit", content: chat({ messages: user("x"), stream: true }) }), INVALID],
  ["a stream whose name is a number", () => ({ kind: "chatCompletionStreamInit", content: chat({ messages: user("x"), stream: true }, { streamId: 5 }) }), INVALID],
  ["a chunk of no stream", () => ({ kind: "completionStreamNextChunk", content: { streamId: "nothing" } }), "Error"],
  ["a chunk without a name", () => ({ kind: "completionStreamNextChunk", content: {} }), INVALID],
  ["a chunk of null", () => ({ kind: "completionStreamNextChunk", content: null }), INVALID],
  ["the end of no stream", () => ({ kind: "completionStreamReturn", content: { streamId: "nothing" } }), "return"],
  ["interruptGenerate with content", () => ({ kind: "interruptGenerate", content: deep(50, (inner) => [inner]) }), "return"],
  ["resetChat of a text", () => ({ kind: "resetChat", content: "all" }), INVALID],
  ["getMessage of an unknown model", () => ({ kind: "getMessage", content: { modelId: "other" } }), "SpecifiedModelNotFoundError"],
  ["getMessage of a number", () => ({ kind: "getMessage", content: 5 }), INVALID],
  ["keepAlive with content", () => ({ kind: "keepAlive", content: cycle() }), "*"],
  ["embedding, not there yet", () => ({ kind: "embedding", content: { request: { input: "x" } } }), "NotSupportedYetError"],
  ["hearth.hello of another version", () => ({ kind: "hearth.hello", content: { protocol: "one" } }), INVALID],
  ["hearth.hello of null", () => ({ kind: "hearth.hello", content: null }), INVALID],
  ["hearth.stream without a port", () => ({ kind: "hearth.stream", content: chat({ messages: user("x") }) }), INVALID],
  ["hearth.cancel of nothing", () => ({ kind: "hearth.cancel", content: { uuid: "nothing" } }), "return"],
  ["hearth.cancel of a number", () => ({ kind: "hearth.cancel", content: { uuid: 5 } }), INVALID],
  ["hearth.usage of a list", () => ({ kind: "hearth.usage", content: [1] }), INVALID],
  ["hearth.alive of a text", () => ({ kind: "hearth.alive", content: "me" }), "return"],
  ["uuid is missing", () => ({ kind: "reload", content: null, uuid: null }), INVALID],
  ["uuid is an object", () => ({ kind: "reload", content: null, uuid: { x: 1 } }), INVALID],
];

/** The names, in order. */
export const names = MESSAGES.map(([name]) => name);

/** Posts one message; returns what was expected, and what came: the kind of the reply, and its error's name and text. */
export async function send(index) {
  const [, make, expects] = MESSAGES[index];
  const message = make();
  const isEnvelope = typeof message === "object" && message !== null && Object.getPrototypeOf(message) === Object.prototype;
  const uuid = crypto.randomUUID();
  if (isEnvelope && !("uuid" in message)) message.uuid = uuid;
  const heard = [];
  let hear = () => undefined;
  const answer = new Promise((resolve) => {
    hear = ({ data }) => {
      const isAboutOther = data?.kind === "heartbeat" && data.uuid !== uuid;
      if (data?.kind === "initProgressCallback" || data?.uuid === "after" || isAboutOther) return;
      heard.push(data);
      resolve();
    };
  });
  const container = navigator.serviceWorker;
  container.addEventListener("message", hear);
  container.controller.postMessage(message);
  if (expects === "silence") await afterwards();
  else await answer;
  container.removeEventListener("message", hear);
  return heard.map((reply) => ({
    expects,
    kind: reply.kind,
    isOurs: reply.uuid === (typeof message.uuid === "string" ? message.uuid : ""),
    name: reply.error?.name ?? "",
    text: typeof reply.content === "string" ? reply.content : "",
    message: reply.error?.message ?? "",
  })).concat(heard.length === 0 ? [{ expects, kind: "silence" }] : []);
}

/** The worker has read what was posted before: it answers something that takes as long. */
function afterwards() {
  return new Promise((resolve) => {
    const container = navigator.serviceWorker;
    const hear = ({ data }) => {
      if (data?.uuid !== "after") return;
      container.removeEventListener("message", hear);
      resolve();
    };
    container.addEventListener("message", hear);
    container.controller.postMessage({ kind: "completionStreamReturn", uuid: "after", content: { streamId: "nothing" } });
  });
}
