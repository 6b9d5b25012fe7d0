"use strict";
// Text of a trace reaches the page as JSON and is put in by textContent alone: it cannot become markup.

const FOLD_CHARS = 900, FOLD_LINES = 12, PREVIEW_CHARS = 2400;
const ROLES = {system: "Instructions to the agent", user: "User", assistant: "Agent", tool: "Observation"};
const JOINT = "accept";
const by = (id) => document.getElementById(id);
const state = {facts: null, place: 0, held: null, said: {}, isBusy: true, isRejecting: false, skipped: new Set()};
const ahead = new Map();

function make(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function tell(text, kind) {
  by("told").textContent = text || "";
  by("told").className = "told" + (kind ? " " + kind : "");
}

async function call(path, sent) {
  const asked = sent === undefined ? {} : {
    method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(sent),
  };
  let reply;
  try {
    reply = await fetch(path, asked);
  } catch {
    throw new Error("toolwise label has ended. What you answered is stored; start it again to go on.");
  }
  const held = await reply.json();
  if (!reply.ok) throw new Error(held.fault || "the answer was not stored");
  return held;
}

// ---- reading ----

function textOf(text, isCode) {
  if (!text || !text.trim()) return make("p", "empty", "(no text)");
  const shown = make("div", "text" + (isCode ? " code" : ""), text);
  shown.dir = "auto";
  const numLines = text.split("\n").length;
  if (text.length <= FOLD_CHARS && numLines <= FOLD_LINES) return shown;
  const box = make("div", "fold");
  const button = make("button", "unfold");
  button.type = "button";
  const fold = (isFolded) => {
    shown.textContent = isFolded ? text.slice(0, PREVIEW_CHARS) : text;
    shown.classList.toggle("folded", isFolded);
    button.textContent = isFolded
      ? `Show all: ${text.length.toLocaleString("en")} characters, ${numLines.toLocaleString("en")} lines` : "Fold";
    button.setAttribute("aria-expanded", String(!isFolded));
    box.isFolded = isFolded;
  };
  box.fold = fold;
  button.addEventListener("click", () => fold(!box.isFolded));
  box.append(shown, button);
  fold(true);
  return box;
}

function imagesOf(images) {
  if (!images.length) return [];
  const box = make("div", "images");
  images.forEach((image, k) => {
    if (image.data) {
      const shown = make("img");
      shown.alt = `Image ${k + 1} of this part`;
      shown.src = image.data;
      box.append(shown);
    } else {
      box.append(make("span", "empty", `[image, not fetched: ${image.named}]`));
    }
  });
  return [box];
}

function block(className, title, ...parts) {
  const made = make("section", "block " + className);
  made.append(make("h2", "", title), ...parts);
  return made;
}

function callOf(held) {
  const made = make("div", "call");
  const title = make("h3", "", `Call ${held.number} `);
  title.append(make("b", "", held.name || "(no name)"));
  made.append(title);
  if (held.raw !== null) made.append(textOf(held.raw, true));
  for (const [name, value] of held.arguments) {
    const line = make("div", "argument");
    line.append(make("div", "key", name), textOf(value, true));
    made.append(line);
  }
  return made;
}

function eventOf(held) {
  const isObservation = held.role === "tool";
  let title = ROLES[held.role] || held.role;
  if (isObservation) title += held.answers_call === null ? " of no call" : ` of call ${held.answers_call}`;
  const made = block(isObservation ? "observation" : "", title);
  made.append(...reasoningOf(held));
  if (isObservation || (held.text && held.text.trim()) || !held.calls.length) made.append(textOf(held.text, isObservation));
  made.append(...imagesOf(held.images));
  held.calls.forEach((each) => made.append(callOf(each)));
  return made;
}

function reasoningOf(held) {
  if (!held.reasoning || !held.reasoning.trim()) return [];
  const folded = make("details");
  folded.append(make("summary", "", "Reasoning, which the judge does not see"), textOf(held.reasoning, false));
  return [folded];
}

function endingOf(row) {
  // the agent's last words are its answer; what was recorded is shown beside them where it says something else
  const last = row.events[row.events.length - 1];
  const isAnswer = Boolean(last && last.role === "assistant" && !last.calls.length && (last.text || "").trim());
  const answer = (row.answer || "").trim();
  const ending = [];
  if (isAnswer) {
    const parts = [...reasoningOf(last), textOf(last.text, false), ...imagesOf(last.images)];
    ending.push(block("answer", row.answer_title, ...parts));
  }
  if (!isAnswer || !last.text.includes(answer)) {
    ending.push(block("answer", isAnswer ? "As it was recorded" : row.answer_title, textOf(row.answer, false)));
  }
  return {events: isAnswer ? row.events.slice(0, -1) : row.events, ending};
}

function showRow(row) {
  const parts = [make("p", "place", `${row.source} · ${row.id}`)];
  parts.push(block("task", "Task", textOf(row.task, false), ...imagesOf(row.images)));
  if (row.tools) {
    const folded = make("details", "block");
    folded.append(make("summary", "", "Tools at hand"), textOf(row.tools, true));
    parts.push(folded);
  }
  const {events, ending} = endingOf(row);
  by("row").replaceChildren(...parts, ...events.map(eventOf), ...ending);
}

// ---- answering ----

const NEXT = new Map([[undefined, false], [false, true], [true, null], [null, false]]);
const PICKS = [["yes", "Yes", true], ["no", "No", false], ["unsure", "Unsure", null]];

function without(said, name) {
  const {[name]: _left, ...others} = said;
  return others;
}

function asked() {
  return state.facts.criteria.filter((each) => state.held && state.held.criteria.includes(each.name));
}

function showCriteria() {
  const open = new Set([...document.querySelectorAll("#criteria details[open]")].map((each) => each.dataset.name));
  by("criteria").replaceChildren(...asked().map((criterion, k) => {
    const made = make("fieldset", "criterion");
    const legend = make("legend");
    const number = make("kbd", "", String(k + 1));
    legend.append(number, " ", make("b", "", criterion.name.replaceAll("_", " ")), " · ", criterion.question);
    const pick = make("div", "pick");
    for (const [className, label, value] of PICKS) {
      const button = make("button", className, label);
      button.type = "button";
      button.setAttribute("aria-pressed", String(state.said[criterion.name] === value));
      button.addEventListener("click", () => answer(criterion.name, value));
      pick.append(button);
    }
    made.append(legend, pick);
    if (criterion.guidance) {
      const folded = make("details");
      folded.dataset.name = criterion.name;
      folded.open = open.has(criterion.name);
      folded.append(make("summary", "", "What counts"), make("p", "guidance", criterion.guidance));
      made.append(folded);
    }
    return made;
  }));
}

function answer(name, value) {
  if (state.isBusy || !state.held) return;
  if (state.isRejecting && value === false) return keep({...without(state.said, JOINT), [name]: false});
  state.isRejecting = false;
  delete state.said[JOINT];
  if (state.said[name] === value) delete state.said[name];
  else state.said[name] = value;
  showCriteria();
  tell("");
}

function showProgress() {
  const facts = state.facts;
  by("count").textContent = `row ${Math.min(state.place + 1, facts.num_rows)} of ${facts.num_rows} · ${facts.num_stored} stored`;
  by("progress").max = Math.max(facts.num_rows, 1);
  by("progress").value = facts.num_stored;
  by("need").textContent = `${facts.num_certifying} of at least ${facts.least} tasks to certify with`;
}

function fetchRow(place) {
  if (place < 0 || place >= state.facts.num_rows) return null;
  if (!ahead.has(place)) {
    const coming = call(`rows/${place}`);
    coming.catch(() => ahead.delete(place));
    ahead.set(place, coming);
  }
  return ahead.get(place);
}

async function show(place) {
  state.isBusy = true;
  state.isRejecting = false;
  state.place = place;
  history.replaceState(null, "", `#${place}`);
  if (place >= state.facts.num_rows) return showEnd();
  const held = await fetchRow(place);
  ahead.delete(place);
  state.held = held;
  state.said = {...held.said};
  showRow(held.row);
  showCriteria();
  showProgress();
  setActions(true);
  scrollTo(0, 0);
  by("row").focus({preventScroll: true});
  state.isBusy = false;
  fetchRow(place + 1);
}

function showEnd() {
  const facts = state.facts;
  const command = "toolwise calibrate" + (facts.rubric === "prompts" ? " --rubric prompts" : "");
  const made = make("section", "block done");
  const skipped = state.skipped.size;
  made.append(
    make("h1", "", facts.num_rows ? "That was the last row" : "There is no row left to label"),
    make("p", "", `${facts.num_stored} rows stored by ${facts.by}` + (skipped ? `, ${skipped} skipped: they are asked about another day.` : ".")),
  );
  const next = make("p", "", "End it with Ctrl-C in the terminal, then run ");
  next.append(make("code", "", command), ".");
  made.append(next);
  state.held = null;
  by("row").replaceChildren(made);
  by("criteria").replaceChildren();
  showProgress();
  setActions(false);
  state.isBusy = false;
}

function setActions(isOpen) {
  for (const name of ["good", "save", "reject", "skip"]) by(name).disabled = !isOpen;
  by("back").disabled = state.place === 0;
}

async function attempt(work) {
  if (state.isBusy) return;
  state.isBusy = true;
  try {
    await work();
  } catch (error) {
    tell(error.message, "fault");
  } finally {
    state.isBusy = false;
  }
}

function keep(answers) {
  return attempt(async () => {
    const place = state.place;
    Object.assign(state.facts, await call(`rows/${place}`, {answers}));
    state.skipped.delete(place);
    await show(place + 1);
    tell("Stored.");
  });
}

function save() {
  if (!state.held || state.isBusy) return;
  const open = asked().filter((each) => !(each.name in state.said));
  const said = Object.values(state.said);
  if (!said.length) return tell("Answer a question first; a for all good, n to reject, s to skip.", "asking");
  if (open.length && !said.includes(false)) {
    return tell(`Still open: ${open.map((each) => each.name.replaceAll("_", " ")).join(", ")}.`, "asking");
  }
  return keep(state.said);
}

function allGood() {
  if (!state.held || state.isBusy) return;
  const answers = without(state.said, JOINT);
  for (const each of asked()) if (!(each.name in answers)) answers[each.name] = true;
  return keep(answers);
}

function startReject() {
  if (!state.held || state.isBusy) return;
  if (state.isRejecting) return keep({[JOINT]: false});
  state.isRejecting = true;
  const numbers = asked().map((each, k) => `${k + 1} ${each.name.replaceAll("_", " ")}`).join(", ");
  tell(`Rejected for which? ${numbers}; n again: as a whole. Esc: not at all.`, "asking");
}

function skip() {
  return attempt(async () => {
    if (!state.held) return;
    state.skipped.add(state.place);
    await show(state.place + 1);
    tell("Skipped: nothing is stored of it.");
  });
}

function back() {
  return attempt(async () => {
    if (state.place === 0) return;
    const place = state.place - 1;
    const before = await call(`rows/${place}`);
    if (before.is_stored) Object.assign(state.facts, await call(`rows/${place}/undo`, {}));
    state.skipped.delete(place);
    ahead.delete(place);
    await show(place);
    state.said = before.said;
    showCriteria();
    tell(before.is_stored ? "Taken back. Answer again, or skip it." : "");
  });
}

function number(k) {
  const criterion = asked()[k];
  if (!criterion || state.isBusy) return;
  if (state.isRejecting) return answer(criterion.name, false);
  answer(criterion.name, NEXT.get(state.said[criterion.name]));
}

function foldAll() {
  const boxes = [...document.querySelectorAll(".fold")];
  const isAnyFolded = boxes.some((each) => each.isFolded);
  boxes.forEach((each) => each.fold(!isAnyFolded));
}

const KEYS = {a: allGood, n: startReject, s: skip, u: back, f: foldAll, "?": () => by("help").showModal()};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || by("help").open) return;
  if (event.key === "Escape" && state.isRejecting) {
    state.isRejecting = false;
    return tell("");
  }
  if (event.key === "Enter") {
    if (event.target.closest("button, summary, a")) return;
    event.preventDefault();
    return save();
  }
  if (/^[1-9]$/.test(event.key)) return number(Number(event.key) - 1);
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

for (const [name, act] of Object.entries({good: allGood, save, reject: startReject, skip, back})) {
  by(name).addEventListener("click", act);
}
by("help-button").addEventListener("click", () => by("help").showModal());

(async () => {
  try {
    state.facts = await call("session");
    const asked = Number(location.hash.slice(1));
    await show(Number.isInteger(asked) && asked > 0 ? Math.min(asked, state.facts.num_rows) : 0);
  } catch (error) {
    tell(error.message, "fault");
  }
})();
