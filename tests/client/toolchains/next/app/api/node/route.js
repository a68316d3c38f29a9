import * as deputize from "deputize";
import { job, outcome } from "../../../../job.js";

export async function POST() {
  return Response.json(await outcome(job(deputize, JSON.parse(process.env.TOLD))));
}
