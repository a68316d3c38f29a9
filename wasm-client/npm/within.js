// Time limits.

import { DeputizeError } from "./error.js";

/**
 * Runs something with a signal that ends it: the caller's, or after this many milliseconds. The caller gets the error
 * at once, even if the work takes long to end. `late` is the hint of the time-out error.
 */
export async function within({ signal, timeoutMs }, late, run) {
  if (!(Number.isFinite(timeoutMs) && timeoutMs > 0)) {
    throw new TypeError("timeoutMs must be a number of milliseconds greater than 0");
  }
  signal?.throwIfAborted();
  const controller = new AbortController();
  let timer;
  let onAbort;
  try {
    return await new Promise((resolve, reject) => {
      const stop = (why) => {
        // Without the caller's reason, which can be any value and does not concern the work that ends.
        controller.abort();
        reject(why);
      };
      timer = setTimeout(() => stop(timedOut(timeoutMs, late)), timeoutMs);
      onAbort = () => stop(signal.reason);
      signal?.addEventListener("abort", onAbort);
      run(controller.signal).then(resolve, reject);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}

function timedOut(timeoutMs, late) {
  return new DeputizeError({ code: "timeout", detail: `No answer within ${timeoutMs} ms`, hint: late });
}
