// The display's session with the service: what it has on lease, what it has claimed, and its sign of life.
//
//   queue   on lease, not claimed: another tab, or time, may still take it away
//   claims  asked for, not answered; sent again under the same claim id until an answer comes
//   ready   claimed and not drawn yet: ours whatever happens, and the only ones that may be drawn
//
// It draws nothing, and it never decides when: `take` gives the next artwork when the wall wants one.

import { newId, Pump } from "./wire.js";
import { noteAsked } from "./identity.js";

const BEAT_MS = 20_000;
const DEPTH = 10; // artworks on lease, until the service says
const LOW = 3; // artworks left on lease when it asks for more
const NOTHING_MS = 60_000; // until asking again for artworks that do not exist yet, unless the service says
const CLAIMS_AT_ONCE = 20;

export class Session {
  /**
   * `depth`: how many artworks to have on lease; null: as many as the service says. `ahead`: how many to claim ahead, for when the network goes away; never
   * more than half as many as were drawn, so that a short visit wastes few. `spares`: claims of the page before this one.
   */
  constructor({ wire, user, identity, depth, ahead, spares, counters, changed }) {
    Object.assign(this, { wire, user, identity, depth: depth ?? DEPTH, ahead, counters, changed });
    this.given = depth;
    this.id = identity.id;
    this.queue = [];
    this.claims = spares.filter((claim) => !claim.granted);
    this.ready = spares.filter((claim) => claim.granted);
    this.spoken = new Set(spares.map((claim) => claim.artwork.artwork_id)); // claimed by us in whatever state
    this.stock = null; // of the latest plan: unseen in all, shortfall, reason, and whether nothing came
    this.coverage = null;
    this.drawnWhenMeasured = 0;
    this.hungry = false; // the wall waits for an artwork
    this.soon = false; // the wall will want one in a moment
    this.drawn = 0;
    this.drawnWhenAsked = 0;
    this.late = 0; // drawn after the lease's end, from what was claimed ahead
    this.lost = 0; // claims refused
    this.refusals = 0; // in a row
    this.resting = false; // the page is hidden
    this.beaten = Date.now(); // the last sign of life
    this.denied = null; // the problem that ended the pass
    const isFinal = (problem) => this.isFinal(problem);
    this.asking = new Pump(() => this.ask(), { isFinal });
    this.claiming = new Pump(() => this.claim(), { isFinal });
    this.beating = new Pump(() => this.beat(), { isFinal, cap: BEAT_MS });
    this.measuring = new Pump(() => this.measure(), { isFinal, cap: BEAT_MS * 3 });
  }

  start() {
    if (this.claims.length > 0) this.claiming.poke();
    this.asking.poke();
    this.measuring.poke();
    this.beating.wait(BEAT_MS);
  }

  /** The network, or the person, is back: try at once what waits. */
  hurry() {
    for (const pump of [this.asking, this.claiming, this.beating]) if (pump.timer !== 0) pump.hurry();
  }

  /** The next claimed artwork, to be drawn now, or null: then `changed` tells when one is ready. */
  take() {
    const claim = this.ready.shift() ?? null;
    this.hungry = claim === null;
    this.soon = false;
    if (claim !== null) {
      this.drawn += 1;
      this.late += Date.parse(claim.artwork.expires_at) < Date.now();
    }
    this.stockUp();
    return claim;
  }

  /** What the next page of this tab may go on with: claims that nothing was drawn for. */
  spares() {
    return [...this.ready, ...this.claims];
  }

  /** What keeps requests from succeeding at the moment, or null. */
  get trouble() {
    return this.denied ?? this.claiming.trouble ?? this.asking.trouble ?? this.beating.trouble;
  }

  /** Artworks that the person has not seen yet, those claimed ahead included. */
  get unseen() {
    return Math.max((this.stock?.unseen ?? 0) - (this.drawn - this.drawnWhenAsked), 0);
  }

  /** The share of the eligible pool that the person has seen, or null where nobody knows. */
  get share() {
    if (!this.coverage?.eligible) return null;
    return Math.min((this.coverage.seen + this.drawn - this.drawnWhenMeasured) / this.coverage.eligible, 1);
  }

  /** Whether the wall waits and nothing is on its way. */
  get isStarving() {
    return this.hungry && this.ready.length + this.claims.length === 0;
  }

  /** Whether there is nothing to show and the service said so. */
  get isEmpty() {
    return this.stock?.nothing && this.queue.length + this.claims.length + this.ready.length === 0;
  }

  /** The wall will want an artwork in a moment: so long before drawing it is claimed. */
  prepare() {
    if (this.soon || this.ahead === 0) return;
    this.soon = true;
    this.stockUp();
  }

  /** Claim as many as the wall wants now and as may be claimed ahead; ask for more when few are left. */
  stockUp() {
    const allowance = Math.max(this.hungry || this.soon ? 1 : 0, Math.min(this.ahead, Math.floor(this.drawn / 2)));
    while (this.queue.length > 0 && this.ready.length + this.claims.length < allowance) {
      const artwork = this.queue.shift();
      this.spoken.add(artwork.artwork_id);
      this.claims.push({ claim_id: newId(), session_id: this.id, artwork, granted: false });
    }
    if (this.claims.length > 0) this.claiming.poke();
    const few =
      this.queue.length < Math.min(LOW, this.depth) &&
      this.stock?.shortfall === 0 &&
      this.drawn !== this.drawnWhenAsked;
    if (few || this.queue.length === 0) this.asking.poke();
  }

  async ask() {
    if (this.depth <= 1 && this.stock && !this.isStarving) return; // without prefetching: not before the tick
    const { connection } = navigator;
    const body = {
      session_id: this.id,
      depth: this.given ?? undefined,
      network: connection?.effectiveType ?? "4g",
      save_data: connection?.saveData ?? false,
      supersedes: this.identity.supersedes,
    };
    const plan = await this.wire.send("POST", `v1/users/${encodeURIComponent(this.user)}/prefetch`, body);
    noteAsked(this.identity);
    this.depth = plan.requested;
    this.queue = plan.items
      .map((item) => ({ ...item.artwork, p_shown: item.p_shown }))
      .filter((item) => !this.spoken.has(item.artwork_id));
    const nothing = plan.items.length === 0;
    this.stock = {
      unseen: plan.unseen_total + this.ready.length,
      shortfall: plan.shortfall,
      reason: plan.reason,
      nothing,
    };
    this.drawnWhenAsked = this.drawn;
    if (nothing) {
      const wait = plan.retry_after_seconds ? plan.retry_after_seconds * 1000 : NOTHING_MS;
      this.asking.wait(wait * (1 + 0.1 * Math.random()));
    } else this.stockUp();
    this.changed();
  }

  async claim() {
    while (this.claims.length > 0) {
      const batch = this.claims
        .filter((claim) => claim.session_id === this.claims[0].session_id)
        .slice(0, CLAIMS_AT_ONCE);
      const granted = await this.verdicts(batch);
      this.claims = this.claims.filter((claim) => !batch.includes(claim));
      batch.forEach((claim, i) => this.settle(claim, granted[i]));
      this.changed();
      if (!granted.includes(true)) this.giveUpLeases();
    }
    this.stockUp();
  }

  /** Whether each claim of a batch is granted; one that cannot be granted counts as refused. */
  async verdicts(batch) {
    const bodies = batch.map(({ claim_id, session_id, artwork }) => ({
      user_id: this.user,
      session_id,
      lease_id: artwork.lease_id,
      artwork_id: artwork.artwork_id,
      claim_id,
    }));
    try {
      const answer = await this.wire.send("POST", "v1/claims", bodies.length === 1 ? bodies[0] : { claims: bodies });
      return answer.claims.map((claim) => claim.status === "claimed");
    } catch (problem) {
      if (problem.passes || problem.isDenial) throw problem;
      return batch.map(() => false); // 409 lease_lost; anything else of 400 to 499 will not be mended by repetition
    }
  }

  settle(claim, granted) {
    if (granted) {
      this.ready.push({ ...claim, granted });
      this.refusals = 0;
      return;
    }
    this.lost += 1;
    this.spoken.delete(claim.artwork.artwork_id); // should it be offered again, it is free again
  }

  /** All was refused: what else we believe to hold is as doubtful, so ask what we do hold; not in a frenzy. */
  giveUpLeases() {
    this.queue = [];
    this.refusals += 1;
    this.asking.wait(Math.random() * Math.min(30_000, 250 * 2 ** Math.min(this.refusals, 16)));
  }

  async beat() {
    if (this.resting) return;
    const path = `v1/sessions/${encodeURIComponent(this.id)}/heartbeat`;
    const asking = this.asking.running;
    const pulse = await this.wire.send("POST", path, { user_id: this.user, ...this.counters(), late_draws: this.late });
    if (!asking && !this.asking.running && this.stock) {
      const held = new Set(pulse.held);
      this.queue = this.queue.filter((artwork) => held.has(artwork.artwork_id));
      if (this.queue.length === 0) this.stockUp();
    }
    this.beaten = Date.now();
    if (!this.resting) this.beating.wait(BEAT_MS);
    this.changed();
  }

  async measure() {
    if (this.resting) return;
    this.coverage = await this.wire.send("GET", `v1/users/${encodeURIComponent(this.user)}/coverage`);
    this.drawnWhenMeasured = this.drawn;
    if (!this.resting) this.measuring.wait(BEAT_MS * 3);
    this.changed();
  }

  /** A page that nobody looks at gives no sign of life: its leases may end. */
  rest() {
    this.resting = true;
  }

  wake() {
    this.resting = false;
    this.beating.wait(Math.max(this.beaten + BEAT_MS - Date.now(), 0));
    this.measuring.poke();
  }

  isFinal(problem) {
    if (problem.isDenial) {
      this.denied = problem;
      this.changed();
    }
    return Boolean(problem.isDenial);
  }
}
