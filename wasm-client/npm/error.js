// The only error that this package throws.

export class DeputizeError extends Error {
  constructor({ code, status, detail, hint, requestId, retryAfter, challenge, reason, deniedFor, policies, explanation, scope, cause }) {
    super(hint ? `${detail}. ${hint}` : detail, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.hint = hint;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    // Only if they have values.
    if (challenge !== undefined) this.challenge = challenge;
    if (reason !== undefined) this.reason = reason;
    if (deniedFor !== undefined) Object.assign(this, { deniedFor, policies, explanation });
    if (scope !== undefined) this.scope = scope;
  }
}

// For code that prints an error by its name. Not among its own fields.
Object.defineProperty(DeputizeError.prototype, "name", { value: "DeputizeError", configurable: true, writable: true });
