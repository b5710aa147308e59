// The page: loads the model through the service worker, and shows either the chat or the long document, with the panel beside it.

import { Chat } from "./chat.js";
import { DocumentView } from "./document.js";
import { byId } from "./dom.js";
import { explain, findObstacle } from "./environment.js";
import { MODEL_ID, openEngine } from "./model.js";
import { Panel } from "./panel.js";
import { hideTrouble, showTrouble } from "./trouble.js";

const chat = new Chat();
const documentView = new DocumentView();
const panel = new Panel();

async function load() {
  hideTrouble();
  byId("load").hidden = false;
  const obstacle = findObstacle();
  if (obstacle !== undefined) return fail(obstacle, () => location.reload());
  let engine;
  try {
    engine = await openEngine(chat.settings.readChatOptions(), showLoading);
  } catch (error) {
    return fail(explain(error, "loading the model"), () => void load());
  }
  byId("load").hidden = true;
  documentView.attach(engine);
  panel.attach(engine);
  await chat.attach(engine);
}

/** @param {import("./environment.js").Trouble} trouble @param {() => void} retry */
function fail(trouble, retry) {
  byId("load").hidden = true;
  showTrouble(trouble, retry);
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

/** Anything but `#document` is the chat: the skip link goes to a field of it. */
function route() {
  const isDocument = location.hash === "#document";
  document.body.classList.toggle("on-document", isDocument);
  byId("chat-view").hidden = isDocument;
  byId("desk").hidden = isDocument;
  byId("document-view").hidden = !isDocument;
  for (const [id, isHere] of Object.entries({ "to-chat": !isDocument, "to-document": isDocument })) {
    if (isHere) byId(id).setAttribute("aria-current", "page");
    else byId(id).removeAttribute("aria-current");
  }
}

addEventListener("hashchange", route);
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (chat.settings.isOpen) chat.settings.close();
  else if (panel.hasFocus) panel.close();
  else if (location.hash === "#document") documentView.cancel();
  else chat.stop();
});

route();
if (location.hash !== "#document") chat.focus();
void load();
