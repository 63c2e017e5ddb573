// Who this tab is: the user's pass, and a session of its own that no other tab shares.
//
// A reloaded or restored page takes over from the session that the tab had before; a duplicated tab comes with a copy
// of that session, but the one it belongs to is alive, so it starts afresh. Alive is who holds the session's lock.

import { newId } from "./wire.js";
import { keep, recall } from "./store.js";

const TRIES = 5; // a page that is being left lets go of its lock within a moment
const TRY_MS = 80;
const TOKEN = "vtok_";

/** The pass from the address's fragment (taken out of it at once) or from before: {token, user}, or null. */
export function findPass() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token") || given.has("user")) {
    history.replaceState(null, "", location.pathname + location.search);
    return makePass(given.get("token") ?? "", given.get("user") ?? "");
  }
  return recall("pass");
}

/** Keep a token and the user it is for. Throws an Error that says what is wrong with it. */
export function makePass(token, user) {
  const pass = { token: token.trim(), user: user.trim() };
  if (pass.token.startsWith("vern_"))
    throw new Error("That is a service key. It must not be used in a browser: mint a token with it.");
  pass.user ||= userOf(pass.token);
  if (!pass.user) throw new Error("This is not a token, and no user is named.");
  keep("pass", pass);
  return pass;
}

/** This tab's session: its id, the one `before` it in this tab if that page is gone, and whether to replace that one. */
export async function takeSession(user) {
  const before = recall("session");
  const mine = before?.user === user && (await isGone(before.id)) ? before : null;
  const fresh = { user, id: newId(), supersedes: mine?.id ?? null, asked: false };
  const session = { ...(mine && !mine.asked ? mine : fresh), before: mine?.id ?? null };
  keep("session", session);
  navigator.locks?.request(lockOf(session.id), () => new Promise(() => {})); // held as long as the page lives
  return session;
}

/** Note that the service knows the session, and that it has taken over. */
export function noteAsked(session) {
  Object.assign(session, { asked: true, supersedes: null });
  keep("session", session);
}

/** The sessions that are open in this browser; null where the browser does not tell. */
export async function liveSessions() {
  if (!navigator.locks) return null;
  const { held } = await navigator.locks.query();
  return new Set(
    held
      .map((lock) => lock.name)
      .filter((name) => name.startsWith(lockOf("")))
      .map((name) => name.slice(lockOf("").length)),
  );
}

/** Whether nobody holds a session any more. Where locks are missing: yes, since the service's fence is what guards. */
async function isGone(id) {
  if (!navigator.locks) return true;
  for (let tries = 1; tries <= TRIES; tries += 1) {
    if (await navigator.locks.request(lockOf(id), { ifAvailable: true }, (lock) => lock !== null)) return true;
    await new Promise((resolve) => setTimeout(resolve, TRY_MS));
  }
  return false;
}

function lockOf(id) {
  return `vernissage/session/${id}`;
}

/** Whether the time that a token names is over. */
export function hasEnded(token) {
  return payloadOf(token).e * 1000 <= Date.now();
}

/** The user that a token names; "" where it names none. */
function userOf(token) {
  return String(payloadOf(token).u ?? "");
}

/** What a token says; nothing where it is none. */
function payloadOf(token) {
  if (!token.startsWith(TOKEN)) return {};
  try {
    const payload = token.slice(TOKEN.length).split(".")[0].replaceAll("-", "+").replaceAll("_", "/");
    const octets = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(octets)) ?? {};
  } catch {
    return {};
  }
}
