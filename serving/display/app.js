// The display: puts the parts together, and says what is going on.
//
//   genome, motifs, colour, painter   the picture, from an artwork's fifty numbers
//   wire, session, outbox             the service: requests and patience, leases and claims, events
//   trial                             what is tried on the person: values of arms and flags
//   identity, store                   who we are, and what outlives the page
//   wall, page                        what hangs and for how long; the words around it

import { entrance } from "./genome.js";
import { findPass, hasEnded, makePass, takeSession } from "./identity.js";
import { Outbox } from "./outbox.js";
import { Page } from "./page.js";
import { Painter } from "./painter.js";
import { Session } from "./session.js";
import { Journal, keep, recall, Shelf } from "./store.js";
import { Trial } from "./trial.js";
import { Wall } from "./wall.js";
import { Wire } from "./wire.js";

const TICK_MS = 100;
const ADOPT_MS = 60_000; // how often it looks for what other pages have left unsent
const NOTE_MS = 5_000; // how often it notes how long the artwork has been looked at: so much a crash may lose
const SPARES_MS = 10_000; // a reload takes less; older claims may be a copy that a crash left behind
const KEYS = {
  l: "like",
  f: "favourite",
  s: "skip",
  ArrowRight: "skip",
  " ": "pause",
  h: "history",
  d: "panel",
  "?": "help",
};
const OVER_CARDS = ["history", "help", "panel"];
const REASONS = {
  exhausted: "Nothing new yet: you have seen everything there is.",
  all_leased: "Nothing new yet: what is left is on your other screens.",
  filtered: "Nothing new yet: nothing unseen fits what you chose.",
  degraded: "Nothing new yet: the service is catching up.",
};

const asked = new URLSearchParams(location.search);
const page = new Page();
const painter = new Painter(document.getElementById("moving"), document.getElementById("still"));
let asking = false; // for a pass

async function open({ token, user }) {
  const identity = await takeSession(user);
  const wire = new Wire(new URL(".", document.baseURI), token);
  const shelf = new Shelf(user);
  const journal = new Journal(shelf, identity.id);
  const changed = () => report();
  const tried = new Trial({ wire, user, session: identity.id, changed });
  const outbox = new Outbox({ wire, user, session: identity.id, before: identity.before, shelf, tried, changed });
  const session = new Session({
    wire,
    user,
    identity,
    depth: asked.has("depth") ? number("depth", 10, 1, 50) : null,
    ahead: number("ahead", 3, 0, 20),
    spares: takeSpares(identity, journal),
    counters: () => outbox.counters(),
    changed,
  });
  const seconds = number("seconds", 60, 0.05, 86_400);
  const wall = new Wall({
    painter,
    session,
    outbox,
    journal,
    seconds,
    morph: number("morph", 4, 0, 60),
    changed: (what) => onWall(what),
  });

  tried.start();
  session.start();
  outbox.adopt();
  wall.tick();
  setInterval(
    () => {
      wall.tick();
      report();
    },
    Math.min(TICK_MS, seconds * 250),
  );
  setInterval(() => outbox.adopt(), ADOPT_MS);
  setInterval(() => document.hidden || wall.noteDwell(), NOTE_MS);
  listen();
  stayAwake();

  function onWall(what) {
    if (what === "artwork" && wall.current) page.label(wall.current.artwork);
    if (what === "replay") page.label(wall.replayed, true);
    if (what === "tone") page.tone(wall.lightness);
    page.pressed("like", wall.liked);
    page.pressed("favourite", wall.favourite);
    page.pressed("pause", wall.paused);
    report();
  }

  function report() {
    page.state(stateOf(session, wall));
    page.stats(...statsOf(session));
    page.progress(wall.replayed ? 0 : wall.share);
    if (session.denied && wall.due !== null && session.ready.length === 0)
      askForPass(`${denialOf(session)}. The wall goes on with a new token.`);
    if (page.panelShows) page.panel(workings({ wire, session, outbox, tried, wall, journal, shelf }));
  }

  function listen() {
    addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches?.("input")) return;
      if (event.key === "Escape" && wall.replayed) wall.endReplay();
      const name = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!name || event.repeat || (page.isCovered && !OVER_CARDS.includes(name))) return;
      if (event.key === " " && event.target.closest?.("button")) return; // space presses the button
      event.preventDefault();
      acts[name]();
    });
    page.onTool((name) => acts[name]());
    addEventListener("online", () => {
      session.hurry();
      outbox.hurry();
    });
    document.addEventListener("visibilitychange", () => (document.hidden ? hide() : show()));
    addEventListener("pagehide", (event) => leave(event));
  }

  const acts = {
    like: () => page.toast(wall.like() ? "Liked" : wall.current ? "Liked already" : "Nothing hangs yet"),
    favourite: () => {
      const favourite = wall.toggleFavourite();
      if (favourite !== null) page.toast(favourite ? "A favourite" : "No favourite any more");
    },
    skip: () => wall.skip(),
    pause: () => wall.togglePause(),
    help: () => page.toggle("help"),
    panel: () => page.togglePanel() && report(),
    history: () => page.toggle("history") && showHistory(),
  };

  async function showHistory() {
    try {
      const answer = await wire.send("GET", `v1/users/${encodeURIComponent(user)}/history?limit=120`);
      const painted = new Map(
        shelf
          .sessions("journal")
          .flatMap((id) => shelf.read("journal", id) ?? [])
          .map((draw) => [draw.artwork_id, draw]),
      );
      page.history(answer, painted, new Set(session.spares().map((claim) => claim.artwork.artwork_id)), hangAgain);
    } catch (problem) {
      page.toggle("history");
      page.toast(problem.status === 0 ? "No history without the network" : problem.message);
    }
  }

  async function hangAgain(artwork) {
    try {
      await wire.send(
        "POST",
        `v1/users/${encodeURIComponent(user)}/history/${encodeURIComponent(artwork.artwork_id)}/replay`,
      );
      page.toggle("history");
      wall.replay(artwork);
    } catch (problem) {
      page.toast(problem.status === 0 ? "Not without the network" : problem.message);
    }
  }

  function hide() {
    wall.noteDwell();
    outbox.hide();
    session.rest();
  }

  function show() {
    session.wake();
    outbox.show();
    wall.tick();
  }

  function leave(event) {
    wall.noteDwell();
    outbox.leave();
    if (!event.persisted) keep("spares", { at: Date.now(), session: identity.id, claims: session.spares() });
  }
}

/** Claims that the page before this one had and did not draw; taken once. */
function takeSpares(identity, journal) {
  const spares = recall("spares");
  keep("spares", null);
  const fresh = spares !== null && spares.session === identity.before && Date.now() - spares.at < SPARES_MS;
  return fresh ? spares.claims.filter((claim) => !journal.holds(claim.claim_id)) : [];
}

/** Why the service does not take the pass, in words; that one has ended the service does not say, but the pass itself. */
function denialOf(session) {
  if (session.denied.status !== 401) return "The pass is not for this";
  return hasEnded(pass.token) ? "The pass has ended" : "The pass is not valid here";
}

/** What is going on, in words. */
function stateOf(session, wall) {
  const left = session.ready.length;
  if (session.denied)
    return {
      mood: "ended",
      text: `${denialOf(session)}. ${held(left, wall)}`,
    };
  if (wall.replayed) return { mood: "live", text: "From what you have seen. Esc: back to the wall." };
  const trouble = session.trouble;
  if (trouble || !navigator.onLine) {
    const why = !navigator.onLine || trouble.status === 0 ? "No connection." : "The service does not answer.";
    return { mood: "offline", text: `${why} ${held(left, wall)}` };
  }
  if (session.isEmpty && session.stock.nothing && wall.due !== null) {
    return {
      mood: "nothing",
      text: `${REASONS[session.stock.reason] ?? REASONS.degraded} Asking again`,
      until: countdown(session.asking.wakesAt),
    };
  }
  if (wall.paused) return { mood: "live", text: "Paused" };
  if (wall.due !== null)
    return { mood: "waiting", text: wall.current ? "The next one is on its way" : "Choosing your first artwork" };
  return { mood: "live", text: "" };
}

/** What can still be shown without asking anybody. */
function held(left, wall) {
  if (left > 0) return `${left} more in hand.`;
  return wall.current ? "Holding this one." : "Trying again.";
}

function countdown(at) {
  const seconds = Math.max(Math.ceil((at - Date.now()) / 1000), 0);
  return seconds === 0 ? "now" : `in ${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function statsOf(session) {
  const { drawn, share } = session;
  const parts = [
    drawn > 0 && `${drawn.toLocaleString()} shown`,
    session.stock && `${session.unseen.toLocaleString()} unseen`,
    share !== null && `${percent(share)} of the pool seen`,
  ];
  return [parts.filter(Boolean).join("  \u00b7  "), share];
}

function percent(share) {
  return `${share < 0.01 ? "under 1" : Math.floor(share * 100)}%`;
}

/** What the page is doing, for the panel. */
function workings({ wire, session, outbox, tried, wall, journal, shelf }) {
  const name = (artwork) => `${artwork.artwork_id.slice(0, 8)}  ${(artwork.styles?.[0] ?? "").slice(0, 18)}`;
  const until = (artwork) => `${Math.round((Date.parse(artwork.expires_at) - Date.now()) / 1000)} s`;
  return [
    [
      "Session",
      [
        session.id,
        session.identity.before ? `took over from ${session.identity.before}` : "took over from none",
        `${journal.draws.length} drawn, ${session.lost} claims lost, ${session.late} drawn late`,
      ],
    ],
    ["Hanging", [wall.current ? `${name(wall.current.artwork)}  ${Math.round(wall.looked / 1000)} s` : "nothing"]],
    [`Claimed, not drawn: ${session.ready.length}`, session.ready.map((claim) => name(claim.artwork))],
    [`Being claimed: ${session.claims.length}`, session.claims.map((claim) => name(claim.artwork))],
    [
      `On lease: ${session.queue.length}`,
      session.queue.map((artwork) => `${name(artwork)}  ${until(artwork)}  p ${artwork.p_shown.toFixed(2)}`),
    ],
    [
      "Events",
      [
        `${outbox.pending} waiting, ${outbox.successes} flushes, ${outbox.failures} failed${outbox.dropped ? `, ${outbox.dropped} refused` : ""}${shelf.full ? ", storage full" : ""}`,
      ],
    ],
    [
      "Tried",
      Object.entries({ ...tried.settings, ...tried.flags }).map(([name, value]) => `${name} ${JSON.stringify(value)}`),
    ],
    [
      "Requests",
      wire.recent.map(
        (request) =>
          `${request.status ?? "\u2026"}  ${String(request.ms ?? "").padStart(5)} ms  ${request.method} ${request.path.replace(/[0-9a-f-]{36}/g, "\u2026").split("?")[0]}`,
      ),
    ],
  ];
}

function findPassOrNull() {
  try {
    return findPass();
  } catch (error) {
    page.toast(error.message);
    return null;
  }
}

function askForPass(why) {
  if (asking) return;
  asking = true;
  if (!why) painter.show(entrance(), 0);
  page.askPass(why, (token, user) => {
    makePass(token, user);
    location.reload();
  });
}

function number(name, usual, least, most) {
  const given = Number(asked.get(name) ?? usual);
  return Number.isFinite(given) ? Math.min(Math.max(given, least), most) : usual;
}

/** A page that was opened in the background asks for nothing before it is looked at. */
function whenVisible(work) {
  if (!document.hidden) work();
  else document.addEventListener("visibilitychange", () => work(), { once: true });
}

/** A display's screen should not go dark while it is looked at; where the browser can be asked for that. */
function stayAwake() {
  const hold = () => !document.hidden && navigator.wakeLock?.request("screen").catch(() => {}); // on low battery it is refused
  document.addEventListener("visibilitychange", hold);
  hold();
}

const pass = findPassOrNull();
if (pass === null) askForPass();
else whenVisible(() => open(pass));
addEventListener("hashchange", () => location.reload()); // a new pass was put into the address
