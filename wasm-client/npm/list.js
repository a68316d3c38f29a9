// A list: a promise of all items, and an async iterator that asks for each page when it gets there.

// Ends the iteration if a service never stops giving pages.
const MAX_PAGES = 100_000;

export class List {
  #page;
  #limit;
  #all;

  /** `page(next)` answers `{ items, next }`. `next` is undefined for the first page, and after the last one. */
  constructor(page, limit = Infinity) {
    if (!(typeof limit === "number" && limit > 0)) throw new TypeError("limit must be a number greater than 0");
    this.#page = page;
    this.#limit = limit;
  }

  async *[Symbol.asyncIterator]() {
    let left = this.#limit;
    let next;
    for (let pages = 0; pages < MAX_PAGES; pages++) {
      const page = await this.#page(next);
      for (const item of page.items) {
        yield item;
        if (--left <= 0) return;
      }
      if (page.next === undefined) return;
      if (page.next === next) throw new RangeError("A page of the list leads to itself");
      next = page.next;
    }
    throw new RangeError(`A list of more than ${MAX_PAGES} pages`);
  }

  // Asked for once, however often it is awaited; not at all if it is only iterated over.
  async #collect() {
    const items = [];
    for await (const item of this) items.push(item);
    return items;
  }

  then(fulfilled, rejected) {
    this.#all ??= this.#collect();
    return this.#all.then(fulfilled, rejected);
  }

  catch(rejected) {
    return this.then(undefined, rejected);
  }

  finally(settled) {
    return this.then().finally(settled);
  }

  get [Symbol.toStringTag]() {
    return "List";
  }
}
