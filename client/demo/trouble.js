// The one place where the page says what went wrong and what can be done.

import { byId, make } from "./dom.js";

export function hideTrouble() {
  byId("trouble").hidden = true;
}

/** @param {import("./environment.js").Trouble} trouble @param {() => void} retry */
export function showTrouble({ title, text, steps, details, canRetry }, retry) {
  byId("trouble-title").textContent = title;
  byId("trouble-text").textContent = text;
  byId("trouble-steps").replaceChildren(...steps.map((step) => make("li", {}, step)));
  byId("trouble-steps").hidden = steps.length === 0;
  byId("trouble-more").hidden = details === undefined;
  byId("trouble-details").textContent = details ?? "";
  byId("trouble-retry").hidden = canRetry !== true;
  byId("trouble-retry").onclick = () => {
    hideTrouble();
    retry();
  };
  byId("trouble").hidden = false;
  byId("trouble").scrollIntoView({ block: "nearest" });
}
