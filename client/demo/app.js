// The page: loads the model through the service worker, sends what is written, shows what comes back.

import { CreateServiceWorkerMLCEngine } from "/hearth/index.js";
import { Conversation } from "./conversation.js";
import { byId, swap } from "./dom.js";
import { explain, findObstacle } from "./environment.js";
import { Numbers } from "./numbers.js";
import { SettingsSheet } from "./settings.js";
import { Speech } from "./speech.js";

const MODEL_ID = "SmolLM2-135M-Instruct";
const MODEL_URL = new URL("/models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf", location.href).href;
const WORKER_URL = "/hearth/hearth-sw.js";

const prompt = byId("prompt");
const conversation = new Conversation();
const settings = new SettingsSheet();
const speech = new Speech(byId("spoken"));

let engine;
let numbers;
/** Aborts the answer that is being written; undefined while there is none. @type {AbortController | undefined} */
let answering;

async function load() {
  byId("trouble").hidden = true;
  byId("load").hidden = false;
  const obstacle = findObstacle();
  if (obstacle !== undefined) return showTrouble(obstacle, () => location.reload());
  try {
    engine = await CreateServiceWorkerMLCEngine(MODEL_ID, {
      appConfig: { model_list: [{ model: MODEL_URL, model_id: MODEL_ID }] },
      initProgressCallback: showLoading,
      hearth: { serviceWorkerUrl: WORKER_URL },
    });
  } catch (error) {
    return showTrouble(explain(error, "loading the model"), () => void load());
  }
  numbers = new Numbers(engine);
  byId("load").hidden = true;
  byId("ideas").hidden = false;
  byId("send").disabled = false;
  byId("new-chat").disabled = false;
  byId("welcome").hidden = conversation.messages.length > 0;
  speech.say("The model is ready.");
  void numbers.refresh();
}

/** @param {import("/hearth/index.js").InitProgressReport} report */
function showLoading({ progress, text }) {
  const bar = byId("load-bar");
  const line = byId("load-text");
  if (progress === 0) bar.removeAttribute("value");
  else bar.value = Math.round(progress * 100);
  const megabytes = /(\d+)MB (fetched|loaded)/.exec(text);
  if (megabytes?.[2] === "fetched") {
    line.textContent = `Downloading the model: ${megabytes[1]} MB, ${bar.value} %. Only the first visit does this.`;
  } else if (megabytes?.[2] === "loaded") line.textContent = `Moving the model to the GPU: ${bar.value} %`;
  else if (text.startsWith("Loading GPU shader")) line.textContent = `Preparing the GPU: ${bar.value} %`;
  else if (text.startsWith("Finish loading on ")) {
    line.textContent = "Ready.";
    byId("model-line").textContent = `${MODEL_ID} on ${text.slice("Finish loading on ".length)}`;
  } else line.textContent = "Starting…";
}

/** Sends what the person wrote. @param {string} text */
function send(text) {
  if (engine === undefined || answering !== undefined || text.trim() === "") return;
  byId("welcome").hidden = true;
  prompt.value = "";
  fitPrompt();
  conversation.addUser(text.trim());
  void answer();
}

/** Asks for the answer to the conversation as it stands. */
async function answer() {
  byId("trouble").hidden = true;
  answering = new AbortController();
  const { signal } = answering;
  const { system, temperature, maxTokens } = settings.read();
  const turn = conversation.addAssistant();
  swap(byId("stop"), byId("send"));
  speech.begin();
  numbers.start();
  let text = "";
  let numTokens = 0;
  let firstTokenMs = 0;
  let reason = null;
  try {
    const chunks = await engine.chat.completions.create({
      messages: [...(system === "" ? [] : [{ role: "system", content: system }]), ...conversation.messages],
      temperature,
      max_tokens: maxTokens,
      stream: true,
      stream_options: { include_usage: true },
      signal,
    });
    for await (const { choices, usage } of chunks) {
      const [choice] = choices;
      const delta = choice?.delta.content ?? "";
      reason = choice?.finish_reason ?? reason;
      if (delta !== "") {
        text += delta;
        numTokens += 1;
        firstTokenMs ||= performance.now();
        numbers.showProgress(numTokens - 1, performance.now() - firstTokenMs);
        turn.show(text);
        speech.progress(text);
      }
      if (usage !== undefined) numbers.showUsage(usage);
    }
    const note = reason === "length" ? "The answer reached its longest length; it can be changed in the settings." : undefined;
    turn.finish(text, note);
    speech.end(text, note ?? "End of the answer.");
  } catch (error) {
    const isStopped = signal.aborted;
    turn.finish(text, isStopped ? "You stopped this answer." : undefined);
    speech.end("", isStopped ? "Stopped." : undefined);
    if (!isStopped) showTrouble(explain(error, "answering"), askAgain);
  } finally {
    answering = undefined;
    swap(byId("send"), byId("stop"));
    numbers.stop();
    prompt.focus({ preventScroll: true });
  }
}

function askAgain() {
  conversation.dropAnswer();
  void answer();
}

function stop() {
  answering?.abort();
}

async function newChat() {
  stop();
  conversation.clear();
  byId("trouble").hidden = true;
  byId("welcome").hidden = false;
  numbers.clear();
  prompt.focus();
  await engine.resetChat().catch((error) => showTrouble(explain(error, "starting a new chat"), () => void newChat()));
  void numbers.refresh();
}

/** @param {import("./environment.js").Trouble} trouble @param {() => void} retry */
function showTrouble({ title, text, steps, details, canRetry }, retry) {
  byId("load").hidden = true;
  byId("trouble-title").textContent = title;
  byId("trouble-text").textContent = text;
  byId("trouble-steps").replaceChildren(
    ...steps.map((step) => Object.assign(document.createElement("li"), { textContent: step })),
  );
  byId("trouble-steps").hidden = steps.length === 0;
  byId("trouble-more").hidden = details === undefined;
  byId("trouble-details").textContent = details ?? "";
  byId("trouble-retry").hidden = canRetry !== true;
  byId("trouble-retry").onclick = () => {
    byId("trouble").hidden = true;
    retry();
  };
  byId("trouble").hidden = false;
  byId("trouble").scrollIntoView({ block: "nearest" });
}

/** For browsers that do not grow a text field with its text. */
function fitPrompt() {
  if (CSS.supports("field-sizing", "content")) return;
  prompt.style.height = "auto";
  prompt.style.height = `${prompt.scrollHeight}px`;
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send(prompt.value);
});
prompt.addEventListener("input", fitPrompt);
prompt.addEventListener("keydown", (event) => {
  // While an input method is composing, Enter belongs to it.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send(prompt.value);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (settings.isOpen) settings.close();
  else stop();
});
byId("stop").addEventListener("click", stop);
byId("new-chat").addEventListener("click", () => void newChat());
byId("ideas").addEventListener("click", (event) => {
  if (event.target instanceof HTMLButtonElement) send(event.target.textContent);
});

conversation.restore();
prompt.focus();
void load();
