// What outlives a page: the tab's pass and session (sessionStorage, the tab's own), and what must reach the service
// or be read later (localStorage, shared by all tabs; one key a session, so that no tab writes over another).

const ROOT = "vernissage";
const WEEK = 7 * 24 * 3600 * 1000;

/** A value of this tab, or null. */
export function recall(name) {
  return read("sessionStorage", `${ROOT}/${name}`);
}

/** Keep a value for this tab; null removes it. */
export function keep(name, value) {
  write("sessionStorage", `${ROOT}/${name}`, value);
}

/** One user's shelf in the storage that all tabs share. */
export class Shelf {
  constructor(user) {
    this.root = `${ROOT}/${encodeURIComponent(user)}`;
    this.full = false;
  }

  read(kind, session = "") {
    return read("localStorage", this.key(kind, session));
  }

  /** Write; whether it was kept (the storage may be full or closed: then this page's memory is all there is). */
  write(kind, session, value) {
    this.full = !write("localStorage", this.key(kind, session), value);
    return !this.full;
  }

  /** The sessions that have something of this kind. */
  sessions(kind) {
    const start = this.key(kind, "");
    const keys = attempt(() => Object.keys(localStorage), []);
    return keys.filter((key) => key.startsWith(start)).map((key) => key.slice(start.length));
  }

  key(kind, session) {
    return `${this.root}/${kind}/${session}`;
  }
}

/** The record of what was drawn, written before each draw, so that it can be held against the service's own. */
export class Journal {
  constructor(shelf, session) {
    Object.assign(this, { shelf, session, draws: shelf.read("journal", session) ?? [] });
    window.__draws = this.draws;
    for (const old of shelf.sessions("journal")) {
      const last = shelf.read("journal", old)?.at(-1);
      if (!last || Date.now() - Date.parse(last.at) > WEEK) shelf.write("journal", old, null);
    }
  }

  note(draw) {
    this.draws.push(draw);
    this.shelf.write("journal", this.session, this.draws.slice(-500));
  }

  /** Whether a claim was drawn by any session of this browser. */
  holds(claimId) {
    return this.shelf
      .sessions("journal")
      .some((session) => this.shelf.read("journal", session)?.some((draw) => draw.claim_id === claimId));
  }
}

/** The value under a key; null where there is none, where it is not ours, or where the browser forbids storage. */
function read(storage, key) {
  return attempt(() => JSON.parse(window[storage].getItem(key)), null);
}

/** Write; false where the storage is full or forbidden. */
function write(storage, key, value) {
  return attempt(() => {
    if (value === null) window[storage].removeItem(key);
    else window[storage].setItem(key, JSON.stringify(value));
    return true;
  }, false);
}

/** What `work` returns, or `otherwise` where it throws, as every use of a forbidden storage does. */
function attempt(work, otherwise) {
  try {
    return work();
  } catch {
    return otherwise;
  }
}
