import * as deputize from "deputize";
import { job, outcome } from "../../../job.js";

export const config = { runtime: "edge" };

export default async function handler() {
  return Response.json(await outcome(job(deputize, JSON.parse(process.env.TOLD))));
}
