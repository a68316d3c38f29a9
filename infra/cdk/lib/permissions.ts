// What each function may do to the table and to the vault's key, by the partition keys that
// functions/core/src/table/key.rs lists. A partition holds all kinds of items that begin with its key: leading keys
// cannot tell a user from their session.

import { aws_iam as iam } from "aws-cdk-lib";

import type { FunctionName } from "./routes.js";

interface Access {
  read: string[];
  list: string[];
  write: string[];
  remove?: string[];
  /** Appends audit events outside of transactions. */
  records?: boolean;
  /** Queries the trail's indexes. */
  searches?: boolean;
  /** What it seals and opens with the vault's key: the item's partition key is in the encryption context. */
  seal?: string[];
  open?: string[];
}

// Whoever has a user for a caller reads these, and stores who comes for the first time.
const CALLERS = ["USER#*", "EMAIL#*", "IDENTITY#*", "CONTROL#*"];
const NEWCOMERS = ["USER#*", "USERS", "EMAIL#*", "IDENTITY#*"];

const ACCESS: Record<FunctionName, Access> = {
  token: {
    read: [...CALLERS, "AGENT#*", "SERVER#*", "REVOKED#*", "ASSERTION#*"],
    list: ["SIGNING_KEYS"],
    write: ["REVOKED#*", "ASSERTION#*", "SIGNING_KEYS", "AUDIT#*"],
    records: true,
    // Seals only what a previous key of the vault had sealed.
    seal: ["SIGNING_KEYS"],
    open: ["SIGNING_KEYS"],
  },
  delegations: {
    read: [...CALLERS, "AGENT#*", "DELEGATION#*", "SERVER#*"],
    list: ["AGENT#*", "USER#*", "SIGNING_KEYS"],
    write: [...NEWCOMERS, "AGENT#*", "DELEGATION#*", "AUDIT#*"],
  },
  grants: {
    read: [...CALLERS, "AGENT#*", "GRANT#*", "SERVER#*", "CONNECTING#*"],
    list: ["AGENT#*", "SIGNING_KEYS"],
    write: [...NEWCOMERS, "AGENT#*", "GRANT#*", "SERVER#*", "CONNECTING#*", "AUDIT#*"],
    remove: ["USER#*", "SERVER#*", "CONNECTING#*"],
    records: true,
    // Stores the sessions that it makes, and never looks into one.
    seal: ["USER#*", "SERVER#*", "CONNECTING#*"],
    open: ["SERVER#*", "CONNECTING#*"],
  },
  proxy: {
    read: [...CALLERS, "AGENT#*", "SERVER#*", "REVOKED#*", "MCP_SESSION_KEYS"],
    list: ["POLICIES", "SIGNING_KEYS"],
    write: [...NEWCOMERS, "SERVER#*", "MCP_SESSION_KEYS", "AUDIT#*"],
    remove: ["SERVER#*"],
    records: true,
    seal: ["USER#*", "MCP_SESSION_KEYS"],
    open: ["USER#*", "SERVER#*", "MCP_SESSION_KEYS"],
  },
  admin: {
    read: [...CALLERS, "AGENT#*", "SERVER#*", "POLICIES", "AUDIT#*"],
    list: ["USER#*", "USERS", "AGENTS", "SERVERS", "POLICIES", "AUDIT#*", "SIGNING_KEYS"],
    write: [
      ...NEWCOMERS,
      "AGENT#*",
      "AGENTS",
      "SERVER#*",
      "SERVERS",
      "POLICIES",
      "CONTROL#*",
      "SIGNING_KEYS",
      "AUDIT#*",
    ],
    remove: ["USER#*", "POLICIES", "SIGNING_KEYS"],
    searches: true,
    seal: ["SIGNING_KEYS", "SERVER#*"],
  },
};

/** The policy of a function's role. */
export function permissions(name: FunctionName, arns: { table: string; key: string; log: string }): iam.PolicyDocument {
  const access = ACCESS[name];
  const statements = [
    new iam.PolicyStatement({
      sid: "Log",
      actions: ["logs:CreateLogStream", "logs:PutLogEvents"],
      resources: [arns.log],
    }),
  ];
  const table = (sid: string, action: string, keys: string[] = []) => {
    if (keys.length === 0) return;
    const conditions = {
      "ForAllValues:StringLike": { "dynamodb:LeadingKeys": keys },
      // Of no values, all are as wanted.
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
        resources: ["agent", "user", "server"].map((by) => `${arns.table}/index/audit_by_${by}`),
      }),
    );
  }
  table("Write", "PutItem", access.write);
  table("Remove", "DeleteItem", access.remove);
  table("Record", "BatchWriteItem", access.records ? ["AUDIT#*"] : []);
  vault("Seal", "GenerateDataKey", access.seal);
  vault("Open", "Decrypt", access.open);
  return new iam.PolicyDocument({ statements });
}
