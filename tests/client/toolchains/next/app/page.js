"use client";

import * as deputize from "deputize";
import { useEffect } from "react";
import { job, outcome } from "../../job.js";

export default function Page() {
  useEffect(() => {
    if (globalThis.told) outcome(globalThis.told().then((said) => job(deputize, said))).then(globalThis.ended);
  }, []);
  return <h1>A client component</h1>;
}
