// One stack with one Deputize in it, configured by context: `cdk deploy -c domainName=deputize.example.com …`.
// The names are those of the SAM template's parameters.

import { App, Stack, Validations, aws_lambda as lambda } from "aws-cdk-lib";
import { AwsSolutionsChecks } from "cdk-nag";
import { fileURLToPath } from "node:url";

import { Deputize, type DeputizeProps } from "../lib/deputize.js";

const app = new App();

function text(name: string): string | undefined {
  const value: unknown = app.node.tryGetContext(name);
  return value === undefined || value === "" ? undefined : String(value);
}

function number(name: string): number | undefined {
  const value = text(name);
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (!Number.isInteger(parsed) || parsed < 0) throw new Error(`-c ${name}=${value}: a whole number is wanted`);
  return parsed;
}

function flag(name: string): boolean | undefined {
  const value = text(name);
  if (value === undefined) return undefined;
  if (value !== "true" && value !== "false") throw new Error(`-c ${name}=${value}: true or false is wanted`);
  return value === "true";
}

function domain(): DeputizeProps["domain"] {
  const name = text("domainName");
  if (name === undefined) return undefined;
  const certificateArn = text("certificateArn");
  if (certificateArn === undefined) throw new Error("-c certificateArn=… is needed with domainName");
  return { name, certificateArn, hostedZoneId: text("hostedZoneId") };
}

const known = { arm64: lambda.Architecture.ARM_64, x86_64: lambda.Architecture.X86_64 };
const architecture = text("architecture") ?? "arm64";
if (!(architecture in known)) throw new Error(`-c architecture=${architecture}: arm64 or x86_64 is wanted`);
const trusted = text("trustedIssuers");

const stack = new Stack(app, text("stackName") ?? "deputize", {
  description: "Deputize: AI agents act for people, and never beyond them",
});
const deputize = new Deputize(stack, "Deputize", {
  packages: text("packages") ?? fileURLToPath(new URL("../../../target/lambda", import.meta.url)),
  architecture: known[architecture as keyof typeof known],
  trustedIssuers: trusted && JSON.parse(trusted),
  allowedOrigins: text("allowedOrigins")?.split(","),
  allowPrivateUpstreams: flag("allowPrivateUpstreams"),
  domain: domain(),
  publicUrl: text("publicUrl"),
  alarmEmail: text("alarmEmail"),
  deniedThreshold: number("deniedThreshold"),
  logLevel: text("logLevel") as DeputizeProps["logLevel"],
  logRetention: number("logRetentionDays"),
  memorySize: number("memorySize"),
  throttling: { rate: number("throttlingRate") ?? 1000, burst: number("throttlingBurst") ?? 500 },
  reservedConcurrency: number("reservedConcurrency"),
  provisionedConcurrency: number("provisionedConcurrency"),
  release: text("release"),
  wafRateLimit: number("wafRateLimit"),
  deletionProtection: flag("deletionProtection"),
});

Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
for (const [rule, reason] of [
  ["APIG1", "Access logs need a role for the whole account and region, which a stack must not set; functions log each request, and decisions are in the audit trail."],
  ["APIG2", "Each function validates its requests, with the code that also runs locally; a model at the gateway would be a second opinion."],
  ["APIG3", "A web ACL is optional (wafRateLimit): it costs as much as a small deployment does otherwise."],
  ["APIG6", "Execution logs would hold credentials and tools' arguments, which nothing here logs."],
] as const) {
  Validations.of(deputize.api).acknowledge({ id: `AwsSolutions::AwsSolutions-${rule}`, reason });
}
app.synth();
