import * as deputize from "deputize";
import { job, outcome } from "../job.js";

ended(await outcome(told().then((said) => job(deputize, said))));
