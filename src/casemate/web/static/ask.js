// Asking without a new page: the answer arrives sentence by sentence. Everything the server sends
// is finished, escaped HTML from the templates that also make the page without script.

import { events } from "./events.js";

export function follow(form) {
  const page = new Page(form);
  let running = null;

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) {
      running.abort();
      return;
    }
    if (!page.question.value.trim()) {
      page.problem(form.dataset.empty);
      return;
    }
    running = new AbortController();
    page.begin();
    try {
      await tell(form, page, running.signal);
    } finally {
      running = null;
      page.end();
    }
  });

  page.question.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!running) form.requestSubmit();
  });
}

async function tell(form, page, signal) {
  let over = false;
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new URLSearchParams(new FormData(form)),
      headers: { Accept: "text/event-stream" },
      redirect: "error",
      signal,
    });
    for await (const { kind, content } of events(answer.body)) {
      over ||= kind === "finished" || kind === "failed" || kind === "problem";
      page[kind]?.(content);
    }
  } catch {
    // a broken connection is told below
  }
  if (!over) page.say(signal.aborted ? form.dataset.stopped : form.dataset.lost);
}

const id = (name) => document.getElementById(name);

class Page {
  constructor(form) {
    this.form = form;
    this.question = id("question");
    this.button = id("ask-button");
    this.answer = id("answer");
    this.steps = this.answer.querySelector(".steps");
    this.line = id("steps-line");
    this.list = id("steps-list");
    this.thoughts = id("thinking");
    this.body = id("answer-body");
    this.strips = [id("answer-marking"), id("answer-marking-end")];
    this.live = id("answer-live");
    this.foot = id("answer-foot");
    this.sources = id("sources");
    this.empty = this.sources.innerHTML;
  }

  begin() {
    this.problem("");
    for (const part of [this.list, this.body, this.live, this.foot]) part.replaceChildren();
    this.steps.querySelector(".also-read")?.remove();
    this.thoughts.querySelector("div").replaceChildren();
    this.thoughts.hidden = true;
    this.mark("");
    this.show(false);
    this.live.classList.remove("unanswered");
    this.live.removeAttribute("lang");
    this.sources.innerHTML = this.empty;
    this.answer.hidden = false;
    this.done = "";
    history.replaceState(null, "", "/"); // this answer is not the one before
    this.doing({ line: this.form.dataset.begins });
    this.button.textContent = this.form.dataset.stop;
    this.button.classList.remove("primary");
  }

  end() {
    this.calm();
    this.button.textContent = this.form.dataset.ask;
    this.button.classList.add("primary");
  }

  problem(content) {
    const text = content.text ?? content;
    id("question-problem").textContent = text;
    this.question.closest(".box").classList.toggle("has-problem", Boolean(text));
    if (!text) {
      this.question.removeAttribute("aria-invalid");
      return;
    }
    this.question.setAttribute("aria-invalid", "true");
    this.answer.hidden = true;
    this.question.focus();
  }

  say(text) {
    this.calm();
    const notice = document.createElement("p");
    notice.className = "notice";
    notice.setAttribute("role", "status");
    notice.textContent = text;
    this.foot.replaceChildren(notice);
  }

  calm() {
    this.line.classList.remove("busy");
    this.steps.classList.remove("is-busy");
    this.line.textContent = this.done;
    this.steps.hidden = !this.done; // what failed before its first step has none to show
  }

  // The label strip stands above and below the text from its first word on.
  mark(strip) {
    for (const place of this.strips) place.innerHTML = strip;
  }

  show(visible) {
    for (const part of [...this.strips, this.live]) part.hidden = !visible;
  }

  // One method for each kind of event.

  admitted({ marking }) {
    this.mark(marking);
  }

  doing({ line }) {
    this.line.textContent = line;
    this.steps.hidden = false;
    this.line.classList.add("busy");
    this.steps.classList.add("is-busy");
  }

  step({ html, line }) {
    this.list.insertAdjacentHTML("beforeend", html);
    this.done = line;
  }

  thinking({ text }) {
    this.thoughts.hidden = false;
    this.thoughts.querySelector("div").append(text);
  }

  text({ paragraph, html }) {
    this.show(true);
    if (paragraph || !this.live.lastElementChild) this.live.append(document.createElement("p"));
    this.live.lastElementChild.insertAdjacentHTML("beforeend", html);
  }

  cited({ number, html, marking }) {
    this.mark(marking);
    const before = id(`source-${number}`);
    if (before) {
      before.insertAdjacentHTML("beforebegin", html);
      before.remove();
    } else {
      this.sources.querySelector(".pane-empty")?.remove();
      this.sources.insertAdjacentHTML("beforeend", html);
    }
  }

  finished({ run, line, outcome, language, marking, body, sources, foot }) {
    this.done = line;
    this.calm();
    this.live.lang = language;
    this.live.classList.toggle("unanswered", outcome === "unanswered");
    this.mark(marking);
    this.show(true);
    if (body !== null) this.live.innerHTML = body;
    if (sources !== null) this.sources.innerHTML = sources || this.empty;
    this.foot.innerHTML = foot;
    // who reads a source and comes back, or reloads, finds the answer again
    history.replaceState(null, "", `/runs/${encodeURIComponent(run)}`);
  }

  failed({ html }) {
    this.calm();
    this.foot.innerHTML = html;
  }
}

// Each use case reaches its own collections; what the chosen one does not reach is neither seen
// nor sent.
export function reach(form) {
  const chosen = form.querySelector("select#use_case");
  chosen?.addEventListener("change", () => {
    id("shown_for").value = chosen.value;
    for (const part of form.querySelectorAll("[data-use-cases]")) {
      const out = !part.dataset.useCases.split(" ").includes(chosen.value);
      if (out === part.hidden) continue;
      part.hidden = out;
      if (!part.matches(".choice")) continue;
      for (const field of part.querySelectorAll("input")) field.disabled = out;
      part.querySelector("[type=checkbox]").checked = !out;
    }
  });
}
