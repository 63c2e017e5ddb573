// Requests to the service: one way to send them, one kind of failure, and the patience to try again.

const WAIT_MS = 15_000;
const RECENT = 12;
const FLAT = 4; // times the base: as long as the third wait of those that double
const TRANSIENT = new Set([0, 408, 425, 429]); // 0: nothing came back; and all of 500 to 599

/** An answer that is not the one hoped for; `status` 0 when none came at all. */
export class Problem extends Error {
  constructor(status, code, detail, retryAfter = 0) {
    super(detail);
    Object.assign(this, { status, code, retryAfter });
  }

  /** Whether the same request may well succeed later. */
  get passes() {
    return TRANSIENT.has(this.status) || this.status >= 500;
  }

  /** Whether the token is the trouble. */
  get isDenial() {
    return this.status === 401 || this.status === 403;
  }
}

/** Sends requests with a bearer token and remembers the latest ones, to be shown. */
export class Wire {
  constructor(base, token) {
    Object.assign(this, { base, token, recent: [] });
  }

  /** The JSON answer. Throws a Problem. */
  async send(method, path, body, { keepalive = false } = {}) {
    const entry = { at: Date.now(), method, path, status: null, ms: null };
    this.recent.unshift(entry);
    this.recent.length = Math.min(this.recent.length, RECENT);
    try {
      const answer = await this.fetch(method, path, body, keepalive);
      entry.status = answer.status;
      const text = await answer.text();
      if (!answer.ok) throw problemOf(answer, text);
      return JSON.parse(text);
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(0, "unreachable", String(error));
      entry.status ??= problem.status;
      throw problem;
    } finally {
      entry.ms = Date.now() - entry.at;
    }
  }

  /** Send on the way out, when no answer can be awaited; whether the browser took it on. */
  beacon(path, body) {
    const url = new URL(path, this.base);
    if (this.token) url.searchParams.set("token", this.token); // a beacon carries no headers
    return navigator.sendBeacon(url, new Blob([JSON.stringify(body)], { type: "application/json" }));
  }

  fetch(method, path, body, keepalive) {
    const headers = this.token ? { Authorization: `Bearer ${this.token}` } : {};
    const options = { method, headers, keepalive, cache: "no-store", signal: AbortSignal.timeout(WAIT_MS) };
    if (body !== undefined) Object.assign(options, { body: JSON.stringify(body) });
    return fetch(new URL(path, this.base), options);
  }
}

/** Runs one job at a time, and after a failure again: later each time, and by chance, so that tabs do not march in step. */
export class Pump {
  /**
   * `job` is async and throws what has failed; `isFinal` tells the failures that waiting does not mend, `isFlat` whether
   * the wait stays as it is instead of doubling.
   */
  constructor(job, { base = 500, cap = 30_000, isFinal = () => false, isFlat = () => false } = {}) {
    Object.assign(this, { job, base, cap, isFinal, isFlat, failures: 0, trouble: null, wakesAt: 0, timer: 0 });
    this.running = false;
    this.again = false;
    this.stopped = false;
  }

  /** Run the job soon; while it waits after a failure this changes nothing. */
  poke() {
    if (this.running) this.again = true;
    else if (this.timer === 0) this.wait(0);
  }

  /** Run the job at once: what it waits for may have come. */
  hurry() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.poke();
  }

  /** Run the job after this many milliseconds, sooner only by `hurry`. */
  wait(ms) {
    if (this.stopped) return;
    clearTimeout(this.timer);
    this.wakesAt = Date.now() + ms;
    this.timer = setTimeout(() => this.run(), ms);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** How long to wait after the failures so far: a full jitter under a roof that doubles, or stays. */
  delay(retryAfter = 0) {
    const growth = this.isFlat() ? FLAT : 2 ** Math.min(this.failures, 16);
    return retryAfter * 1000 + Math.random() * Math.min(this.cap, this.base * growth);
  }

  async run() {
    this.timer = 0;
    if (this.running) {
      this.again = true;
      return;
    }
    Object.assign(this, { running: true, again: false });
    try {
      await this.job();
      Object.assign(this, { failures: 0, trouble: null });
    } catch (error) {
      this.trouble = error;
      if (this.isFinal(error)) this.stop();
      else this.wait(this.delay(error.retryAfter));
      this.failures += 1;
    } finally {
      this.running = false;
    }
    if (this.again && this.timer === 0) this.poke();
  }
}

/** A random identity; also where the page was not loaded securely, which randomUUID asks for. */
export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const octets = crypto.getRandomValues(new Uint8Array(16));
  octets[6] = (octets[6] & 15) | 64;
  octets[8] = (octets[8] & 63) | 128;
  const hex = Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

function problemOf(answer, text) {
  let told = {};
  try {
    told = JSON.parse(text);
  } catch {
    // a proxy's own page: the status says enough
  }
  const after = Number(answer.headers.get("Retry-After"));
  return new Problem(
    answer.status,
    told.code ?? "",
    told.detail ?? answer.statusText,
    Number.isFinite(after) ? after : 0,
  );
}
