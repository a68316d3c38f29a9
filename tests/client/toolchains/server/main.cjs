const deputize = require("deputize");
const { job, outcome } = require("./job.cjs");

outcome(job(deputize, JSON.parse(process.env.TOLD))).then((said) => console.log(JSON.stringify(said)));
