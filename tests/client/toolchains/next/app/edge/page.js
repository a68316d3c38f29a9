import * as deputize from "deputize";
import { connection } from "next/server";
import { job, outcome } from "../../../job.js";

export default async function Page() {
  await connection();
  return <pre>{JSON.stringify(await outcome(job(deputize, JSON.parse(process.env.TOLD))))}</pre>;
}

export const runtime = "edge";
