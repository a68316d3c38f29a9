import * as deputize from "deputize";
import module from "deputize/deputize_bg.wasm";
import { job, outcome } from "../job.js";

deputize.setModule(module);
ended(await outcome(told().then((said) => job(deputize, said))));
