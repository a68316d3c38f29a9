// What CloudFront takes only from us-east-1: a function at its edge, and a web ACL. In that region they are part of
// Deputize's stack; elsewhere they are a stack of their own. infra/sam/edge.yaml is the same.

import {
  Aws,
  type CfnResource,
  CfnOutput,
  Duration,
  RemovalPolicy,
  Stack,
  type StackProps,
  aws_iam as iam,
  aws_lambda as lambda,
  aws_wafv2 as wafv2,
} from "aws-cdk-lib";
import { Construct } from "constructs";
import { fileURLToPath } from "node:url";

/** The outputs of an `EdgeStack`. */
export interface Edge {
  /** A version of the function that restores the name `WWW-Authenticate`. */
  readonly functionArn?: string;
  /** A web ACL for CloudFront. */
  readonly webAclArn?: string;
}

export interface EdgeStackProps extends StackProps {
  /** How many requests in 5 minutes make a web ACL block an address. Default: no web ACL. */
  readonly wafRateLimit?: number;
}

/** The stack in us-east-1 for a Deputize in another region. */
export class EdgeStack extends Stack {
  constructor(scope: Construct, id: string, props: EdgeStackProps) {
    super(scope, id, { ...props, env: { ...props.env, region: "us-east-1" } });
    const { versionArn } = makeEdgeFunction(this);
    new CfnOutput(this, "EdgeFunctionArn", { value: versionArn });
    if (props.wafRateLimit) {
      new CfnOutput(this, "WebAclArn", { value: makeWebAcl(this, "CLOUDFRONT", props.wafRateLimit).attrArn });
    }
  }
}

/** The function's version, and all resources that belong to it. */
export function makeEdgeFunction(scope: Construct): { versionArn: string; resources: CfnResource[] } {
  // It has no permissions and logs nothing: an edge function's logs would be in the region nearest to each viewer.
  const role = new iam.CfnRole(scope, "EdgeRole", {
    assumeRolePolicyDocument: {
      Version: "2012-10-17",
      Statement: [
        {
          Effect: "Allow",
          Principal: { Service: ["lambda.amazonaws.com", "edgelambda.amazonaws.com"] },
          Action: "sts:AssumeRole",
        },
      ],
    },
  });
  const made = new lambda.Function(scope, "EdgeFunction", {
    description: `Restores the name of the header WWW-Authenticate, for ${Aws.STACK_NAME}`,
    code: lambda.Code.fromAsset(fileURLToPath(new URL("../../edge", import.meta.url))),
    handler: "index.handler",
    runtime: lambda.Runtime.NODEJS_24_X,
    memorySize: 128,
    timeout: Duration.seconds(5),
    role: iam.Role.fromRoleArn(scope, "EdgeRoleOfIts", role.attrArn, { mutable: false }),
    currentVersionOptions: { removalPolicy: RemovalPolicy.RETAIN },
  });
  // It is kept when the stack is deleted: Lambda cannot delete a function that has replicas, and CloudFront takes
  // hours to remove them.
  made.applyRemovalPolicy(RemovalPolicy.RETAIN);
  const version = made.currentVersion;
  // SAM makes an alias with each version. CloudFront does not accept aliases.
  const alias = new lambda.CfnAlias(scope, "EdgeFunctionAlias", {
    functionName: made.functionName,
    functionVersion: version.version,
    name: "live",
  });
  alias.applyRemovalPolicy(RemovalPolicy.RETAIN);
  const resources = [role, alias, ...[made, version].map((each) => each.node.defaultChild as CfnResource)];
  return { versionArn: version.functionArn, resources };
}

/** Blocks by address only. Rules that read bodies would take tools' arguments, which may be code, for attacks. */
export function makeWebAcl(scope: Construct, scopeOfIt: "CLOUDFRONT" | "REGIONAL", limit: number): wafv2.CfnWebACL {
  const visibility = (metricName: string) => ({
    metricName,
    cloudWatchMetricsEnabled: true,
    sampledRequestsEnabled: false,
  });
  return new wafv2.CfnWebACL(scope, "WebAcl", {
    scope: scopeOfIt,
    defaultAction: { allow: {} },
    visibilityConfig: visibility("deputize"),
    rules: [
      {
        name: "rate",
        priority: 0,
        action: { block: { customResponse: { responseCode: 429 } } },
        statement: { rateBasedStatement: { aggregateKeyType: "IP", limit, evaluationWindowSec: 300 } },
        visibilityConfig: visibility("rate"),
      },
      {
        name: "reputation",
        priority: 1,
        overrideAction: { none: {} },
        statement: {
          managedRuleGroupStatement: { vendorName: "AWS", name: "AWSManagedRulesAmazonIpReputationList" },
        },
        visibilityConfig: visibility("reputation"),
      },
    ],
  });
}
