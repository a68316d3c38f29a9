// The one error that this package throws.

export class DeputizeError extends Error {
  constructor({ code, status, detail, hint, requestId, retryAfter, deniedFor, policies, reason, scope, cause }) {
    super(hint ? `${detail}. ${hint}` : detail, cause === undefined ? undefined : { cause });
    this.code = code;
    this.status = status;
    this.detail = detail;
    this.hint = hint;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    // Only where they say something.
    if (deniedFor !== undefined) Object.assign(this, { deniedFor, policies, reason });
    if (scope !== undefined) this.scope = scope;
  }
}

// For whoever prints an error by its name; not shown among its fields.
Object.defineProperty(DeputizeError.prototype, "name", { value: "DeputizeError", configurable: true, writable: true });
