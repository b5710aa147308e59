// The settings sheet, and what this browser remembers of it.

import { byId, count } from "./dom.js";

const KEY = "hearth-demo-settings";

/** Fields by their name in storage. A number input stands for a number, anything else for its text. */
const FIELDS = {
  system: byId("system"),
  temperature: byId("temperature"),
  maxTokens: byId("max-tokens"),
  policy: byId("policy"),
  window: byId("window"),
  budget: byId("budget"),
};

export class SettingsSheet {
  #sheet = byId("settings");

  constructor() {
    this.#restore();
    this.#showTemperature();
    this.#sheet.addEventListener("input", () => {
      this.#showTemperature();
      this.#save();
    });
    document.addEventListener("pointerdown", (event) => {
      if (!this.#sheet.contains(event.target)) this.#sheet.open = false;
    });
  }

  get isOpen() {
    return this.#sheet.open;
  }

  close() {
    this.#sheet.open = false;
    this.#sheet.querySelector("summary").focus();
  }

  /** @returns {{system: string, temperature: number, maxTokens: number}} */
  read() {
    const maxTokens = Math.round(FIELDS.maxTokens.valueAsNumber);
    return {
      system: FIELDS.system.value.trim(),
      temperature: FIELDS.temperature.valueAsNumber,
      maxTokens: Number.isFinite(maxTokens) ? Math.min(2048, Math.max(1, maxTokens)) : 256,
    };
  }

  /** What concerns the context of this tab. @returns {import("/hearth/index.js").ChatOptions} */
  readChatOptions() {
    const window = Number(FIELDS.window.value);
    const budget = FIELDS.budget.value;
    return {
      ...(window > 0 ? { context_window_size: window } : {}),
      hearth: {
        overflowPolicy: FIELDS.policy.value,
        tabBudgetTokens: budget === "fair" ? "fair" : Number(budget),
      },
    };
  }

  /** The window that the model has by itself is known: larger ones are not offered. @param {number} windowTokens of this tab now */
  limitWindows(windowTokens) {
    const [whole, ...others] = FIELDS.window.options;
    if (FIELDS.window.value !== whole.value) return;
    whole.textContent = `The model's: ${count(windowTokens)}`;
    for (const option of others) if (Number(option.value) >= windowTokens) option.remove();
  }

  #restore() {
    let saved;
    try {
      saved = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    } catch {
      // Storage may be off, or hold what an older page wrote: the defaults of the form stay.
      return;
    }
    for (const [name, field] of Object.entries(FIELDS)) {
      const value = saved?.[name];
      if (typeof value !== "string" && typeof value !== "number") continue;
      const before = field.value;
      field.value = String(value);
      // A select shows nothing at all for a value that it does not offer.
      if (field.value === "" && before !== "") field.value = before;
    }
  }

  #save() {
    try {
      localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(Object.entries(FIELDS).map(([name, { value }]) => [name, value]))));
    } catch {
      // Then they hold for this visit only.
    }
  }

  #showTemperature() {
    byId("temperature-value").value = FIELDS.temperature.value;
  }
}
