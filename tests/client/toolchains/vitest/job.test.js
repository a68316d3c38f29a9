import * as deputize from "deputize";
import * as inline from "deputize/inline";
import { expect, test } from "vitest";
import { job } from "../job.js";

const told = JSON.parse(process.env.TOLD);
const expected = JSON.parse(process.env.EXPECTED);

test("deputize", async () => expect(await job(deputize, told)).toEqual(expected));
test("deputize/inline", async () => expect(await job(inline, told)).toEqual(expected));
