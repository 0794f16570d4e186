// The script of the page on which people check labels: decisions, undo, filters, storage in the browser, CSV.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const items = data.items, columns = ["path", "sha256", "decision", "label", "note"];
const decisions = ["label", "new_class", "drop", "unsure"];
const $ = (id) => document.getElementById(id);
const cards = [...document.querySelectorAll(".card")], units = [...document.querySelectorAll(".unit")];
const classes = new Set(data.classes);
const selected = new Set();
let past = [], future = [], focused = 0, anchor = 0, shown = cards.map((_, n) => n);
let listed = [], choice = -1, targets = [], opener = null, noteShown = "";
let viewed = 0, stores = true, unsaved = false;

// Texts ---------------------------------------------------------------------------------------------------------------
// A name as the page writes it elsewhere: with invisible characters, such as those that turn the direction of writing, it is
// in quotes, and these are escapes.
const invisible = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;

function visible(text) {
  if (text.search(invisible) < 0) return text;
  const escaped = text.replaceAll("\\", "\\\\").replace(invisible, (x) => {
    const code = x.codePointAt(0), digits = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
    return { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[x] ?? `\\${{ 2: "x", 4: "u", 8: "U" }[digits]}${code.toString(16).padStart(digits, "0")}`;
  });
  return `'${escaped}'`;
}

const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const say = (text) => { $("message").textContent = text; };

function describe(decision, item) {
  if (!decision) return "";
  const label = visible(decision.label);
  const words = {
    label: decision.label === item.label ? `Keep ${label}` : `Class ${label}`, new_class: `New class ${label}`,
    drop: "Drop", unsure: "Unsure",
  };
  return words[decision.decision] + (decision.note ? ` (${visible(decision.note)})` : "");
}

// Decisions: of the project (`given`), of now (`current`), and rows of images that the page does not show (`others`) ------
const key = (path, sha256) => JSON.stringify([path, sha256]);
const byKey = new Map(items.map((item, n) => [key(item.path, item.sha256), n]));
const byPath = new Map(items.map((item, n) => [item.path, n]));
const byHash = new Map(items.flatMap((item, n) => (item.twin ? [] : [[item.sha256, n]])));
const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
const given = items.map(() => null), givenOthers = new Map();

// The image of a row: by path and hash, by the path alone without a hash, by the hash alone where the file has moved.
const find = ({ path, sha256 }) => byKey.get(key(path, sha256)) ?? (sha256 ? byHash.get(sha256) : byPath.get(path));
const valueOf = ({ decision, label, note }) => ({ decision, label, note });
for (const row of data.corrections) {
  const n = find(row);
  if (n === undefined) givenOthers.set(key(row.path, row.sha256), row);
  else given[n] = valueOf(row);
}
let current = given.slice(), others = new Map(givenOthers);

const storageKey = `review ${data.hash}`;

function store() {
  const rows = [...items.keys()].filter((n) => !same(current[n], given[n]))
    .map((n) => [items[n].path, items[n].sha256, given[n], current[n]]);
  const further = [...others].filter(([k, row]) => !same(row, givenOthers.get(k))).map(([k, row]) => [k, row]);
  try {
    localStorage.setItem(storageKey, JSON.stringify({ rows, further }));
  } catch {
    stores = false;
  }
}

// Reads what this browser has stored. What the project has decided otherwise since then stays as the project has it.
function load() {
  let saved = null, conflicts = 0;
  try {
    localStorage.setItem(`${storageKey} test`, "");
    localStorage.removeItem(`${storageKey} test`);
    saved = JSON.parse(localStorage.getItem(storageKey) ?? "null");
  } catch {
    stores = false;
  }
  current = given.slice();
  others = new Map(givenOthers);
  for (const [path, sha256, before, after] of saved?.rows ?? []) {
    const n = byKey.get(key(path, sha256));
    if (n === undefined) {
      if (after) others.set(key(path, sha256), { path, sha256, ...after });
    } else if (same(given[n], before)) current[n] = after;
    else conflicts += !same(given[n], after);
  }
  for (const [k, row] of saved?.further ?? []) others.set(k, row);
  if (!stores) say("This browser stores nothing for this page: save before you close it.");
  else if (conflicts) say(`${counted(conflicts, "decision")} of this browser ${conflicts === 1 ? "differs" : "differ"} from the project's corrections, which are shown.`);
}

// Changes decisions, [[number, decision or null]], and rows of other images, [[key, row]], in one step that undo takes back.
function change(steps, rows = []) {
  const step = {
    cards: steps.filter(([n, after]) => !same(current[n], after)).map(([n, after]) => [n, current[n], after]),
    rows: rows.filter(([k, after]) => !same(others.get(k), after)).map(([k, after]) => [k, others.get(k) ?? null, after]),
  };
  if (!step.cards.length && !step.rows.length) return 0;
  past.push(step);
  future = [];
  apply(step, 2);
  return step.cards.length;
}

// Puts a step into effect: place 2 of its entries has what is after it, place 1 what was before.
function apply(step, place) {
  for (const entry of step.cards) current[entry[0]] = entry[place];
  for (const entry of step.rows) entry[place] ? others.set(entry[0], entry[place]) : others.delete(entry[0]);
  unsaved = true;
  store();
  step.cards.forEach(([n]) => refresh(n));
  progress();
}

function takeBack(from, to, place, word) {
  const step = from.pop();
  if (!step) return;
  to.push(step);
  apply(step, place);
  if (step.cards.length) {
    const n = step.cards[0][0];
    if (!cards[n].hidden) viewer.open ? view(n) : focusCard(n);
    say(`${word}: ${step.cards.length === 1 ? `image ${n + 1}` : counted(step.cards.length, "image")}.`);
  }
}

function refresh(n) {
  const card = cards[n], decision = current[n], text = describe(decision, items[n]);
  const line = card.querySelector(".decision");
  line.textContent = text;
  line.hidden = !text;
  card.classList.toggle("decided", Boolean(text));
  press(card, n);
  if (viewer.open && focused === n) {
    $("viewer-decision").textContent = text;
    press($("viewer-actions"), n);
  }
}

// Marks the buttons that say what is decided.
function press(place, n) {
  const decision = current[n];
  for (const button of place.querySelectorAll(".actions button, #viewer-actions button")) {
    const { do: action, choice: which } = button.dataset;
    const label = action === "keep" ? items[n].label : action === "label" ? items[n].suggestions[which] : null;
    if (["keep", "label", "drop", "unsure"].includes(action)) {
      const on = Boolean(decision) && (label === null ? decision.decision === action : decision.decision === "label" && decision.label === label);
      button.setAttribute("aria-pressed", on);
    }
  }
}

function progress() {
  const count = current.filter(Boolean).length;
  $("progress").textContent = `${count.toLocaleString("en")} of ${items.length.toLocaleString("en")} decided`;
  $("meter").value = count;
  document.querySelector("[data-do=undo]").disabled = !past.length;
  document.querySelector("[data-do=redo]").disabled = !future.length;
}

// Decides on images: "keep", "drop", "unsure", "clear" (back to what the project has), or a class.
function decide(numbers, action, label = "", note = null) {
  const steps = [];
  for (const n of numbers) {
    const item = items[n], before = current[n];
    let after = given[n];
    if (action !== "clear") {
      const named = action === "keep" || action === "label", name = action === "keep" ? item.label : label;
      if (named && !item.label) continue; // a file that cannot be read has no class
      const decision = !named ? action : classes.has(name) ? "label" : "new_class";
      after = { decision, label: named ? name : "", note: note ?? before?.note ?? "" };
    }
    steps.push([n, after]);
  }
  const changed = change(steps);
  if (numbers.length > 1) say(`${counted(changed, "image")} changed.`);
  else if (changed) say(`Image ${numbers[0] + 1}: ${describe(current[numbers[0]], items[numbers[0]]) || "undecided"}.`);
  else if (!steps.length) say("This file cannot be read: drop it, or replace the file.");
}

// Selection, filters and focus ------------------------------------------------------------------------------------------
const box = (n) => cards[n].querySelector("[data-do=select]");

function select(n, on) {
  on ? selected.add(n) : selected.delete(n);
  box(n).checked = on;
  document.querySelector(".selection").hidden = !selected.size;
  $("selected").textContent = `${selected.size.toLocaleString("en")} selected`;
}

function selectTo(n, on, range) {
  const [from, to] = range ? [Math.min(anchor, n), Math.max(anchor, n)] : [n, n];
  for (const m of shown) if (m >= from && m <= to) select(m, on);
  anchor = n;
}

function filter() {
  const [name, reason, state] = ["class", "reason", "state"].map((id) => $(id).value);
  const wanted = name && data.classes[name];
  shown = [];
  items.forEach((item, n) => {
    const names = [item.label, ...item.suggestions, current[n]?.label];
    const show = (!name || names.includes(wanted)) && (!reason || item.reasons.includes(reason))
      && (!state || (state === "decided") === Boolean(current[n]));
    cards[n].hidden = !show;
    if (show) shown.push(n);
    else if (selected.has(n)) select(n, false);
  });
  for (const unit of units) unit.hidden = ![...unit.querySelectorAll(".card")].some((card) => !card.hidden);
  if (shown.length && !shown.includes(focused)) rove(shown[0]);
  say(shown.length === items.length ? "" : `${counted(shown.length, "image")} shown.`);
}

// The Tab key stops at one card and its buttons.
function rove(n) {
  for (const [m, value] of [[focused, -1], [n, 0]]) {
    if (cards[m]) for (const one of [cards[m], ...cards[m].querySelectorAll("button, input")]) one.tabIndex = value;
  }
  focused = n;
}

function focusCard(n) {
  rove(n);
  cards[n].focus({ preventScroll: true });
  cards[n].scrollIntoView({ block: "nearest" });
}

// The number of the image a step further among those shown, or the same at an end.
function beside(n, step) {
  const place = shown.indexOf(n) + step;
  return shown[Math.max(0, Math.min(shown.length - 1, place))] ?? n;
}

// The number of the image below or above.
function below(n, step) {
  const here = cards[n].getBoundingClientRect();
  let best = n, least = Infinity, row = null;
  for (let place = shown.indexOf(n) + step; place >= 0 && place < shown.length; place += step) {
    const there = cards[shown[place]].getBoundingClientRect();
    if (Math.abs(there.top - here.top) < 4) continue;
    row ??= there.top;
    if (Math.abs(there.top - row) > 4) break;
    const distance = Math.abs(there.left - here.left);
    if (distance < least) [best, least] = [shown[place], distance];
  }
  return best;
}

// Dialogs ---------------------------------------------------------------------------------------------------------------
const viewer = $("viewer"), chooser = $("chooser");

function view(n) {
  const card = cards[n], image = card.querySelector("img"), pressed = document.activeElement?.dataset.do;
  rove(n);
  viewed = n;
  $("viewer-title").replaceChildren(...[...card.querySelector("h2").childNodes].map((node) => node.cloneNode(true)));
  $("viewer-image").replaceChildren(image ? image.cloneNode() : "This file cannot be read.");
  $("viewer-decision").textContent = describe(current[n], items[n]);
  $("viewer-actions").replaceChildren(...[...card.querySelectorAll(".actions button")].map((button) => {
    const copy = button.cloneNode(true);
    copy.tabIndex = 0;
    return copy;
  }));
  press($("viewer-actions"), n);
  if (!viewer.open) viewer.showModal();
  if (!viewer.contains(document.activeElement)) {
    (viewer.querySelector(`[data-do="${pressed}"]`) ?? viewer.querySelector("[data-do=next]")).focus();
  }
}

viewer.addEventListener("close", () => focusCard(viewed)); // the browser gives the focus back to the image that was first

function choose(numbers, field) {
  targets = numbers;
  opener = document.activeElement;
  const one = numbers.length === 1;
  $("chooser-title").textContent = one ? `Image ${numbers[0] + 1}` : counted(numbers.length, "image");
  $("choice").value = "";
  $("note").value = one ? current[numbers[0]]?.note ?? "" : "";
  noteShown = $("note").value;
  listChoices();
  chooser.showModal();
  $(field).focus();
}

// The class for a digit: that of the project, or, where digits stand for none, of those that are likeliest.
function classOf(digit, n) {
  return Object.keys(data.digits).length ? data.digits[digit] : likeliest(n)[digit - 1];
}

// The suggested classes, and then the most frequent ones.
function likeliest(n) {
  return [...new Set([...items[n].suggestions, ...data.frequent])].filter((x) => x !== items[n].label).slice(0, 9);
}

// Lists the classes that fit what is typed, those that begin so first, and last a new class of this name.
function listChoices() {
  const text = $("choice").value.trim(), wanted = text.toLowerCase();
  const names = [...new Set([...likeliest(targets[0]), ...data.classes])].map((name) => ({ name, text: visible(name), fresh: false }));
  const place = ({ text: of }) => (of === text ? 0 : of.toLowerCase().startsWith(wanted) ? 1 : 2);
  listed = names.filter((one) => one.text.toLowerCase().includes(wanted)).sort((a, b) => place(a) - place(b)).slice(0, 100);
  if (text && !classes.has(text)) listed.push({ name: text, text: `New class: ${visible(text)}`, fresh: true });
  $("choices").replaceChildren(...listed.map((one, at) => {
    const option = document.createElement("li"), label = document.createElement("bdi");
    option.id = `option-${at}`;
    option.setAttribute("role", "option");
    label.textContent = one.text;
    option.append(label);
    return option;
  }));
  $("choices").hidden = !listed.length;
  mark(text ? 0 : -1);
}

// Marks the chosen option, and says what Apply will do.
function mark(at) {
  choice = at;
  [...$("choices").children].forEach((option, n) => option.setAttribute("aria-selected", n === at));
  const one = listed[at];
  if (one) {
    $("choice").setAttribute("aria-activedescendant", `option-${at}`);
    $(`option-${at}`).scrollIntoView({ block: "nearest" });
  } else $("choice").removeAttribute("aria-activedescendant");
  if (!one) $("hint").textContent = "Without a class, the note goes with the decision; where there is none, with “unsure”.";
  else $("hint").textContent = one.fresh ? `${one.text}. No image has it yet.` : `Class ${one.text}.`;
}

function applyChoice() {
  const one = listed[choice], changed = $("note").value !== noteShown, note = changed ? $("note").value : null;
  chooser.close();
  if (one) decide(targets, "label", one.name, note);
  else if (changed) {
    change(targets.map((n) => [n, { ...(current[n] ?? { decision: "unsure", label: "" }), note }]));
    say("Note written.");
  }
}

$("choice").addEventListener("input", listChoices);
$("choices").addEventListener("click", (event) => {
  const option = event.target.closest("[role=option]");
  if (option) mark([...$("choices").children].indexOf(option));
  $("choice").focus();
});
chooser.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (event.target !== $("choice")) return;
  if (event.key === "Enter") applyChoice();
  else if (step && listed.length) mark(choice < 0 ? (step > 0 ? 0 : listed.length - 1) : (choice + step + listed.length) % listed.length);
  else return;
  event.preventDefault();
});
chooser.addEventListener("close", () => {
  if (viewer.open) view(focused);
  else if (opener?.isConnected) opener.focus();
});

// CSV ---------------------------------------------------------------------------------------------------------------------
// Rows of a CSV file, with quoting as in RFC 4180.
function parse(text) {
  const rows = [];
  let row = [], cell = "", quoted = false, any = false;
  const end = () => {
    row.push(cell);
    if (any || row.length > 1) rows.push(row);
    [row, cell, any] = [[], "", false];
  };
  for (let i = 0; i < text.length; i++) {
    const x = text[i];
    if (quoted) {
      if (x !== '"') cell += x;
      else if (text[i + 1] === '"') cell += text[++i];
      else quoted = false;
    } else if (x === '"' && !cell) quoted = any = true;
    else if (x === ",") {
      row.push(cell);
      cell = "";
    } else if (x === "\n" || x === "\r") {
      if (x === "\r" && text[i + 1] === "\n") i++;
      end();
    } else {
      cell += x;
      any = true;
    }
  }
  if (quoted) throw new Error("a quotation mark is not closed");
  if (any || cell || row.length) end();
  return rows;
}

function readRows(text) {
  const [heading, ...rows] = parse(text.replace(/^\ufeff/, ""));
  const places = columns.map((column) => heading?.indexOf(column) ?? -1);
  const missing = columns.filter((_, i) => places[i] < 0);
  if (missing.length) throw new Error(`it lacks the columns ${missing.join(", ")}`);
  return rows.map((cells, i) => {
    const row = Object.fromEntries(columns.map((column, j) => [column, cells[places[j]] ?? ""]));
    const named = ["label", "new_class"].includes(row.decision);
    if (!decisions.includes(row.decision) || named !== Boolean(row.label)) {
      throw new Error(`row ${i + 2} has the decision “${visible(row.decision)}” and the label “${visible(row.label)}”`);
    }
    return row;
  });
}

async function openFile(file) {
  try {
    const rows = readRows(await file.text());
    const here = rows.filter((row) => find(row) !== undefined), elsewhere = rows.filter((row) => find(row) === undefined);
    const replaced = here.filter((row) => current[find(row)] && !same(current[find(row)], valueOf(row))).length;
    change(here.map((row) => [find(row), valueOf(row)]), elsewhere.map((row) => [key(row.path, row.sha256), row]));
    say(`Opened ${counted(rows.length, "decision")}: ${here.length} of images on this page, of which ${replaced} replace another decision; `
      + `${elsewhere.length} of others, which are saved as they are.`);
  } catch (error) {
    say(`${visible(file.name)} is not opened: ${error.message}.`);
  }
}

function save() {
  const rows = [...others.values(), ...items.flatMap((item, n) => (current[n] ? [{ ...item, ...current[n] }] : []))];
  rows.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  const quote = (text) => `"${text.replaceAll('"', '""')}"`;
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))].map((cells) => `${cells.map(quote).join(",")}\n`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  unsaved = false;
  say(`Saved ${counted(rows.length, "decision")} as corrections.csv. Then: python -m stages.tools.relabel ~/Downloads/corrections.csv`);
}

// Events ------------------------------------------------------------------------------------------------------------------
// The images that an action is for: those selected, if the one that it is done on is selected or is none.
function subjects(place) {
  const card = place?.closest?.(".card");
  if (viewer.open) return [focused];
  if (!card) return [...selected].sort((a, b) => a - b);
  const n = Number(card.dataset.number);
  return selected.has(n) ? [...selected].sort((a, b) => a - b) : [n];
}

const actions = {
  undo: () => takeBack(past, future, 1, "Undone"),
  redo: () => takeBack(future, past, 2, "Redone"),
  open: () => $("file").click(),
  save,
  "select-all": () => { for (const n of shown) select(n, true); },
  deselect: () => { for (const n of [...selected]) select(n, false); },
  enlarge: (place) => view(Number(place.closest(".card").dataset.number)),
  previous: () => view(beside(focused, -1)),
  next: () => view(beside(focused, 1)),
  close: (place) => place.closest("dialog").close(),
  apply: applyChoice,
  other: (place) => choose(subjects(place), "choice"),
  note: (place) => choose(subjects(place), "note"),
  label: (place) => decide(subjects(place), "label", items[viewer.open ? focused : Number(place.closest(".card").dataset.number)].suggestions[place.dataset.choice]),
};
for (const action of ["keep", "drop", "unsure", "clear"]) actions[action] = (place) => decide(subjects(place), action);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  const { do: action } = button.dataset;
  if (action === "select") selectTo(Number(button.closest(".card").dataset.number), button.checked, event.shiftKey);
  else if (button.ariaPressed === "true" && subjects(button).length === 1) decide(subjects(button), "clear"); // once more: taken back
  else actions[action](button);
});
document.addEventListener("focusin", (event) => {
  const card = event.target.closest(".card");
  if (card && Number(card.dataset.number) !== focused) rove(Number(card.dataset.number));
});
$("file").addEventListener("change", async (event) => {
  if (event.target.files[0]) await openFile(event.target.files[0]);
  event.target.value = "";
});
for (const id of ["class", "reason", "state"]) $(id).addEventListener("change", filter);

const moves = {
  j: (n) => beside(n, 1), ArrowRight: (n) => beside(n, 1), k: (n) => beside(n, -1), ArrowLeft: (n) => beside(n, -1),
  ArrowDown: (n) => (viewer.open ? beside(n, 1) : below(n, 1)), ArrowUp: (n) => (viewer.open ? beside(n, -1) : below(n, -1)),
};
const letters = { y: "keep", d: "drop", u: "unsure", Backspace: "clear" };

document.addEventListener("keydown", (event) => {
  if (chooser.open || event.target.matches("select") || event.altKey) return;
  const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const control = event.ctrlKey || event.metaKey;
  if (name === "z" || (control && name === "y")) {
    event.preventDefault();
    actions[name === "y" || event.shiftKey ? "redo" : "undo"]();
    return;
  }
  if (control) return;
  const card = event.target.closest(".card"), at = card ? Number(card.dataset.number) : viewer.open ? focused : null;
  if (moves[name] && shown.length && (at !== null || name === "j" || name === "k")) {
    event.preventDefault();
    const next = at === null ? focused : moves[name](at);
    viewer.open ? view(next) : focusCard(next);
    return;
  }
  const numbers = at === null ? [...selected].sort((a, b) => a - b) : subjects(event.target);
  if (!numbers.length) return;
  const digit = /^[0-9]$/.test(name) ? classOf(name, at ?? numbers[0]) : undefined;
  if (letters[name] || digit !== undefined) {
    decide(numbers, letters[name] ?? "label", digit ?? "");
    if (numbers.length === 1 && at !== null && name !== "Backspace") viewer.open ? view(beside(at, 1)) : focusCard(beside(at, 1));
  } else if (name === "o" || name === "n") choose(numbers, name === "o" ? "choice" : "note");
  else if (name === "x" && at !== null && !viewer.open) selectTo(at, event.shiftKey || !selected.has(at), event.shiftKey);
  else if (name === "Enter" && event.target === card) view(at);
  else return;
  event.preventDefault();
});

window.addEventListener("beforeunload", (event) => {
  if (!stores && unsaved) event.preventDefault();
});
window.addEventListener("storage", (event) => {
  if (event.key !== storageKey) return;
  load(); // decided in another tab
  [past, future] = [[], []];
  start();
});

function start() {
  items.forEach((_, n) => { if (current[n] || cards[n].classList.contains("decided")) refresh(n); });
  progress();
}

data.classes.forEach((name, n) => $("class").append(new Option(visible(name), n)));
load();
start();
if (cards.length) rove(0);
})();
