// The wall: which artwork hangs, for how long, and when the next one takes its place. Time runs only while somebody can
// look: a hidden page shows nothing, so it uses up nothing.

import { genomeOf } from "./genome.js";
import { lightnessAtFoot } from "./painter.js";

const NAP_MS = 1_000; // a longer gap between two ticks was sleep, not looking
const SOON_MS = 4_000; // before an artwork's time is up, the next one is claimed: enough for a slow network
const REPLAY_MS = 20_000;

export class Wall {
  /** `seconds` per artwork; `morph` seconds from one to the next. `changed(what)` is told of every change. */
  constructor({ painter, session, outbox, journal, seconds, morph, changed }) {
    Object.assign(this, { painter, session, outbox, journal, seconds, morph, changed });
    this.current = null; // the claim that hangs
    this.looked = 0; // milliseconds
    this.due = null; // since when the next one is wanted
    this.paused = false;
    this.liked = false;
    this.favourite = false;
    this.replayed = null; // an artwork of the past, hung for a moment
    this.lightness = 0; // of what hangs, at its foot
    this.ticked = performance.now();
  }

  /** Called several times a second. */
  tick() {
    const now = performance.now();
    const passed = now - this.ticked;
    this.ticked = now;
    if (document.hidden) return;
    if (this.replayed) {
      if (now > this.replayed.until) this.endReplay();
      return;
    }
    if (this.current && !this.paused) this.looked += Math.min(passed, NAP_MS);
    if (this.current && this.seconds * 1000 - this.looked < SOON_MS) this.session.prepare();
    if (this.due === null && this.isTime()) this.due = Date.now();
    if (this.due !== null && !(this.paused && this.current)) this.advance();
  }

  /** The share of the current artwork's time that has passed. */
  get share() {
    return this.current ? Math.min(this.looked / (this.seconds * 1000), 1) : 0;
  }

  isTime() {
    return !this.current || this.looked >= this.seconds * 1000;
  }

  /** Hang the next artwork, if one is claimed; else the last one stays until one is. */
  advance() {
    const claim = this.session.take();
    if (claim === null) return;
    if (this.current) this.outbox.endDwell(this.current, this.looked / 1000);
    this.hang(claim);
  }

  hang(claim) {
    const { artwork } = claim;
    const now = Date.now();
    this.journal.note({
      artwork_id: artwork.artwork_id,
      claim_id: claim.claim_id,
      session_id: claim.session_id,
      at: new Date(now).toISOString(),
      due_at: new Date(this.due ?? now).toISOString(),
      styles: artwork.styles,
      dna_vector: artwork.dna_vector,
    });
    Object.assign(this, { current: claim, looked: 0, due: null, liked: false, favourite: false });
    this.paint(artwork);
    this.changed("artwork");
  }

  async paint(artwork) {
    const seconds = matchMedia("(prefers-reduced-motion: reduce)").matches
      ? 0
      : Math.min(this.morph, this.seconds * 0.4);
    const genome = genomeOf(artwork);
    this.lightness = lightnessAtFoot(genome);
    setTimeout(() => this.changed("tone"), seconds * 500);
    await this.painter.show(genome, seconds);
  }

  skip() {
    if (this.replayed) return this.endReplay();
    if (!this.current || this.due !== null) return undefined; // the next one is awaited already
    this.outbox.add("skip", this.current, this.looked / 1000);
    this.paused = false;
    this.due = Date.now();
    this.advance();
    return this.changed("skip");
  }

  like() {
    if (!this.current || this.liked || this.replayed) return false;
    this.liked = true;
    this.outbox.add("like", this.current, 1);
    this.changed("like");
    return true;
  }

  /** Make the artwork a favourite, or no favourite any more; which of the two. */
  toggleFavourite() {
    if (!this.current || this.replayed) return null;
    this.favourite = !this.favourite;
    this.outbox.wish(this.current.artwork.artwork_id, this.favourite);
    this.changed("favourite");
    return this.favourite;
  }

  togglePause() {
    this.paused = !this.paused;
    this.changed("pause");
  }

  /** Hang an artwork of the past for a moment: no claim, no draw, no dwell; the current one waits. */
  replay(artwork) {
    this.replayed = { ...artwork, until: performance.now() + REPLAY_MS };
    this.paint(artwork);
    this.changed("replay");
  }

  endReplay() {
    if (!this.replayed) return;
    this.replayed = null;
    if (this.current) this.paint(this.current.artwork);
    this.changed("artwork");
  }

  /** Somebody may never come back: note how long it was looked at so far. */
  noteDwell() {
    if (this.current) this.outbox.noteDwell(this.current, this.looked / 1000);
  }
}
