// Runs the page's own script on as much of a browser as it uses, without layout.
//
// In: {html, hash, steps}; each step {answers: {path: document or null}, click, key, span, bytes, now, http: status, tag and body}. Out: for each
// step what every element with an id says, and how often it was written to.
import {readFileSync} from "node:fs";
import vm from "node:vm";

const {html, hash, steps} = JSON.parse(readFileSync(0, "utf8"));

class Element {
  constructor(name, attributes = {}) {
    this.tagName = name;
    this.attributes = {...attributes};
    this.className = attributes.class ?? "";
    this.hidden = "hidden" in attributes;
    this.style = {};
    this.children = [];
    this.listeners = {};
    this.writes = 0;
    this.clientWidth = 700;
  }
  get textContent() { return this.children.map((one) => (typeof one === "string" ? one : one.textContent)).join(""); }
  set textContent(text) { this.writes += 1; this.children = [String(text)]; }
  get lastChild() { return this.children.at(-1); }
  append(...children) { this.children.push(...children.map((one) => (one instanceof Element ? one : String(one)))); }
  replaceChildren(...children) { this.writes += 1; this.children = []; this.append(...children); }
  setAttribute(name, value) { this.attributes[name] = String(value); }
  addEventListener(name, act) { this.listeners[name] = act; }
  focus() { document.activeElement = this; }
  click() { this.listeners.click(); }
  getComputedTextLength() { return 6 * this.textContent.length; }
  tree() {
    return {name: this.tagName, class: this.className, attributes: this.attributes,
      children: this.children.map((one) => (typeof one === "string" ? one : one.tree()))};
  }
}

const byId = {};
for (const [, name, rest] of html.matchAll(/<(\w+)((?:\s+[\w-]+(?:="[^"]*")?)*)\s*>/g)) {
  const attributes = {};
  for (const [, key, value] of rest.matchAll(/([\w-]+)(?:="([^"]*)")?/g)) attributes[key] = value ?? "";
  if (attributes.id) byId[attributes.id] = new Element(name, attributes);
}
const document = {
  title: "", hidden: false,
  getElementById: (id) => byId[id] ?? null,
  createElement: (name) => new Element(name),
  createElementNS: (_space, name) => new Element(name),
};
let answers = {}, asked = [], bytes = null, http = null, requested = null, tick = null, resize = null;
let now = null;
class Clock extends Date {
  constructor(...when) { super(...(when.length ? when : [Clock.now()])); }
  static now() { return now ?? Date.now(); }
}
const context = {
  document, console, Date: Clock,
  location: {hash: hash ?? ""},
  history: {replaceState: (_state, _title, url) => { context.location.hash = url; }},
  window: {addEventListener: (name, act) => { if (name === "resize") resize = act; }},
  AbortSignal: {timeout: () => null},
  fetch: async (path, {headers: sent}) => {
    asked.push(path);
    if (http && path === "/api/page") {
      const [status, tag, body] = http;
      requested = sent ?? null;
      return {status, headers: {get: (name) => (name === "ETag" ? tag : null)}, json: async () => structuredClone(body)};
    }
    if (!answers[path]) throw new TypeError("no answer");
    return {status: 200, headers: {get: (name) => (name === "Content-Length" ? bytes : null)}, json: async () => structuredClone(answers[path])};
  },
  setInterval: (act) => { tick = act; },
};
const settled = () => new Promise((done) => { setTimeout(done, 20); });
const results = [];
for (const step of steps) {
  [answers, asked, bytes, now, http] = [step.answers, [], step.bytes, step.now, step.http];
  if (tick === null) {
    vm.runInNewContext(html.match(/<script>([\s\S]*?)<\/script>/)[1], context);
  } else tick();
  await settled();
  if (step.click) {
    const tab = byId.grids.children.find((one) => one.textContent.startsWith(step.click));
    tab.focus();
    tab.click();
    resize();
  }
  if (step.span) byId.spans.children.find((one) => one.textContent === step.span).click();
  if (step.key) byId.grids.listeners.keydown({key: step.key});
  results.push({
    asked, requested, title: document.title, focus: document.activeElement?.textContent ?? null, hash: context.location.hash,
    ids: Object.fromEntries(Object.entries(byId).map(([id, one]) => [id, {
      text: one.textContent, hidden: one.hidden, class: one.className, writes: one.writes,
      style: one.style, tree: one.tree(),
    }])),
  });
}
console.log(JSON.stringify(results));
