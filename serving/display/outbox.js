// What the person did and saw, on its way to the service: events with ids of their own, so that sending twice does no
// harm, kept on the shelf until they are acknowledged, so that a reload, a crash or a dead network loses none.

import { newId, Pump } from "./wire.js";
import { liveSessions } from "./identity.js";

const FLUSH_S = 5; // events wait so long for company, unless another value is tried
const LEAVING_MS = 1_000; // when the page is hidden: it may not come back, but it may as well be back at once
const BATCH = 200; // the same
const BEACON_BYTES = 60_000; // browsers refuse more than 64 KiB

export class Outbox {
  /** `before`: the session of this tab's page before this one, whose outbox is surely nobody's any more. */
  constructor({ wire, user, session, before, shelf, tried, changed }) {
    Object.assign(this, { wire, user, session, before, shelf, tried, changed });
    const kept = shelf.read("outbox", session);
    this.events = kept?.events ?? [];
    this.wishes = kept?.wishes ?? {}; // artwork id -> whether it is to be a favourite
    this.draft = null; // the dwell so far of what is on the wall; an event once it leaves
    this.dwell = null; // which claim that is, and the event's id
    this.batch = null; // fewer than usual, after a refusal
    this.successes = 0;
    this.failures = 0;
    this.dropped = 0;
    this.due = 0; // when what waits is sent in any case
    this.flushing = new Pump(() => this.flush(), {
      isFinal: (problem) => problem.isDenial,
      base: 1_000,
      isFlat: () => this.tried.use("retry", "doubling") === "flat",
    });
  }

  get pending() {
    return this.events.length + Object.keys(this.wishes).length;
  }

  /** What the heartbeat tells of us. */
  counters() {
    return { flush_successes: this.successes, flush_failures: this.failures, pending: this.pending };
  }

  /** An event to send; `claim` is what it is about. */
  add(kind, claim, value = null) {
    this.events.push(this.event(kind, claim, value));
    this.save();
    this.soon(this.tried.use("flush_delay_s", FLUSH_S) * 1000);
  }

  /** Note how long an artwork has been looked at so far; one event, whenever it is sent. */
  noteDwell(claim, seconds) {
    if (this.dwell?.claim !== claim.claim_id) this.dwell = { claim: claim.claim_id, event_id: newId() };
    this.draft = { ...this.event("dwell", claim, seconds), event_id: this.dwell.event_id };
    this.save();
  }

  /** The artwork has left the wall. */
  endDwell(claim, seconds) {
    this.noteDwell(claim, seconds);
    this.events.push(this.draft);
    this.draft = null;
    this.save();
    this.soon(this.tried.use("flush_delay_s", FLUSH_S) * 1000);
  }

  /** Make an artwork a favourite, or no favourite any more. */
  wish(artworkId, favourite) {
    this.wishes[artworkId] = favourite;
    this.save();
    this.soon(0);
  }

  /** The page is hidden and may be dropped without a word. */
  hide() {
    if (this.pending > 0) this.soon(LEAVING_MS);
  }

  /** The network is back: try at once what waits. */
  hurry() {
    if (this.pending > 0 && this.flushing.timer !== 0) this.flushing.hurry();
  }

  /** The page is looked at again: no more haste than before, so that changing tabs to and fro sends nothing more. */
  show() {
    const { flushing } = this;
    if (flushing.timer !== 0 && flushing.failures === 0) flushing.wait(Math.max(this.due - Date.now(), 0));
  }

  /** The page goes away: send what there is without waiting; it stays on the shelf, since nobody tells if it arrived. */
  leave() {
    if (this.draft) this.events.push(this.draft);
    this.draft = null;
    this.save();
    for (let start = 0, sent = true; sent && start < this.events.length;) {
      const part = fitting(this.events, start);
      sent = this.wire.beacon("v1/impressions", { events: part });
      start += part.length;
    }
    for (const [artwork, favourite] of Object.entries(this.wishes))
      this.sendWish(artwork, favourite, true).catch(() => {});
  }

  /** Take over what pages that are gone have left unsent. */
  async adopt() {
    const live = await liveSessions();
    for (const session of this.shelf.sessions("outbox")) {
      if (session === this.session || (session !== this.before && (live === null || live.has(session)))) continue;
      const left = this.shelf.read("outbox", session);
      this.events.push(...(left?.events ?? []), ...(left?.draft ? [left.draft] : []));
      this.wishes = { ...left?.wishes, ...this.wishes };
      this.save();
      this.shelf.write("outbox", session, null);
    }
    if (this.pending > 0) this.soon(0);
  }

  async flush() {
    while (this.events.length > 0) {
      const part = this.events.slice(0, this.batch ?? this.tried.use("batch", BATCH));
      await this.sendEvents(part);
      const gone = new Set(part.map((event) => event.event_id));
      this.events = this.events.filter((event) => !gone.has(event.event_id));
      this.save();
    }
    for (const [artwork, favourite] of Object.entries(this.wishes)) {
      await this.counted(() => this.sendWish(artwork, favourite, false));
      if (this.wishes[artwork] === favourite) delete this.wishes[artwork];
      this.save();
    }
    this.changed();
  }

  /** Send a part; one that is refused for good is halved until the culprit is alone, and that one is dropped. */
  async sendEvents(part) {
    const body = { events: part };
    const accepted = await this.counted(() => this.wire.send("POST", "v1/impressions", body));
    if (accepted) this.batch = null;
    else if (part.length > 1) {
      this.batch = Math.ceil(part.length / 2);
      await this.sendEvents(part.slice(0, this.batch));
      await this.sendEvents(part.slice(this.batch));
    } else {
      this.dropped += 1;
      console.error("refused for good, dropped:", part[0]);
    }
  }

  /** Whether a request was accepted; false when it was refused for good. Throws what may pass, or ends the pass. */
  async counted(request) {
    try {
      await request();
      this.successes += 1;
      return true;
    } catch (problem) {
      this.failures += 1;
      if (problem.passes || problem.isDenial) throw problem;
      return false;
    }
  }

  sendWish(artwork, favourite, keepalive) {
    const path = `v1/users/${encodeURIComponent(this.user)}/favourites/${encodeURIComponent(artwork)}`;
    return this.wire.send(favourite ? "PUT" : "DELETE", path, undefined, { keepalive });
  }

  event(kind, claim, value) {
    const { artwork_id, lease_id } = claim.artwork;
    const at = new Date().toISOString();
    return { event_id: newId(), user_id: this.user, artwork_id, kind, session_id: this.session, at, lease_id, value };
  }

  /** Flush within so many milliseconds, unless it is waiting after a failure: then that wait holds. */
  soon(ms) {
    const { flushing } = this;
    if (flushing.timer === 0) this.due = Date.now() + this.tried.value("flush_delay_s", FLUSH_S) * 1000;
    if (flushing.running) flushing.again = true;
    else if (flushing.timer === 0 || (flushing.failures === 0 && flushing.wakesAt > Date.now() + ms)) flushing.wait(ms);
    this.changed();
  }

  save() {
    const empty = this.pending === 0 && this.draft === null;
    this.shelf.write(
      "outbox",
      this.session,
      empty ? null : { events: this.events, draft: this.draft, wishes: this.wishes },
    );
  }
}

/** As many events from `start` on as a beacon carries. */
function fitting(events, start) {
  let [end, bytes] = [start, 0];
  while (end < events.length && (end === start || bytes < BEACON_BYTES - 1_000))
    bytes += JSON.stringify(events[end++]).length + 1;
  return events.slice(start, end);
}
