// The settings sheet, and what this browser remembers of it.

import { byId } from "./dom.js";

const KEY = "hearth-demo-settings";

/** @typedef {{system: string, temperature: number, maxTokens: number}} Settings */

export class SettingsSheet {
  #sheet = byId("settings");
  #system = byId("system");
  #temperature = byId("temperature");
  #maxTokens = byId("max-tokens");

  constructor() {
    this.#restore();
    this.#showTemperature();
    this.#sheet.addEventListener("input", () => {
      this.#showTemperature();
      localStorage.setItem(KEY, JSON.stringify(this.read()));
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

  /** @returns {Settings} */
  read() {
    const maxTokens = Math.round(this.#maxTokens.valueAsNumber);
    return {
      system: this.#system.value.trim(),
      temperature: this.#temperature.valueAsNumber,
      maxTokens: Number.isFinite(maxTokens) ? Math.min(2048, Math.max(1, maxTokens)) : 256,
    };
  }

  #restore() {
    let saved;
    try {
      saved = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    } catch {
      // Storage may be off, or hold what an older page wrote: the defaults of the form stay.
      return;
    }
    if (typeof saved?.system === "string") this.#system.value = saved.system;
    if (typeof saved?.temperature === "number") this.#temperature.value = String(saved.temperature);
    if (typeof saved?.maxTokens === "number") this.#maxTokens.value = String(saved.maxTokens);
  }

  #showTemperature() {
    byId("temperature-value").value = this.#temperature.value;
  }
}
