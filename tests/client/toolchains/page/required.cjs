const deputize = require("deputize");
const { job, outcome } = require("../../job.js");

outcome(told().then((said) => job(deputize, said))).then(ended);
