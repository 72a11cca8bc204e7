// From a number to the words it rests on: a hairline on wide screens, a sheet from below on
// narrow ones. Enter or a click goes there, Escape comes back.

const narrow = matchMedia("(max-width: 60rem)");
const SVG = "http://www.w3.org/2000/svg";

export function point(pane) {
  const body = pane.querySelector(".pane-body");
  const close = pane.querySelector(".pane-close");
  const line = new Hairline();
  let from = null; // the number one came from
  let shown = null; // the number whose words are lit

  const light = (cite) => {
    if (shown === cite) return;
    dim();
    shown = cite;
    cite.classList.add("is-active");
    cite.closest(".sentence")?.classList.add("is-active");
    const marks = marksOf(cite);
    marks.forEach((mark) => mark.classList.add("is-active"));
    if (!narrow.matches && marks[0]) {
      reveal(body, marks[0]);
      line.draw(cite, marks[0], body);
    }
  };

  const dim = () => {
    shown = null;
    line.clear();
    document.querySelectorAll(".is-active").forEach((one) => one.classList.remove("is-active"));
  };

  const settle = () => {
    const focused = document.activeElement?.closest?.(".cite");
    if (focused) light(focused);
    else if (!(from && pane.contains(document.activeElement))) dim();
  };

  const go = (cite) => {
    const source = marksOf(cite)[0]?.closest(".source") ?? sourceOf(cite);
    if (!source) return;
    from = cite;
    if (narrow.matches) {
      pane.setAttribute("role", "dialog");
      pane.classList.add("has-opened", "is-open");
      reveal(body, marksOf(cite)[0] ?? source);
    }
    source.focus({ preventScroll: true });
    light(cite);
  };

  const back = () => {
    pane.classList.remove("is-open");
    pane.removeAttribute("role");
    from?.focus();
    from = null;
  };

  close.hidden = false;
  close.addEventListener("click", back);
  document.addEventListener("click", (event) => {
    const cite = event.target.closest?.(".cite");
    if (!cite) return;
    event.preventDefault();
    go(cite);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && from) back();
  });
  document.addEventListener("pointerover", (event) => {
    const cite = event.pointerType === "touch" ? null : event.target.closest?.(".cite");
    if (cite) light(cite);
    else if (shown && !event.target.closest?.(".pane")) settle();
  });
  document.addEventListener("focusin", settle);
  const redraw = () => line.redraw();
  addEventListener("scroll", redraw, { passive: true, capture: true });
  addEventListener("resize", redraw, { passive: true });
  narrow.addEventListener("change", dim);
}

function marksOf(cite) {
  const names = (cite.dataset.cited ?? "").split(" ").filter(Boolean);
  const within = (mark) => mark.dataset.marks.split(" ").some((name) => names.includes(name));
  return [...document.querySelectorAll(".source mark")].filter(within);
}

function sourceOf(cite) {
  return document.getElementById(`source-${cite.dataset.number}`);
}

// Scrolls the pane alone: the answer stays where the eye is.
function reveal(body, target) {
  const frame = body.getBoundingClientRect();
  const place = target.getBoundingClientRect();
  if (place.top >= frame.top + 24 && place.bottom <= frame.bottom - 24) return;
  body.scrollTop += place.top - frame.top - frame.height / 3;
}

class Hairline {
  draw(cite, mark, body) {
    this.clear();
    this.ends = { cite, mark, body };
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("class", "hairline");
    this.svg.setAttribute("aria-hidden", "true");
    this.path = document.createElementNS(SVG, "path");
    this.path.setAttribute("pathLength", "1");
    this.dot = document.createElementNS(SVG, "circle");
    this.dot.setAttribute("r", "2");
    this.svg.append(this.path, this.dot);
    document.body.append(this.svg);
    this.redraw();
  }

  redraw() {
    if (!this.svg) return;
    const { cite, mark, body } = this.ends;
    const number = cite.getBoundingClientRect();
    const words = mark.getClientRects()[0];
    const frame = body.getBoundingClientRect();
    const answer = cite.closest(".prose").getBoundingClientRect();
    // between the lines: under the number's line, along the gutter, under the quoted words
    const x1 = number.left + number.width / 2;
    const y1 = number.bottom + 11;
    const gutter = Math.round((Math.max(answer.right, number.right) + frame.left) / 2) + 0.5;
    const x2 = words.left;
    const y2 = Math.min(Math.max(words.bottom, frame.top), frame.bottom);
    const turn = Math.min(8, Math.abs(y2 - y1) / 2);
    const way = y2 > y1 ? turn : -turn;
    this.path.setAttribute(
      "d",
      `M${x1} ${number.bottom} V${y1} H${gutter - turn} Q${gutter} ${y1} ${gutter} ${y1 + way}` +
        ` V${y2 - way} Q${gutter} ${y2} ${gutter + turn} ${y2} H${x2}`,
    );
    this.dot.setAttribute("cx", x2);
    this.dot.setAttribute("cy", y2);
  }

  clear() {
    this.svg?.remove();
    this.svg = null;
  }
}
