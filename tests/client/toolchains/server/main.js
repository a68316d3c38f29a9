import * as deputize from "deputize";
import { job, outcome } from "../job.js";

outcome(job(deputize, JSON.parse(process.env.TOLD))).then((said) => console.log(JSON.stringify(said)));
