// The chat: sends what is written in the branch that is shown, writes down what comes back, and says what the model saw of it.

import { Branches } from "./branches.js";
import { byId, swap } from "./dom.js";
import { explain } from "./environment.js";
import { MODEL_ID } from "./model.js";
import { Numbers } from "./numbers.js";
import { ReadAhead } from "./read-ahead.js";
import { describeContext } from "./sentences.js";
import { SettingsSheet } from "./settings.js";
import { Speech } from "./speech.js";
import { hideTrouble, showTrouble } from "./trouble.js";

const TITLE = document.title;
const MAX_TITLE_CHARACTERS = 40;

export class Chat {
  settings = new SettingsSheet();
  speech = new Speech(byId("spoken"));
  #prompt = byId("prompt");
  #branches = new Branches();
  #numbers = new Numbers(() => this.#engineOf(this.#branches.active));
  #readAhead = new ReadAhead({
    canRead: () => this.#engine !== undefined && this.#shown.answering === undefined && this.#shown.conversation.messages.length > 0,
    read: (draft, signal) => this.#read(draft, signal),
  });
  #engine;
  /** The options that the worker was last told, as JSON. */
  #applied = "";

  constructor() {
    this.#branches.onSwitch = () => this.#showBranch();
    this.#listen();
    this.#showBranch();
  }

  /** The model is there. @param {any} engine */
  async attach(engine) {
    this.#engine = engine;
    this.#applied = JSON.stringify(this.settings.readChatOptions());
    this.#branches.attach(engine);
    byId("ideas").hidden = false;
    byId("send").disabled = false;
    byId("new-chat").disabled = false;
    this.#showBranch();
    this.speech.say("The model is ready.");
    await this.#numbers.refresh();
    const usage = await engine.contextUsage().catch(() => undefined);
    if (usage !== undefined) this.settings.limitWindows(usage.window);
  }

  /** Stops the answer that is being written in the branch that is shown. */
  stop() {
    this.#shown.answering?.abort();
  }

  focus() {
    this.#prompt.focus({ preventScroll: true });
  }

  get #shown() {
    return this.#branches.active;
  }

  #listen() {
    const prompt = this.#prompt;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(prompt.value);
    });
    prompt.addEventListener("input", () => {
      this.#fitPrompt();
      this.#readAhead.notice(prompt.value);
    });
    prompt.addEventListener("keydown", (event) => {
      // While an input method is composing, Enter belongs to it.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send(prompt.value);
    });
    byId("stop").addEventListener("click", () => this.stop());
    byId("new-chat").addEventListener("click", () => void this.#newChat());
    byId("ideas").addEventListener("click", (event) => {
      if (event.target instanceof HTMLButtonElement) this.#send(event.target.textContent);
    });
  }

  /** @param {string} text */
  #send(text) {
    if (this.#engine === undefined || this.#shown.answering !== undefined || text.trim() === "") return;
    this.#readAhead.cancel();
    byId("welcome").hidden = true;
    this.#prompt.value = "";
    this.#fitPrompt();
    this.#shown.conversation.addUser(text.trim());
    this.#nameTab();
    void this.#answer(this.#shown);
  }

  /** Asks for the answer to a branch's conversation as it stands. @param {import("./branches.js").Branch} branch */
  async #answer(branch) {
    hideTrouble();
    const { conversation } = branch;
    branch.answering = new AbortController();
    const { signal } = branch.answering;
    const { temperature, maxTokens } = this.settings.read();
    const messages = this.#messagesOf(branch);
    const numMessages = conversation.messages.length;
    const turn = conversation.addAssistant();
    this.#showButtons();
    this.speech.begin();
    this.#numbers.start();
    let text = "";
    let numTokens = 0;
    let firstTokenMs = 0;
    let reason = null;
    try {
      const engine = await this.#engineOf(branch);
      await this.#applyOptions();
      const chunks = await engine.chat.completions.create({
        messages,
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
          this.#numbers.showProgress(numTokens - 1, performance.now() - firstTokenMs);
          turn.show(text);
          this.speech.progress(text);
        }
        if (usage) {
          this.#numbers.showUsage(usage);
          branch.report = usage.extra.context;
        }
      }
      const note = reason === "length" ? "The answer reached its longest length; it can be changed in the settings." : undefined;
      turn.finish(text, note);
      this.#showHorizon(branch, numMessages);
      this.speech.end(text, note ?? "End of the answer.");
    } catch (error) {
      const isStopped = signal.aborted;
      turn.finish(text, isStopped ? "You stopped this answer." : undefined);
      this.speech.end("", isStopped ? "Stopped." : undefined);
      if (!isStopped) showTrouble(explain(error, "answering"), () => this.#askAgain(branch));
    } finally {
      branch.answering = undefined;
      this.#showButtons();
      this.#numbers.stop();
      if (branch === this.#shown && !byId("chat-view").hidden) this.focus();
    }
  }

  #askAgain(branch) {
    branch.conversation.dropAnswer();
    void this.#answer(branch);
  }

  /** Says in the conversation what the model no longer sees of it. */
  #showHorizon({ conversation, report }, numMessages) {
    const text = describeContext(report, numMessages);
    if (text === undefined) return conversation.hideHorizon();
    conversation.showHorizon(report.dropped_messages ?? 0, text);
    this.speech.say(text);
  }

  /** @param {string} draft @param {AbortSignal} signal */
  async #read(draft, signal) {
    const branch = this.#shown;
    const engine = await this.#engineOf(branch);
    await this.#applyOptions();
    signal.throwIfAborted();
    const messages = [...this.#messagesOf(branch), { role: "user", content: draft.trimEnd() }];
    const { cachedTokens } = await engine.append(messages, { signal });
    if (signal.aborted || branch !== this.#shown) return;
    this.#numbers.showReused(cachedTokens);
    await this.#numbers.refresh();
  }

  #messagesOf({ conversation }) {
    const { system } = this.settings.read();
    return [...(system === "" ? [] : [{ role: "system", content: system }]), ...conversation.messages];
  }

  #engineOf(branch) {
    return this.#engine === undefined ? Promise.reject(new Error("no model yet")) : this.#branches.engineOf(branch);
  }

  /** Settings of the context belong to the tab with all its branches, not to a request: they are told when they have changed. */
  async #applyOptions() {
    const options = this.settings.readChatOptions();
    const json = JSON.stringify(options);
    if (this.#applied === json) return;
    await this.#engine.reload(MODEL_ID, options);
    this.#applied = json;
  }

  async #newChat() {
    this.#readAhead.cancel();
    this.stop();
    this.#branches.clear();
    hideTrouble();
    this.#numbers.clear();
    this.#nameTab();
    this.#prompt.focus();
    await this.#engine.resetChat().catch((error) => showTrouble(explain(error, "starting a new chat"), () => void this.#newChat()));
    await this.#numbers.refresh();
  }

  #showBranch() {
    byId("welcome").hidden = this.#shown.conversation.messages.length > 0;
    this.#readAhead.cancel();
    this.#showButtons();
    this.#nameTab();
    void this.#numbers.refresh();
  }

  #showButtons() {
    if (this.#shown.answering === undefined) swap(byId("send"), byId("stop"));
    else swap(byId("stop"), byId("send"));
  }

  /** Other tabs list this one by its title. */
  #nameTab() {
    const asked = this.#shown.conversation.messages[0]?.content;
    document.title = asked === undefined ? TITLE : `${TITLE}: ${asked.slice(0, MAX_TITLE_CHARACTERS)}`;
  }

  /** For browsers that do not grow a text field with its text. */
  #fitPrompt() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#prompt.style.height = "auto";
    this.#prompt.style.height = `${this.#prompt.scrollHeight}px`;
  }
}
