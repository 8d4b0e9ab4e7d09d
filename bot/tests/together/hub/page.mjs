// Runs the hub's page on as much of a browser as it uses, without layout.
//
// In: {html, steps: [{document, now}]}; out: for each step the page's title, state and cards as trees.
import {readFileSync} from "node:fs";
import vm from "node:vm";

const {html, steps} = JSON.parse(readFileSync(0, "utf8"));

class Element {
  constructor(name, id = "") {
    Object.assign(this, {tagName: name, id, className: "", hidden: false, children: [], dataset: {}, options: [], value: ""});
    this.classList = {contains: (word) => this.className.split(" ").includes(word)};
  }
  get textContent() { return this.children.map((one) => one.textContent ?? one).join(""); }
  set textContent(text) { this.children = [String(text)]; }
  append(...children) {
    for (const one of children) if (one instanceof Element) one.parentElement = this;
    this.children.push(...children);
  }
  replaceChildren(...children) { this.children = []; this.append(...children); }
  setAttribute() {}
  addEventListener() {}
  all() { return [this, ...this.children.flatMap((one) => (one instanceof Element ? one.all() : []))]; }
  tree() { return {name: this.tagName, class: this.className, children: this.children.map((one) => (one instanceof Element ? one.tree() : one))}; }
}
const byId = {};
for (const [, name, id] of html.matchAll(/<(\w+)[^>]*\sid="([\w-]+)"/g)) byId[id] = new Element(name, id);
const page = {
  title: "",
  getElementById: (id) => byId[id],
  createElement: (name) => new Element(name),
  createElementNS: (_space, name) => new Element(name),
  querySelectorAll: () => ["bots", "programs"].flatMap((id) => byId[id].all()).filter((one) => "heard" in one.dataset),
};
let now = 0, given = null, hear = null;
const timers = [];
class Clock extends Date { static now() { return now; } }
class EventSource { addEventListener(_name, act) { hear = act; } close() {} }
const context = {
  document: page, Date: Clock, EventSource, console, setTimeout,
  setInterval: (act, every) => timers.push([act, every]),
  fetch: async () => ({ok: true, status: 200, headers: {get: () => new Date(now).toUTCString()}, json: async () => structuredClone(given)}),
};
const results = [];
for (const step of steps) {
  now = step.now;
  if (step.document) given = step.document;
  if (hear === null) vm.runInNewContext(html.match(/<script>([\s\S]*?)<\/script>/)[1], context);
  else if (step.document) hear({data: JSON.stringify(given)});
  await new Promise((done) => { setTimeout(done, 20); });
  for (const [act, every] of timers) if (every === 1000) act();
  results.push({
    title: page.title, state: byId.state.textContent, heading: !byId["programs-title"].hidden,
    bots: byId.bots.children.map((one) => one.tree()), programs: byId.programs.children.map((one) => one.tree()),
    texts: byId.programs.children.map((one) => one.textContent),
  });
}
console.log(JSON.stringify(results));
process.exit(0);
