// The page of `convogym serve`. Every text from people or models is put in with textContent: it is shown, never obeyed.
"use strict";

const get = (id) => document.getElementById(id);
const MARKS = ["", "1", "2", "3", "4", "5"];
const LOOK_AGAIN = 1000; // milliseconds between looks at a course that learns
let me = null;
let talk = null;
let chosen = null; // the goal whose line is in the field
let deciding = null; // what the two texts on offer are for
let course = null; // what is being taught
let foreseen = { at: "", lines: {} }; // what each goal would say, and where
let settled = Promise.resolve(); // settles when everything asked for is done
const waiting = new Set(); // what asked for it

function make(kind, text, className) {
  const element = document.createElement(kind);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function counted(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

async function ask(method, path, body) {
  const options = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const values = await answer.json().catch(() => ({ error: "the answer could not be read." }));
  if (!answer.ok) {
    const error = new Error(values.error || `the computer answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return values;
}

// What is asked for while something else is done waits its turn; asking again for what waits already changes nothing
// (a double click). What goes wrong is told, and the page stays as it was.
function attempt(source, work) {
  if (waiting.has(source)) return;
  waiting.add(source);
  document.body.dataset.busy = "";
  settled = settled.then(async () => {
    get("error").textContent = "";
    try {
      await work();
    } catch (error) {
      get("error").textContent = error.message;
      if (error.status === 401 || error.status === 403) await showLogin().catch(() => {});
    }
    waiting.delete(source);
    if (!waiting.size) delete document.body.dataset.busy;
  });
}

function on(id, event, work) {
  get(id).addEventListener(event, (happened) => {
    happened.preventDefault();
    attempt(id, () => work(happened));
  });
}

// Says a line; `heard` is given the reply so far while it is said.
async function sayLive(body, heard) {
  const options = { method: "POST", headers: { "Content-Type": "application/json" }, credentials: "same-origin" };
  const answer = await fetch(`/api/talks/${talk.talk}/say-live`, { ...options, body: JSON.stringify(body) });
  if (!answer.ok) {
    const values = await answer.json().catch(() => ({}));
    const error = new Error(values.error || `the computer answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the answer broke off; look at the talk again among the transcripts.");
    text += value;
    const rows = text.split("\n");
    text = rows.pop();
    for (const row of rows.map((each) => JSON.parse(each))) {
      if (row.error) throw new Error(row.error);
      if (row.view) return row.view;
      heard(row.reply);
    }
  }
}

const act = (name, body) => ask("POST", `/api/talks/${talk.talk}/${name}`, body);

// --- coming in ---

async function showLogin() {
  const about = await ask("GET", "/api/about");
  get("consent").textContent = about.consent;
  get("token-row").hidden = !about.needs_token;
  get("nav").hidden = true;
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== "login";
}

async function enter() {
  me = await ask("GET", "/api/me");
  get("nav").hidden = false;
  get("nav-teach").hidden = !(await ask("GET", "/api/teaching")).offered;
  await show("talk");
}

async function show(page) {
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== page;
  for (const button of document.querySelectorAll("nav button")) {
    if (button.dataset.page === page) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  get("status").textContent = "";
  if (page === "teach") await showTeaching();
  if (page === "transcripts") await find();
  if (page === "mine") await showMine();
}

on("login-form", "submit", async () => {
  await ask("POST", "/api/login", { token: get("token").value.trim() || null, agrees: get("agrees").checked });
  get("token").value = "";
  await enter();
});
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => attempt(button, () => show(button.dataset.page)));
}

// --- talking ---

on("begin-form", "submit", async () => {
  me = await ask("GET", "/api/me"); // somebody may have taught a goal
  const facts = get("persona").value.split("\n").map((fact) => fact.trim()).filter(Boolean);
  const mode = document.querySelector("input[name=mode]:checked").value;
  talk = await ask("POST", "/api/talks", { mode, persona: facts.length ? facts : null });
  chosen = null;
  get("line").value = "";
  render();
  (mode === "talk" ? get("line") : get("ahead")).focus();
});

async function say(line) {
  if (!line) throw new Error("type a line, or pick a goal.");
  if (talk.mode === "steer" && chosen === null) throw new Error("pick a goal first.");
  const typed = line !== talk.proposed;
  const turn = coming(line);
  try {
    talk = await sayLive({ line: typed ? line : null, action: chosen }, (reply) => { turn.reply.textContent = reply; });
  } catch (error) {
    turn.item.remove();
    throw error;
  }
  chosen = null;
  render();
  if (!talk.ended) get(talk.mode === "talk" ? "line" : "ahead").focus();
}

// The field is empty as soon as its line is sent: what is typed while the reply comes is the next line.
get("say-form").addEventListener("submit", (happened) => {
  happened.preventDefault();
  const line = get("line").value.trim();
  if (!line && waiting.size) return;
  get("line").value = "";
  attempt(`say ${line}`, () => say(line).catch((error) => {
    get("line").value ||= line;
    throw error;
  }));
});

async function pick(code) {
  talk = await act("propose", { action: code });
  chosen = code;
  render();
  get("line").value = talk.proposed;
  get("line").focus();
}

on("another", "click", () => pick(chosen));
on("two", "click", async () => offer(await act("compare", { action: chosen }), "prefer"));
on("other", "click", async () => offer(await act("other-reply"), "prefer-reply"));
on("undo", "click", async () => { talk = await act("undo"); render(); });
on("end", "click", async () => { talk = await act("end"); render(); get("status").textContent = "The talk has ended."; });
on("ahead", "click", async () => {
  const at = here();
  foreseen = { at, lines: (await act("look-ahead")).result };
  foretell();
});
on("rate-talk", "change", async () => {
  talk = await act("rate", { turn: null, value: mark(get("rate-talk").value) });
  get("status").textContent = "Noted.";
});

// Where the talk stands: what was foreseen there stays true until something else was said.
function here() {
  return JSON.stringify([talk.talk, talk.turns.map((turn) => [turn.line, turn.reply])]);
}

function foretell() {
  const lines = foreseen.at === here() ? foreseen.lines : {};
  for (const button of document.querySelectorAll("#goal-list button")) {
    button.querySelector("span").textContent = lines[button.dataset.code] || "";
  }
}

function offer(view, purpose) {
  deciding = purpose;
  [get("first").textContent, get("second").textContent] = view.result;
  get("choice").hidden = false;
  get("first").focus();
}

for (const [which, id] of ["first", "second"].entries()) {
  on(id, "click", async () => {
    talk = await act(deciding, { which });
    get("choice").hidden = true;
    render();
    if (deciding === "prefer") {
      get("line").value = talk.proposed;
      get("line").focus();
    }
  });
}

document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "TEXTAREA", "SELECT"].includes(document.activeElement.tagName);
  if (typing || event.ctrlKey || event.altKey || event.metaKey || !/^[0-9]$/.test(event.key)) return;
  if (!get("goals").hidden && !get("talk").hidden) attempt(`goal ${event.key}`, () => pick(Number(event.key)));
});

function mark(value) {
  return value === "" ? null : Number(value);
}

// A turn whose reply is still being said. Screen readers get it whole when it is there.
function coming(line) {
  const item = make("li");
  const answer = said("b", "", null, "reply");
  answer.setAttribute("aria-hidden", "true");
  item.append(said("a", line, null, "line"), answer);
  get("log").append(item);
  return { item, reply: answer.querySelector(".reply") };
}

function render() {
  get("room").hidden = false;
  get("facts").replaceChildren(...talk.persona.map((fact) => make("li", fact)));
  get("log").replaceChildren(...talk.turns.map((turn, place) => {
    const last = place === talk.turns.length - 1;
    return turnItem(turn, last, `/api/talks/${talk.talk}`, (view) => { talk = view; render(); });
  }));
  const steering = talk.mode === "steer";
  get("last").hidden = !talk.turns.length;
  get("choice").hidden = true;
  get("goals").hidden = !steering || talk.ended;
  get("say-form").hidden = talk.ended || (steering && chosen === null);
  get("another").hidden = get("two").hidden = !steering;
  get("line-label").textContent = steering && chosen !== null ? `A line that is to ${me.goals[chosen].text}` : "Your line";
  get("goal-list").replaceChildren(...me.goals.filter((goal) => talk.allowed.includes(goal.code)).map((goal) => {
    const button = make("button", `${goal.code} ${goal.text}`);
    button.type = "button";
    button.dataset.code = goal.code;
    button.append(make("span"));
    button.addEventListener("click", () => attempt(`goal ${goal.code}`, () => pick(goal.code)));
    const item = make("li");
    item.append(button);
    return item;
  }));
  foretell();
  get("rate-talk").replaceChildren(...marks(talk.rating));
  get("talk-rating").hidden = !talk.turns.length;
}

function marks(value) {
  return MARKS.map((name) => {
    const option = make("option", name || "no mark");
    option.value = name;
    option.selected = value !== null && String(value) === name;
    return option;
  });
}

// A turn with what may be done to it. `path` takes its corrections and marks, `changed` gets how things stand then.
function turnItem(turn, isLast, path, changed) {
  const item = make("li");
  if (turn.goal !== "talk freely.") item.append(make("div", turn.goal, "goal"));
  item.append(said("a", turn.line, turn.corrected_line, "line"), said("b", turn.reply, turn.corrected_reply, "reply"));
  const rate = make("select");
  rate.setAttribute("aria-label", `Mark for turn ${turn.turn}`);
  rate.append(...marks(turn.rating));
  rate.addEventListener("change", () => attempt(rate, async () => {
    changed(await ask("POST", `${path}/rate`, { turn: turn.turn, value: mark(rate.value) }));
  }));
  item.append(rate);
  for (const side of ["line", "reply"]) {
    const button = make("button", `Correct the ${side}`);
    button.type = "button";
    button.setAttribute("aria-label", `Correct the ${side} of turn ${turn.turn}`);
    button.addEventListener("click", () => correct(item, turn, side, isLast && path.startsWith("/api/talks"), path, changed));
    item.append(" ", button);
  }
  return item;
}

function said(who, text, corrected, side) {
  const row = make("div");
  row.append(make("span", `${who}: `, "who"), make("span", text, side));
  if (corrected !== null && corrected !== text) row.append(make("div", `should be: ${corrected}`, "fixed"));
  return row;
}

function correct(item, turn, side, isLast, path, changed) {
  if (item.querySelector("form")) return;
  const form = make("form");
  const label = make("label", side === "line" ? "The line should be" : "The reply should be");
  const field = make("input");
  field.id = `correct-${turn.turn}-${side}`;
  label.htmlFor = field.id;
  field.value = turn[side];
  field.maxLength = 2000;
  const keep = make("button", "Save");
  const drop = make("button", "Cancel");
  drop.type = "button";
  drop.addEventListener("click", () => form.remove());
  form.append(label, field, keep, drop);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(form, async () => {
      const body = side === "line" ? { turn: turn.turn, line: field.value } : { turn: turn.turn, reply: field.value };
      if (side === "reply" && isLast) changed(await ask("POST", `${path}/amend`, { reply: field.value }));
      else changed(await ask("POST", `${path}/correct`, body));
      get("status").textContent = "Saved.";
    });
  });
  item.append(form);
  field.focus();
}

// --- transcripts ---

async function find() {
  const query = new URLSearchParams({ words: get("words").value, only: get("only").value });
  const found = await ask("GET", `/api/transcripts?${query}`);
  get("read").replaceChildren();
  get("found").replaceChildren(...found.map((each) => {
    const item = make("li");
    const button = make("button", `${each.created.slice(0, 16).replace("T", " ")}, ${counted(each.turns, "turn")}: ${each.first_line}`);
    button.type = "button";
    button.addEventListener("click", () => attempt(button, async () => read(await ask("GET", `/api/transcripts/${each.episode}`))));
    item.append(button);
    if (each.goes_on) item.append(" ", goOn(each.episode));
    return item;
  }));
  get("export").href = `/api/transcripts/export?${query}`;
  get("status").textContent = `${counted(found.length, "talk")}.`;
}

function goOn(id) {
  const button = make("button", "Go on with it");
  button.type = "button";
  button.addEventListener("click", () => attempt(button, async () => {
    talk = await ask("GET", `/api/talks/${id}`);
    chosen = null;
    await show("talk");
    render();
    get(talk.mode === "talk" ? "line" : "ahead").focus();
  }));
  return button;
}

function read(transcript) {
  const path = `/api/transcripts/${transcript.episode}`;
  get("read").replaceChildren(...transcript.turns.map((turn) => turnItem(turn, false, path, read)));
}

on("find-form", "submit", find);

// --- my data ---

async function showMine() {
  get("name").textContent = me.person;
  const { goals, days, ...numbers } = await ask("GET", "/api/me/dashboard");
  get("days").hidden = !days.length;
  get("day-rows").replaceChildren(...days.map((day) => row(day.day, day.turns, day.corrected, share(day.followed))));
  const rows = [...Object.entries(numbers), ...Object.entries(goals)];
  get("numbers").replaceChildren(...rows.flatMap(([name, value]) => {
    return [make("dt", name.replaceAll("_", " ")), make("dd", String(value))];
  }));
}

on("forget", "click", async () => {
  if (!window.confirm("Delete everything you said here? This cannot be undone.")) return;
  const { deleted, deleted_lessons } = await ask("DELETE", "/api/me/data");
  get("room").hidden = true;
  await showLogin();
  get("status").textContent = `${deleted} talks and ${deleted_lessons} lessons were deleted.`;
});
on("leave", "click", async () => {
  await ask("POST", "/api/logout");
  await showLogin();
});

// --- teaching ---

setInterval(() => { if (!get("teach").hidden && !get("progress-row").hidden) attempt("look again", showTeaching); }, LOOK_AGAIN);

async function showTeaching() {
  renderTeaching(await ask("GET", "/api/teaching"));
}

function renderTeaching(teaching) {
  course = teaching.course;
  const learning = course && ["waiting", "learning"].includes(course.state);
  const asked = course && !learning && course.state !== "learnt" ? course.question : null;
  get("course-form").hidden = Boolean(course);
  get("course").hidden = !course;
  get("question").hidden = !asked;
  get("learn").hidden = !course || learning || course.state === "learnt" || course.answers < course.fewest;
  get("progress-row").hidden = !learning;
  get("report").hidden = !course || course.state !== "learnt";
  get("leave-course").hidden = !course || learning;
  if (course) {
    get("course-title").textContent = `${course.goal} ${course.answers} of ${course.wanted} lines`;
    get("error").textContent = course.state === "failed" ? course.error : "";
  }
  if (asked) {
    const before = asked.history.length ? asked.history.slice(-4) : [];
    get("before").replaceChildren(...before.map((text, place) => said(place % 2 ? "b" : "a", text, null, "line")).map(inItem));
    if (!before.length) get("before").replaceChildren(make("li", "The talk begins here."));
    get("answer").value = asked.proposed;
  }
  if (learning) {
    get("stage").textContent = course.stage || "waiting for another goal to be learnt";
    if (course.stage === "learning") {
      get("progress").max = course.steps;
      get("progress").value = course.done;
    } else get("progress").removeAttribute("value");
  }
  if (course && course.report) renderReport(course.report);
  renderVersions(teaching);
}

function inItem(element) {
  const item = make("li");
  item.append(element);
  return item;
}

function renderReport(report) {
  const { before, after } = report;
  get("report-rows").replaceChildren(
    row("follow the new goal", share(before.new), share(after.new)),
    row("follow the goals known before", share(before.old), share(after.old)),
    ...Object.keys(after.goals).map((goal) => row(goal, share(before.goals[goal]), share(after.goals[goal]))),
    row("perplexity of replies, a word", before.ppl_word.toFixed(1), after.ppl_word.toFixed(1)),
  );
  get("judge").textContent = `Judged by ${report.judge}. It recognises ${share(report.judge_recall)} of lines with the goal and `
    + `takes ${share(report.judge_false_alarms)} of others for such, on ${report.judge_tested_on}.`;
  get("status").textContent = `It has learnt, in ${Math.round(report.seconds)} seconds. Keep it?`;
}

function renderVersions(teaching) {
  const versions = [{ version: 0, goal: "untaught" }, ...teaching.versions];
  get("versions").replaceChildren(...versions.map(({ version, goal, from }) => {
    const item = make("li", version ? `${version}: ${goal} taught to version ${from} ` : "0: untaught ");
    if (version === teaching.in_use) item.append(make("strong", "in use"));
    else {
      const button = make("button", `Use version ${version}`);
      button.type = "button";
      button.addEventListener("click", () => attempt(button, () => restore(version)));
      item.append(button);
    }
    return item;
  }));
}

const share = (value) => (value === null ? "unknown" : `${Math.round(100 * value)}%`);

function row(name, ...cells) {
  const element = make("tr");
  const head = make("th", name);
  head.scope = "row";
  element.append(head, ...cells.map((cell) => make("td", String(cell))));
  return element;
}

async function teach(name, body) {
  renderTeaching(await ask("POST", `/api/teaching/${name}`, body));
}

async function restore(version) {
  await teach("restore", { version });
  get("status").textContent = `Version ${version} is in use, in every talk that begins from now on.`;
}

on("course-form", "submit", async () => {
  get("status").textContent = "Looking for moments to ask about ...";
  await teach("begin", { goal: get("course-goal").value.trim(), answers: Number(get("course-answers").value) });
  get("status").textContent = "";
  get("answer").focus();
});
on("answer-form", "submit", async () => {
  const line = get("answer").value.trim();
  await teach("answer", { question: course.question.number, line: line === course.question.proposed ? null : line });
  (get("question").hidden ? get("learn") : get("answer")).focus();
});
on("pass-over", "click", async () => {
  await teach("pass-over", { question: course.question.number });
  get("answer").focus();
});
on("learn", "click", () => teach("learn"));
on("keep", "click", async () => {
  await teach("keep");
  get("course-goal").value = "";
  get("status").textContent = "Kept: it can be asked for in every talk that begins from now on.";
});
on("leave-course", "click", async () => {
  await teach("leave");
  get("status").textContent = "Nothing was learnt; your lines are kept for another time.";
});

attempt("coming in", () => enter().catch(showLogin));
