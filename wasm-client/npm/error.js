// The only error that this package throws.

const NAME = "DeputizeError";
// Only if they have values.
const RARE = ["challenge", "reason", "deniedFor", "policies", "explanation", "scope"];
const FIELDS = ["code", "status", "detail", "hint", "requestId", "retryAfter", ...RARE];

export class DeputizeError extends Error {
  /** Whether it is one: of another copy of this package too, and as `toJSON` writes it. */
  static is(value) {
    return value?.name === NAME && typeof value.code === "string" && typeof value.detail === "string";
  }

  constructor(fields) {
    const { code, status, detail, hint, requestId, retryAfter, cause } = fields;
    super(hint ? `${detail}. ${hint}` : detail, cause === undefined ? undefined : { cause });
    Object.assign(this, { code, status, detail, hint, requestId, retryAfter });
    for (const name of RARE) if (fields[name] !== undefined) this[name] = fields[name];
  }

  /** For JSON, and for `postMessage`, which keeps no field of an Error. Without stack and cause. */
  toJSON() {
    const { name, message } = this;
    const known = FIELDS.filter((field) => this[field] !== undefined).map((field) => [field, this[field]]);
    return { name, message, ...Object.fromEntries(known) };
  }
}

// For code that prints an error by its name. Not among its own fields.
Object.defineProperty(DeputizeError.prototype, "name", { value: NAME, configurable: true, writable: true });
