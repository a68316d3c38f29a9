// What each function may do to the table and to the vault's key, by the partition keys in
// functions/core/src/table/key.rs. A partition holds all kinds of items that begin with its key: leading keys cannot
// distinguish a user from their session.

import { aws_iam as iam } from "aws-cdk-lib";

import type { FunctionName } from "./routes.js";

interface Access {
  read: string[];
  list: string[];
  write: string[];
  remove?: string[];
  /** The items that a change requires without writing them: usually those that prove its caller. */
  check?: string[];
  /** Appends audit events outside of transactions. */
  records?: boolean;
  /** By what it queries the trail's indexes. */
  searches?: ("agent" | "user" | "server")[];
  /** What it seals and opens with the vault's key, by the item's partition key in the encryption context. */
  seal?: string[];
  open?: string[];
}

// Functions that users call read these, and store users who come for the first time.
const CALLERS = ["USER#*", "EMAIL#*", "IDENTITY#*", "CONTROL#*"];
const NEWCOMERS = ["USER#*", "USERS", "USERS#*", "EMAIL#*", "IDENTITY#*"];
// A user's app is refused if its token was revoked, or an admin blocked it or the host that it is from.
const APPS = ["APP#*", "APP_HOST#*", "REVOKED#*"];
// What a request with an Idempotency-Key came to, and that a thing was deleted.
const REPEATED = ["ONCE#*", "GONE#*"];
// A change is made only while its caller is still the same. These items prove it: the user, their API key, or their
// subject.
const STANDING = ["USER#*", "IDENTITY#*"];

const ACCESS: Record<FunctionName, Access> = {
  token: {
    read: [...CALLERS, ...APPS, "AGENT#*", "SERVER#*", "ASSERTION#*", "CODE#*", "APP_KEYS"],
    list: ["SIGNING_KEYS"],
    // A user's JWT as actor_token may be the first one of its subject, which is then bound to the user.
    write: [
      "USER#*",
      "IDENTITY#*",
      "REVOKED#*",
      "ASSERTION#*",
      "CODE#*",
      "APP_KEYS",
      "SIGNING_KEYS",
      "AUDIT#*",
    ],
    // Families of refresh tokens.
    remove: ["USER#*"],
    records: true,
    // Of the signing keys, only seals again what a previous key of the vault had sealed.
    seal: ["SIGNING_KEYS", "APP_KEYS"],
    open: ["SIGNING_KEYS", "APP_KEYS"],
  },
  delegations: {
    read: [...CALLERS, ...APPS, "AGENT#*", "DELEGATION#*", "SERVER#*", "ONCE#*"],
    list: ["AGENT#*", "USER#*", "SIGNING_KEYS"],
    write: [...NEWCOMERS, "AGENT#*", "DELEGATION#*", "AT_SERVER#*", "ONCE#*", "AUDIT#*"],
    check: [...STANDING, "AGENT#*"],
    remove: ["AT_SERVER#*"],
  },
  grants: {
    read: [...CALLERS, ...APPS, "AGENT#*", "GRANT#*", "SERVER#*", "CONNECTING#*", ...REPEATED],
    // Policies that name a user who is to be deleted are told.
    list: ["AGENT#*", "USER#*", "SERVER#*", "POLICIES", "SIGNING_KEYS"],
    // Offboarding somebody ends all that they had, and gives away their agents. Deleting them keeps them elsewhere.
    write: [
      ...NEWCOMERS,
      "AGENT#*",
      "AGENTS#*",
      "DELEGATION#*",
      "AT_SERVER#*",
      "GRANT#*",
      "SERVER#*",
      "CONNECTING#*",
      ...REPEATED,
      "DELETED#*",
      "DELETED_LIST#*",
      "AUDIT#*",
    ],
    check: [...STANDING, "DELETED#*"],
    remove: ["USER#*", "USERS", "USERS#*", "SID#*", "AGENTS#*", "AT_SERVER#*", "SERVER#*", "CONNECTING#*"],
    records: true,
    seal: ["USER#*", "SERVER#*", "CONNECTING#*"],
    // Of users' sessions, only those that are deleted: their tokens are revoked at the provider.
    open: ["USER#*", "SERVER#*", "CONNECTING#*"],
  },
  proxy: {
    read: [...CALLERS, ...APPS, "AGENT#*", "SERVER#*", "MCP_SESSION_KEYS"],
    list: ["POLICIES", "SIGNING_KEYS"],
    write: [...NEWCOMERS, "SERVER#*", "MCP_SESSION_KEYS", "AUDIT#*"],
    check: STANDING,
    remove: ["SERVER#*"],
    records: true,
    seal: ["USER#*", "MCP_SESSION_KEYS"],
    open: ["USER#*", "SERVER#*", "MCP_SESSION_KEYS"],
  },
  admin: {
    read: [...CALLERS, ...APPS, "AGENT#*", "SERVER#*", "POLICIES", "AUDIT#*", ...REPEATED, "DELETED#*"],
    list: [
      "USER#*",
      "USERS",
      "USERS#*",
      "AGENT#*",
      "AGENTS",
      "AGENTS#*",
      "GROUP#*",
      "SERVER#*",
      "SERVERS",
      "SERVERS#*",
      "AT_SERVER#*",
      "POLICIES",
      "AUDIT#*",
      "SIGNING_KEYS",
      "DELETED_LIST#*",
    ],
    write: [
      ...NEWCOMERS,
      "AGENT#*",
      "AGENTS",
      "AGENTS#*",
      "GROUP#*",
      // A delegation whose last server is erased ends, and what leads to it with it.
      "DELEGATION#*",
      "SERVER#*",
      "SERVERS",
      "SERVERS#*",
      "POLICIES",
      "CONTROL#*",
      "SIGNING_KEYS",
      ...REPEATED,
      "DELETED#*",
      "DELETED_LIST#*",
      "AUDIT#*",
    ],
    check: [...STANDING, "DELETED#*"],
    // Deleting moves a thing elsewhere. Erasing it, later, takes with it all that was its own.
    remove: [
      "USER#*",
      "USERS",
      "USERS#*",
      "EMAIL#*",
      "IDENTITY#*",
      "SID#*",
      "AGENT#*",
      "AGENTS",
      "AGENTS#*",
      "GROUP#*",
      "DELEGATION#*",
      "GRANT#*",
      "SERVER#*",
      "SERVERS",
      "SERVERS#*",
      "AT_SERVER#*",
      "POLICIES",
      "SIGNING_KEYS",
      "DELETED#*",
      "DELETED_LIST#*",
    ],
    searches: ["agent", "user", "server"],
    seal: ["SIGNING_KEYS", "SERVER#*", "ONCE#*"],
    open: ["ONCE#*"],
  },
  console: {
    read: [
      ...CALLERS,
      ...APPS,
      "SIGN_IN#*",
      "LOGOUT#*",
      "SIGN_IN_SECRETS",
      "APP_KEYS",
      "APP_BLOCKS",
      "SERVER#*",
      ...REPEATED,
      // Who acts for a person, whose connections they use, and what they did.
      "AGENT#*",
      "DELEGATION#*",
      "GRANT#*",
      "DELETED#api_key#*",
      "AUDIT#*",
    ],
    list: [
      "USER#*",
      "SID#*",
      "APPS",
      "APP_BLOCKS",
      "SERVER#*",
      "SERVERS",
      "SERVERS#*",
      "AGENTS#*",
      "SIGNING_KEYS",
    ],
    write: [
      ...NEWCOMERS,
      "SIGN_IN#*",
      "SID#*",
      "LOGOUT#*",
      "APP#*",
      "APP_HOST#*",
      "APPS",
      "APP_BLOCKS",
      "CODE#*",
      "SERVER#*",
      "CONNECTING#*",
      ...REPEATED,
      "AGENT#*",
      "DELEGATION#*",
      "AT_SERVER#*",
      "GRANT#*",
      "DELETED#api_key#*",
      "DELETED_LIST#api_key",
      "AUDIT#*",
    ],
    check: STANDING,
    remove: [
      "USER#*",
      "SID#*",
      "APP#*",
      "APP_HOST#*",
      "APPS",
      "APP_BLOCKS",
      "AT_SERVER#*",
      "DELETED#api_key#*",
      "DELETED_LIST#api_key",
    ],
    records: true,
    searches: ["user"],
    // A session's ID token is sealed for a key of its own, since a user's partition also holds upstream tokens.
    seal: ["ID_TOKEN#*", "SERVER#*", "CONNECTING#*", "ONCE#*"],
    open: ["ID_TOKEN#*", "APP_KEYS", "SIGN_IN_SECRETS", "ONCE#*"],
  },
};

/** What Lambda needs to connect a function to subnets: that of AWSLambdaVPCAccessExecutionRole, without its logs. */
const CONNECTING = [
  "CreateNetworkInterface",
  "DescribeNetworkInterfaces",
  "DescribeSubnets",
  "DeleteNetworkInterface",
  "AssignPrivateIpAddresses",
  "UnassignPrivateIpAddresses",
].map((action) => `ec2:${action}`);

interface Granted {
  table: string;
  key: string;
  log: string;
  /** The function's own ARN, if it is connected to subnets. */
  connects?: string;
  /** Whether X-Ray traces it. */
  traces: boolean;
}

/** The policy of a function's role. */
export function permissions(name: FunctionName, arns: Granted): iam.PolicyDocument {
  const access = ACCESS[name];
  const statements = [
    new iam.PolicyStatement({
      sid: "Log",
      actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
      resources: [arns.log],
    }),
  ];
  if (arns.connects) {
    statements.push(
      new iam.PolicyStatement({ sid: "Connect", actions: CONNECTING, resources: ["*"] }),
      // Lambda connects the function to the subnets with its role. The function's own code must not do that (AWS Lambda
      // Developer Guide, "Giving Lambda functions access to resources in an Amazon VPC").
      new iam.PolicyStatement({
        sid: "ConnectNothingElse",
        effect: iam.Effect.DENY,
        actions: CONNECTING,
        resources: ["*"],
        conditions: { ArnEquals: { "lambda:SourceFunctionArn": arns.connects } },
      }),
    );
  }
  if (arns.traces) {
    statements.push(
      new iam.PolicyStatement({
        sid: "Trace",
        actions: ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
        resources: ["*"],
      }),
    );
  }
  const table = (sid: string, action: string, keys: string[] = []) => {
    if (keys.length === 0) return;
    const conditions = {
      "ForAllValues:StringLike": { "dynamodb:LeadingKeys": keys },
      // With no values, all values count as matching.
      Null: { "dynamodb:LeadingKeys": "false" },
    };
    statements.push(
      new iam.PolicyStatement({ sid, actions: [`dynamodb:${action}`], resources: [arns.table], conditions }),
    );
  };
  const vault = (sid: string, action: string, keys: string[] = []) => {
    if (keys.length === 0) return;
    const conditions = { StringLike: { "kms:EncryptionContext:pk": keys } };
    statements.push(new iam.PolicyStatement({ sid, actions: [`kms:${action}`], resources: [arns.key], conditions }));
  };

  table("Read", "BatchGetItem", access.read);
  table("List", "Query", access.list);
  if (access.searches) {
    statements.push(
      new iam.PolicyStatement({
        sid: "SearchTheTrail",
        actions: ["dynamodb:Query"],
        resources: access.searches.map((by) => `${arns.table}/index/audit_by_${by}`),
      }),
    );
  }
  table("Write", "PutItem", access.write);
  table("Check", "ConditionCheckItem", access.check);
  table("Remove", "DeleteItem", access.remove);
  table("Record", "BatchWriteItem", access.records ? ["AUDIT#*"] : []);
  vault("Seal", "GenerateDataKey", access.seal);
  vault("Open", "Decrypt", access.open);
  return new iam.PolicyDocument({ statements });
}
