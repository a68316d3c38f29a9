// Time limits.

import { DeputizeError } from "./error.js";

// A longer timer ends at once (HTML standard, timers: the delay is a 32-bit integer).
const LONGEST_TIMER = 2 ** 31 - 1;

/** Throws if one of a call's limits is wrong. */
export function limits({ signal, timeoutMs, retries }) {
  if (signal !== undefined && typeof signal?.addEventListener !== "function") {
    throw new TypeError("signal must be an AbortSignal");
  }
  if (timeoutMs !== undefined && !(Number.isFinite(timeoutMs) && timeoutMs > 0)) {
    throw new TypeError("timeoutMs must be a number of milliseconds greater than 0");
  }
  if (retries !== undefined && !(Number.isInteger(retries) && retries >= 0 && retries <= 10)) {
    throw new TypeError("retries must be a whole number from 0 to 10");
  }
}

/**
 * Runs something with the bounds of a call: a signal that ends it (the caller's, or after this many milliseconds), when
 * that will be, and the most repetitions. The caller gets the error at once, even if the work takes long to end. The
 * work notes whether it was `sent`. `late` is the hint of the time-out error if it was, and `early` if it was not.
 */
export async function within({ signal, timeoutMs, retries = 2 }, { late, early = late }, run) {
  limits({ signal, timeoutMs, retries });
  if (signal?.aborted) throw signal.reason;
  const controller = new AbortController();
  const call = { signal: controller.signal, until: Date.now() + timeoutMs, retries, sent: false };
  let timer;
  let onAbort;
  try {
    return await new Promise((resolve, reject) => {
      const stop = (why) => {
        // Without the caller's reason, which can be any value and does not concern the work that ends.
        controller.abort();
        reject(why);
      };
      const wait = (left) => {
        const now = Math.min(left, LONGEST_TIMER);
        const over = () => stop(timedOut(timeoutMs, call.sent ? late : early));
        timer = setTimeout(() => (left > now ? wait(left - now) : over()), now);
      };
      wait(timeoutMs);
      onAbort = () => stop(signal.reason);
      signal?.addEventListener("abort", onAbort);
      run(call).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function timedOut(timeoutMs, hint) {
  return new DeputizeError({ code: "timeout", detail: `No answer within ${timeoutMs} ms`, hint });
}
