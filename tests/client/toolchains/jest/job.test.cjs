const deputize = require("deputize");
const inline = require("deputize/inline");
const { job } = require("./job.cjs");

const told = JSON.parse(process.env.TOLD);
const expected = JSON.parse(process.env.EXPECTED);

test("deputize", async () => expect(await job(deputize, told)).toEqual(expected));
test("deputize/inline", async () => expect(await job(inline, told)).toEqual(expected));
