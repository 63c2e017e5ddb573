// The words and controls around the picture. Writes to the document; decides nothing.

import { genomeOf } from "./genome.js";
import { paint } from "./motifs.js";

const RUNGS = {
  model: "chosen for you",
  near_liked: "near to what you liked",
  style_relaxed: "a step aside",
  unseen: "unseen until now",
};
const TOAST_MS = 1_800;
const IDLE_MS = 4_500;
const LIGHT = 0.56; // lighter walls carry dark letters

const find = (id) => document.getElementById(id);

export class Page {
  constructor() {
    this.root = document.documentElement;
    this.toastTimer = this.idleTimer = 0;
    for (const event of ["pointermove", "pointerdown", "keydown"])
      addEventListener(event, () => this.stir(), { passive: true });
    this.stir();
  }

  /** Name what hangs; `again` for a replay. */
  label({ prompt, styles, artists, reason }, again = false) {
    const title = sentence(prompt) || "Untitled";
    find("title").textContent = again ? `Again: ${title}` : title;
    find("about").textContent = [styles?.[0] && sentence(styles[0].replaceAll("-", " ")), artists?.[0], RUNGS[reason]]
      .filter(Boolean)
      .join("  \u00b7  ");
    find("still").setAttribute("aria-label", `Artwork: ${title}`);
    const label = document.querySelector(".label");
    label.classList.remove("arriving");
    void label.offsetWidth; // so that the animation starts anew
    label.classList.add("arriving");
  }

  /** Letters dark or light, by what lies behind them. */
  tone(lightness) {
    this.root.dataset.tone = lightness > LIGHT ? "light" : "dark";
  }

  /** How things are: `mood` for the lamp, words, and when something happens next. */
  state({ mood, text, until }) {
    document.body.dataset.mood = mood;
    document.body.classList.toggle("silent", text === "");
    write("state", text);
    write("until", until ?? "");
  }

  stats(text, coverage) {
    write("stats", text);
    find("ring").dataset.known = String(coverage !== null);
    find("ring").style.setProperty("--share", coverage ?? 0);
  }

  progress(share) {
    find("progress").style.setProperty("--share", share.toFixed(4));
  }

  pressed(act, on) {
    document.querySelector(`[data-act="${act}"]`).setAttribute("aria-pressed", String(on));
  }

  toast(text) {
    find("toast").textContent = text;
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => (find("toast").textContent = ""), TOAST_MS);
  }

  /** The tools show while somebody is about. */
  stir() {
    document.body.classList.remove("idle");
    clearTimeout(this.idleTimer);
    this.idleTimer = setTimeout(() => document.body.classList.add("idle"), IDLE_MS);
  }

  /** Call `act(name)` when a tool is used. */
  onTool(act) {
    document.querySelector(".tools").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) act(button.dataset.act);
    });
  }

  /** Ask for a pass; `open(token, user)` throws what is wrong with it. */
  askPass(why, open) {
    const dialog = find("pass");
    document.body.classList.add("closed");
    if (why) find("pass-why").textContent = why;
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const given = new FormData(event.target);
      try {
        open(given.get("token"), given.get("user"));
      } catch (error) {
        find("pass-error").textContent = error.message;
      }
    });
    if (!dialog.open) dialog.showModal();
  }

  toggle(id) {
    const dialog = find(id);
    if (dialog.open) dialog.close();
    else dialog.showModal();
    return dialog.open;
  }

  get isCovered() {
    return document.querySelector("dialog[open]") !== null;
  }

  /**
   * The days of a history answer: `painted` maps artwork ids to what they are painted from, `ahead` are claimed but not
   * drawn yet, `again` hangs one.
   */
  history(answer, painted, ahead, again) {
    const days = answer.days.map((day) => {
      const list = element("ul");
      const shown = day.sessions
        .flatMap((session) => session.artworks)
        .filter((artwork) => !ahead.has(artwork.artwork_id));
      list.append(...shown.map((artwork) => this.card(artwork, painted.get(artwork.artwork_id), again)));
      return [element("h3", date(day.day)), list];
    });
    const nothing = element("p", "Nothing yet.");
    find("days").replaceChildren(...(days.length > 0 ? days.flat() : [nothing]));
  }

  card(shown, genes, again) {
    const time = new Date(shown.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const notes = [time, shown.favourite && "favourite", shown.replays > 0 && `seen again ${shown.replays}\u00d7`]
      .filter(Boolean)
      .join("  \u00b7  ");
    const words = [element("span", sentence(shown.prompt) || "Untitled", "work"), element("small", notes)];
    const item = element("li");
    if (!genes) {
      item.title = "Painted on another screen";
      item.append(element("div", "", "unpainted"), ...words);
      return item;
    }
    const button = Object.assign(element("button"), { type: "button", title: "Show again" });
    const picture = Object.assign(element("canvas"), { width: 320, height: 200 });
    requestIdle(() => paint(picture.getContext("2d"), 320, 200, genomeOf(genes)));
    button.append(picture, ...words);
    button.addEventListener("click", () => again({ ...genes, prompt: shown.prompt }));
    item.append(button);
    return item;
  }

  /** Show or hide what the page is doing; whether it shows. */
  togglePanel() {
    find("panel").hidden = !find("panel").hidden;
    return !find("panel").hidden;
  }

  get panelShows() {
    return !find("panel").hidden;
  }

  /** `sections`: a list of [heading, lines]. */
  panel(sections) {
    find("panel").replaceChildren(
      ...sections.flatMap(([heading, lines]) => [element("h2", heading), ...lines.map((line) => element("p", line))]),
    );
  }
}

/** Only what is new: a live region speaks at each change. */
function write(id, text) {
  if (find(id).textContent !== text) find(id).textContent = text;
}

function element(name, text = "", className = "") {
  return Object.assign(document.createElement(name), { textContent: text, className });
}

function sentence(text) {
  const clean = (text ?? "").trim();
  return clean.charAt(0).toUpperCase() + clean.slice(1);
}

function date(day) {
  return new Date(`${day}T12:00:00`).toLocaleDateString([], { weekday: "long", day: "numeric", month: "long" });
}

function requestIdle(work) {
  (window.requestIdleCallback ?? setTimeout)(work);
}
