// One stack with one Deputize, configured by context: `cdk deploy -c domainName=deputize.example.com …`. The names
// are those of the SAM template's parameters.

import { App, Stack, Validations, aws_iam as iam, aws_lambda as lambda } from "aws-cdk-lib";
import { AwsSolutionsChecks } from "cdk-nag";
import type { IConstruct } from "constructs";
import { fileURLToPath } from "node:url";

import { Deputize, type DeputizeProps } from "../lib/deputize.js";
import { EdgeStack } from "../lib/edge.js";

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

function list(name: string): string[] | undefined {
  return text(name)?.split(",");
}

function network(): DeputizeProps["network"] {
  const [subnetIds, securityGroupIds] = [list("subnetIds"), list("securityGroupIds")];
  const [vpcId, routeTableIds, kms] = [text("vpcId"), list("routeTableIds"), flag("kmsEndpoint")];
  const isWanted = routeTableIds !== undefined || kms;
  if (!subnetIds !== !securityGroupIds) {
    throw new Error("-c subnetIds=… and -c securityGroupIds=… are needed together");
  }
  if (isWanted && !(subnetIds && vpcId)) {
    throw new Error("-c subnetIds=… and -c vpcId=… are needed with routeTableIds and kmsEndpoint");
  }
  if (!subnetIds || !securityGroupIds) return undefined;
  const endpoints = isWanted && vpcId ? { vpcId, routeTableIds, kms } : undefined;
  return { subnetIds, securityGroupIds, endpoints };
}

/** `audit=400,grants=90`, in the functions' own format. The functions check it. */
function assigned(name: string): Record<string, number> | undefined {
  const parts = text(name)?.split(",").map((part) => part.split("="));
  return parts && Object.fromEntries(parts.map(([of, number]) => [of, Number(number)]));
}

const known = { arm64: lambda.Architecture.ARM_64, x86_64: lambda.Architecture.X86_64 };
const architecture = text("architecture") ?? "arm64";
if (!(architecture in known)) throw new Error(`-c architecture=${architecture}: arm64 or x86_64 is wanted`);
const trusted = text("trustedIssuers");
if (text("allowPrivateUpstreams") !== undefined) {
  throw new Error(
    "-c allowPrivateUpstreams is not read any more: list the networks and host names that it was for, such as -c privateUpstreams=10.20.0.0/16,.corp.example",
  );
}

const stackName = text("stackName") ?? "deputize";
// A function's name has at most 64 characters, and the longest one here is `<stack>-delegations`.
if (stackName.length > 52) throw new Error(`-c stackName=${stackName}: 52 characters at most, for functions' names`);

// For a deployment outside of us-east-1: `cdk deploy deputize-edge -c edgeStack=true`. Its outputs are the other
// stack's edgeFunctionArn and webAclArn.
if (flag("edgeStack")) {
  new EdgeStack(app, `${stackName}-edge`, {
    description: "Deputize's part at CloudFront: AI agents act for people, and never beyond them",
    wafRateLimit: number("wafRateLimit"),
  });
}

const stack = new Stack(app, stackName, {
  description: "Deputize: AI agents act for people, and never beyond them",
});
const deputize = new Deputize(stack, "Deputize", {
  packages: text("packages") ?? fileURLToPath(new URL("../../../target/lambda", import.meta.url)),
  architecture: known[architecture as keyof typeof known],
  trustedIssuers: trusted && JSON.parse(trusted),
  allowedOrigins: list("allowedOrigins"),
  sharedGrants: text("sharedGrants") as DeputizeProps["sharedGrants"],
  retentionDays: assigned("retentionDays"),
  apps: text("apps") === "none" ? "none" : (list("apps") as Exclude<DeputizeProps["apps"], "none">),
  appHosts: list("appHosts"),
  appSchemes: list("appSchemes"),
  refreshGrace: number("refreshGrace"),
  browserSessionMinutes: assigned("browserSessionMinutes"),
  claimsMaxAgeDays: number("claimsMaxAgeDays"),
  agentsWithoutOwner: text("agentsWithoutOwner") as DeputizeProps["agentsWithoutOwner"],
  maxApiKeyDays: number("maxApiKeyDays"),
  auditLog: text("auditLog") as DeputizeProps["auditLog"],
  auditStreamArn: text("auditStreamArn"),
  privateUpstreams: list("privateUpstreams"),
  network: network(),
  caBundleLayer: text("caBundleLayer"),
  accessLog: flag("accessLog"),
  tracing: flag("tracing"),
  logsKey: text("logsKey"),
  cloudFront: flag("cloudFront"),
  edge: { functionArn: text("edgeFunctionArn"), webAclArn: text("webAclArn") },
  domain: domain(),
  publicUrl: text("publicUrl"),
  alarmEmail: text("alarmEmail"),
  deniedThreshold: number("deniedThreshold"),
  logLevel: text("logLevel") as DeputizeProps["logLevel"],
  logRetention: number("logRetentionDays"),
  memorySize: number("memorySize"),
  throttling: { rate: number("throttlingRate") ?? 1000, burst: number("throttlingBurst") ?? 500 },
  reservedConcurrency: number("reservedConcurrency"),
  proxyConcurrency: number("proxyConcurrency"),
  sessionStreams: text("sessionStreams") === "off" ? "off" : number("sessionStreams"),
  provisionedConcurrency: number("provisionedConcurrency"),
  release: text("release"),
  wafRateLimit: number("wafRateLimit"),
  deletionProtection: flag("deletionProtection"),
});

Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
const acknowledge = (of: IConstruct, reasons: Record<string, string>) => {
  for (const [rule, reason] of Object.entries(reasons)) {
    Validations.of(of).acknowledge({ id: `AwsSolutions::AwsSolutions-${rule}`, reason });
  }
};
acknowledge(deputize.api, {
  APIG1:
    "Access logs are optional (accessLog): they need a role for the whole account and region, which a stack must not set; functions log each request, and decisions are in the audit trail.",
  APIG2:
    "Each function validates its requests, with the code that also runs locally; a model at the gateway would be a second opinion.",
  APIG3: "A web ACL is optional (wafRateLimit): it costs as much as a small deployment does otherwise.",
  APIG6: "Execution logs would hold credentials and tools' arguments, which nothing here logs.",
});
for (const role of deputize.node.children.filter((child) => child instanceof iam.Role)) {
  acknowledge(role, {
    "IAM5[Resource::*]": "Lambda needs actions that know no resource, to connect a function to subnets (network) and to trace it (tracing); the function's own code is denied the former.",
  });
}
if (deputize.distribution && deputize.distributionSecret) {
  acknowledge(deputize.distribution, {
    CFR1: "Agents and the people they act for may be anywhere; whoever wants to refuse countries has a web ACL for it.",
    CFR2: "A web ACL is optional (wafRateLimit): it costs as much as a small deployment does otherwise.",
    CFR3: "Access logs need a bucket that outlives the stack; functions log each request, and decisions are in the audit trail.",
    CFR4: "Without a domain the certificate is CloudFront's own, and with it the versions of TLS are CloudFront's to choose; with a domain it is TLSv1.2_2021.",
  });
  acknowledge(deputize.distributionSecret, {
    SMG4: "It opens nothing but the way past CloudFront, and both ends get it from the stack; a rotation would have to deploy it anew.",
  });
}
app.synth();
