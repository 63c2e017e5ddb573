// What is tried on the person: values that this page goes by instead of its own, and a word to the service once it has
// gone by one, since what was never acted on cannot have done anything.

import { Pump } from "./wire.js";

const AGAIN_MS = 300_000; // an experiment may begin or end while the page is open

export class Trial {
  constructor({ wire, user, session, changed }) {
    Object.assign(this, { wire, user, session, changed });
    this.settings = {}; // of all arms together
    this.flags = {};
    this.assignments = [];
    this.waiting = []; // exposures that the service does not know of
    this.told = new Set();
    const isFinal = (problem) => Boolean(problem.isDenial);
    this.asking = new Pump(() => this.ask(), { isFinal });
    this.telling = new Pump(() => this.tell(), { isFinal });
  }

  start() {
    this.asking.poke();
  }

  /** What the person's arms set, or the usual value where they set nothing. */
  value(name, usual) {
    return this.settings[name] ?? usual;
  }

  /** The same for who acts on it now: every experiment that compares this value hears of it, once; the control's too. */
  use(name, usual) {
    for (const { experiment, version, arm, client_values } of this.assignments) {
      const key = `${experiment}/${version}`;
      if (arm === null || !client_values.includes(name) || this.told.has(key)) continue;
      this.told.add(key);
      this.waiting.push({ experiment, version, arm });
      this.telling.poke();
    }
    return this.value(name, usual);
  }

  async ask() {
    const found = await this.wire.send("GET", `v1/users/${encodeURIComponent(this.user)}/assignments`);
    Object.assign(this, { settings: found.settings, flags: found.flags, assignments: found.assignments });
    this.asking.wait(AGAIN_MS);
    this.changed();
  }

  async tell() {
    if (this.waiting.length === 0) return;
    const exposures = [...this.waiting];
    const path = `v1/users/${encodeURIComponent(this.user)}/exposures`;
    await this.wire.send("POST", path, { session_id: this.session, exposures });
    this.waiting = this.waiting.filter((exposure) => !exposures.includes(exposure));
  }
}
