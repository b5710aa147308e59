// Markdown to DOM nodes. Owns what a model's text may become: only the elements made here, all of its text as text nodes,
// links only to http(s) and mail. There is no innerHTML anywhere, so nothing that a model writes is ever parsed as HTML.

/** @param {string} text @returns {DocumentFragment} */
export function renderMarkdown(text) {
  const fragment = document.createDocumentFragment();
  renderBlocks(text.replace(/\r\n?/g, "\n").split("\n"), fragment, 0);
  return fragment;
}

/** Deeper nesting than this is shown as plain text: a model that goes wrong may nest for ever. */
const MAX_DEPTH = 8;

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}>\s?/;
const ITEM = /^( {0,8})([-*+]|(\d{1,9})[.)])\s+(.*)$/;
const TABLE_RULE = /^ *\|?(?: *:?-+:? *\|)+ *:?-*:? *$/;

/** @param {string[]} lines @param {Node} parent @param {number} depth */
function renderBlocks(lines, parent, depth) {
  if (depth > MAX_DEPTH) return void parent.appendChild(document.createTextNode(lines.join("\n")));
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === "") at += 1;
    else if (FENCE.test(line)) at = renderCode(lines, at, parent);
    else if (RULE.test(line)) at = (parent.appendChild(document.createElement("hr")), at + 1);
    else if (HEADING.test(line)) at = renderHeading(line, at, parent);
    else if (QUOTE.test(line)) at = renderQuote(lines, at, parent, depth);
    else if (ITEM.test(line)) at = renderList(lines, at, parent, depth);
    else if (isTable(lines, at)) at = renderTable(lines, at, parent);
    else at = renderParagraph(lines, at, parent);
  }
}

function renderCode(lines, start, parent) {
  const [, fence, language] = FENCE.exec(lines[start]);
  let end = start + 1;
  // A block that is still being written has no closing fence yet: it goes to the end.
  while (end < lines.length && !lines[end].trimStart().startsWith(fence)) end += 1;
  const text = lines.slice(start + 1, end).join("\n");
  const code = element("code", text);
  const copy = element("button", "Copy");
  copy.type = "button";
  copy.addEventListener("click", () => void navigator.clipboard.writeText(text).then(() => (copy.textContent = "Copied")));
  const caption = element("figcaption");
  caption.append(element("span", language || "code"), copy);
  const pre = element("pre");
  // Long lines scroll: the keyboard must reach them too.
  pre.tabIndex = 0;
  pre.append(code);
  const figure = element("figure");
  figure.append(caption, pre);
  parent.appendChild(figure);
  return end + 1;
}

function renderHeading(line, at, parent) {
  const [, marks, text] = HEADING.exec(line);
  // The page has a heading of its own above the conversation.
  const heading = element(`h${Math.min(6, marks.length + 2)}`);
  renderInline(text, heading);
  parent.appendChild(heading);
  return at + 1;
}

function renderQuote(lines, start, parent, depth) {
  let end = start;
  while (end < lines.length && (QUOTE.test(lines[end]) || (end > start && isPlain(lines, end)))) end += 1;
  const quote = element("blockquote");
  renderBlocks(lines.slice(start, end).map((line) => line.replace(QUOTE, "")), quote, depth + 1);
  parent.appendChild(quote);
  return end;
}

function renderList(lines, start, parent, depth) {
  const [, indent, , number] = ITEM.exec(lines[start]);
  const list = element(number === undefined ? "ul" : "ol");
  if (number !== undefined && number !== "1") list.start = Number(number);
  let at = start;
  while (at < lines.length) {
    const match = ITEM.exec(lines[at]);
    if (match === null || match[1].length > indent.length + 1 || (match[3] === undefined) !== (number === undefined)) break;
    if (match[1].length < indent.length) break;
    const inner = [match[4]];
    const deeper = indent.length + 2;
    at += 1;
    while (at < lines.length) {
      const line = lines[at];
      const isInside = line.startsWith(" ".repeat(deeper)) || (isPlain(lines, at) && lines[at - 1].trim() !== "");
      const isGap = line.trim() === "" && at + 1 < lines.length && lines[at + 1].startsWith(" ".repeat(deeper));
      if (!isInside && !isGap) break;
      inner.push(line.startsWith(" ".repeat(deeper)) ? line.slice(deeper).replace(/^ (?=[-*+]|\d)/, "") : line);
      at += 1;
    }
    const item = element("li");
    renderItem(inner, item, depth);
    list.append(item);
    // One empty line may stand between items.
    if (lines[at]?.trim() === "" && ITEM.test(lines[at + 1] ?? "")) at += 1;
  }
  parent.appendChild(list);
  return at;
}

/** An item of one paragraph is written without the paragraph's margins. */
function renderItem(lines, item, depth) {
  renderBlocks(lines, item, depth + 1);
  const first = item.firstElementChild;
  if (first?.localName === "p") first.replaceWith(...first.childNodes);
}

function isTable(lines, at) {
  return lines[at].includes("|") && TABLE_RULE.test(lines[at + 1] ?? "") && lines[at + 1].includes("-");
}

function renderTable(lines, start, parent) {
  const sides = cells(lines[start + 1]).map((cell) =>
    cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "end") : "",
  );
  const table = element("table");
  const row = (line, name) => {
    const tr = element("tr");
    cells(line).slice(0, sides.length).forEach((text, column) => {
      const cell = element(name);
      if (sides[column] !== "") cell.className = sides[column];
      renderInline(text, cell);
      tr.append(cell);
    });
    return tr;
  };
  const head = element("thead");
  head.append(row(lines[start], "th"));
  const body = element("tbody");
  let at = start + 2;
  for (; at < lines.length && lines[at].includes("|"); at += 1) body.append(row(lines[at], "td"));
  table.append(head, body);
  const frame = element("div");
  frame.className = "table";
  frame.append(table);
  parent.appendChild(frame);
  return at;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function renderParagraph(lines, start, parent) {
  let end = start + 1;
  while (end < lines.length && isPlain(lines, end)) end += 1;
  const paragraph = element("p");
  renderInline(lines.slice(start, end).join("\n"), paragraph);
  parent.appendChild(paragraph);
  return end;
}

/** A line that goes on with the paragraph before it. */
function isPlain(lines, at) {
  const line = lines[at];
  const begins = [FENCE, RULE, HEADING, QUOTE, ITEM].some((pattern) => pattern.test(line));
  return line.trim() !== "" && !begins && !isTable(lines, at);
}

/** In order of precedence: escape, code, link, strong, emphasis, strike, hard break. */
const INLINE =
  /\\([\\`*_{}[\]()#+\-.!~|>])|(`+)(?!`)([^`]|[^`][\s\S]{0,2000}?[^`])\2(?!`)|\[([^\]\n]{1,500})\]\(([^()\s]{1,2000})\)|(\*\*|__)(?=\S)([\s\S]{0,2000}?\S)\6(?!\w)|(\*|(?<!\w)_)(?=[^\s*_])([^*\n]{0,2000}?[^\s*])\8(?!\w)|~~(?=\S)([^~\n]{1,2000}?)~~|( {2,}|\\)?\n/;

/** @param {string} text @param {Node} parent @param {number} [depth] */
function renderInline(text, parent, depth = 0) {
  let rest = text;
  while (rest !== "") {
    const match = depth > MAX_DEPTH ? null : INLINE.exec(rest);
    if (match === null) return void parent.appendChild(document.createTextNode(rest));
    parent.appendChild(document.createTextNode(rest.slice(0, match.index)));
    const [whole, escaped, , code, label, target, , strong, , emphasis, strike] = match;
    if (escaped !== undefined) parent.appendChild(document.createTextNode(escaped));
    else if (code !== undefined) parent.appendChild(element("code", code));
    else if (target !== undefined) parent.appendChild(link(label, target, whole));
    else if (strong !== undefined) renderInline(strong, parent.appendChild(element("strong")), depth + 1);
    else if (emphasis !== undefined) renderInline(emphasis, parent.appendChild(element("em")), depth + 1);
    else if (strike !== undefined) renderInline(strike, parent.appendChild(element("s")), depth + 1);
    else parent.appendChild(whole === "\n" ? document.createTextNode("\n") : document.createElement("br"));
    rest = rest.slice(match.index + whole.length);
  }
}

/** A link to the web, or the characters as they were written. */
function link(label, target, whole) {
  const url = URL.canParse(target) ? new URL(target) : undefined;
  if (url === undefined || !["http:", "https:", "mailto:"].includes(url.protocol)) return document.createTextNode(whole);
  const anchor = element("a", label);
  anchor.href = url.href;
  anchor.rel = "noopener noreferrer nofollow";
  anchor.target = "_blank";
  return anchor;
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}
