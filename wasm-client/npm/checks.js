// What callers give, checked before any of it is used.

/** The options, which may have these names and no others. */
export function known(what, options, names) {
  if (options === undefined) return {};
  if (typeof options !== "object" || options === null) throw new TypeError(`${what} must be an object`);
  const unknown = Object.keys(options).filter((name) => !names.includes(name) && options[name] !== undefined);
  if (unknown.length > 0) {
    throw new TypeError(`${what} must not have ${unknown.join(", ")}, but only ${names.join(", ")}`);
  }
  return options;
}

/** The URL without a slash at its end. `isAllowed(host)`: by http, though it is not on this machine. */
export function address(url, base, isAllowed) {
  let parsed;
  try {
    parsed = new URL(typeof url === "string" ? url : url.href, base);
  } catch {
    throw new TypeError(
      "url must be the address of the service, such as https://deputize.example.com; " +
        "a relative one needs base, such as location.href",
    );
  }
  if (parsed.username || parsed.password || parsed.search || parsed.hash) {
    throw new TypeError("url must have no credentials, query or fragment");
  }
  const { protocol, hostname } = parsed;
  const isNear = isLoopback(hostname) || isAllowed?.(hostname);
  if (protocol !== "https:" && !(protocol === "http:" && isNear)) {
    throw new TypeError(
      "url must begin with https://, unless the service is on this machine, " +
        "or in a private network and allowPrivateHttp is true",
    );
  }
  return parsed.href.replace(/\/+$/, "");
}

function isLoopback(host) {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}

export function text(name, value) {
  if (typeof value !== "string" || value === "") throw new TypeError(`${name} must be a text that is not empty`);
}

export function optionalText(name, value) {
  if (value !== undefined) text(name, value);
}

export function aFunction(name, value) {
  if (typeof value !== "function") throw new TypeError(`${name} must be a function`);
}
