// `node names.js WASM`: makes the names of functions short, in place. Without names, a stack trace says
// `wasm-function[123]`; as the compiler writes them, they are 10 KB more in a page (by brotli). What is kept is
// where in this package's own source it happened: 0.7 KB. (WebAssembly Core Specification, appendix "Name Section".)

import { readFileSync, writeFileSync } from "node:fs";

const FUNCTIONS = 1;

class Reader {
  constructor(bytes) {
    Object.assign(this, { bytes, at: 0 });
  }
  get more() {
    return this.at < this.bytes.length;
  }
  byte() {
    return this.bytes[this.at++];
  }
  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }
  take(length) {
    return this.bytes.subarray(this.at, (this.at += length));
  }
  text() {
    return new TextDecoder().decode(this.take(this.number()));
  }
}

function number(value) {
  const bytes = [];
  do {
    bytes.push((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
    value >>>= 7;
  } while (value > 0);
  return Buffer.from(bytes);
}

const counted = (bytes) => Buffer.concat([number(bytes.length), bytes]);
const text = (value) => counted(Buffer.from(value));

/**
 * `tokens::Cache::get{}` of `deputize_client::tokens::Cache::get::{{closure}}::h0123456789abcdef`. Of other crates only
 * what tells why a trace ends or begins there. Empty for the rest, and for what is imported, which has a name outside.
 */
export function short(name) {
  if (name.includes("__wbg_")) return "";
  let path = name.replace(/::h[0-9a-f]{16}\b/, "").replace(/\[[0-9a-f]{16}\]/g, "");
  path = path.replaceAll("::{{closure}}", "{}");
  // `<Type as Trait>::method`
  path = path.replace(/^<(?:&(?:mut )?)?([\w:]+)(?:<.*>)? as .*>::(\w+[{}]*)$/, "$1::$2");
  // What a function is generic in.
  for (let before; before !== path; ) [before, path] = [path, path.replace(/(::)?<[^<>]*>/g, "")];
  if (!/^[\w:{}]+$/.test(path)) return "";
  const isOurs = /^deputize_(client|api)::/;
  const last = path.split("::").at(-1);
  if (isOurs.test(path)) return path.replace(isOurs, "");
  return /panic|unwrap_failed|expect_failed|alloc_error|^future_to_promise/.test(last) ? last : "";
}

function shortened(section) {
  const named = [];
  const reader = new Reader(section);
  while (reader.more) {
    const id = reader.byte();
    const content = new Reader(reader.take(reader.number()));
    if (id !== FUNCTIONS) continue;
    for (let left = content.number(); left > 0; left--) {
      const index = content.number();
      const name = short(content.text());
      if (name) named.push(Buffer.concat([number(index), text(name)]));
    }
  }
  const functions = Buffer.concat([number(named.length), ...named]);
  return Buffer.concat([Buffer.from([FUNCTIONS]), counted(functions)]);
}

export function shortNames(wasm) {
  const reader = new Reader(wasm);
  const written = [reader.take(8)];
  while (reader.more) {
    const id = reader.byte();
    let content = reader.take(reader.number());
    if (id === 0) {
      const custom = new Reader(content);
      if (custom.text() === "name") content = Buffer.concat([text("name"), shortened(content.subarray(custom.at))]);
    }
    written.push(Buffer.from([id]), counted(content));
  }
  return Buffer.concat(written);
}

const [, , file] = process.argv;
writeFileSync(file, shortNames(readFileSync(file)));
