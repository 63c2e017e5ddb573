// The bucket of an experiment in JavaScript, as a frontend would compute it: one JSON answer for each JSON line given.
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const BITS = 52n;

export function bucket(salt, id) {
  const digest = createHash("sha256").update(`${salt}:${id}`, "utf8").digest("hex");
  return Number.parseInt(digest.slice(0, 13), 16);
}

export function place(salt, id, places) {
  return Number((BigInt(bucket(salt, id)) * BigInt(places)) >> BITS);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { salt, id } = JSON.parse(line);
  console.log(JSON.stringify({ salt, id, bucket: bucket(salt, id), slot: place(salt, id, 10_000) }));
}
