// Deputize on AWS as a construct: the same stack as infra/sam/template.yaml, which tests/infra compares it with.

import {
  Aws,
  CfnOutput,
  Duration,
  RemovalPolicy,
  Stack,
  aws_apigateway as apigateway,
  aws_dynamodb as dynamodb,
  aws_iam as iam,
  aws_kms as kms,
  aws_lambda as lambda,
  aws_logs as logs,
  aws_route53 as route53,
  aws_sns as sns,
  aws_wafv2 as wafv2,
} from "aws-cdk-lib";
import { Construct } from "constructs";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { permissions } from "./permissions.js";
import { FUNCTIONS, type FunctionName, definition } from "./routes.js";
import { title, watch } from "./watching.js";

/** What users' JWTs are trusted from; `functions/core/src/issuers.rs` says what each field means. */
export interface TrustedIssuer {
  issuer: string;
  jwks_uri?: string;
  audiences?: string[];
  any_audience?: boolean;
  link_by_email?: boolean;
  provision?: boolean;
}

export interface DeputizeProps {
  /** The folder with `deputize-token/bootstrap.zip` and the others, as `infra/build` makes it. */
  readonly packages: string;
  /** What they were built for. Default: `arm64`. */
  readonly architecture?: lambda.Architecture;
  /** The OpenID Connect issuers whose JWTs are users'. */
  readonly trustedIssuers?: TrustedIssuer[];
  /** Origins of web pages that may call the service. */
  readonly allowedOrigins?: string[];
  /** Whether MCP servers and their authorization servers may have private addresses. Default: no. */
  readonly allowPrivateUpstreams?: boolean;
  /** Where the service is to be reached, and the certificate for it. Default: at API Gateway's own address. */
  readonly domain?: { name: string; certificateArn: string; hostedZoneId?: string };
  /** Where the service is reached, if a host of yours is in front of it. */
  readonly publicUrl?: string;
  /** Who is told when an alarm goes off. */
  readonly alarmEmail?: string;
  /** How many requests that a function refuses in 5 minutes set off its alarm. Default: 100. */
  readonly deniedThreshold?: number;
  /** Default: `info`. */
  readonly logLevel?: "error" | "warn" | "info" | "debug";
  /** Default: 30 days. */
  readonly logRetention?: logs.RetentionDays;
  /** Memory of each function in MB. Default: 512. */
  readonly memorySize?: number;
  /** Requests a second, and at once, that API Gateway lets in. Default: 1000 and 500. */
  readonly throttling?: { rate: number; burst: number };
  /** Executions at once that each function has for itself and cannot exceed. Default: the account's common pool. */
  readonly reservedConcurrency?: number;
  /** Execution environments that the token function and the proxy keep ready. Default: none. */
  readonly provisionedConcurrency?: number;
  /** Names the version that provisioned environments run. Default: a hash of the packages and the configuration. */
  readonly release?: string;
  /** Requests in 5 minutes after which a web ACL blocks an address. Default: no web ACL. */
  readonly wafRateLimit?: number;
  /** Whether the table refuses to be deleted. Default: yes. */
  readonly deletionProtection?: boolean;
}

const STAGE = "live";
/** The functions that agents wait for. */
const WAITED_FOR: readonly FunctionName[] = ["token", "proxy"];
/** API Gateway waits 29 s for what it does not stream. */
const TIMEOUT = Duration.seconds(29);
/** Amazon Linux's, in one file; else all files of their folder are read as well, at each start. */
const CERTIFICATES = "/etc/pki/tls/certs/ca-bundle.crt";
const STREAMING_TIMEOUT = Duration.minutes(15);

export class Deputize extends Construct {
  readonly url: string;
  readonly table: dynamodb.Table;
  readonly vaultKey: kms.Key;
  readonly api: apigateway.SpecRestApi;
  readonly functions: Record<FunctionName, lambda.Function>;

  constructor(scope: Construct, id: string, props: DeputizeProps) {
    super(scope, id);
    this.table = this.makeTable(props);
    this.vaultKey = new kms.Key(this, "VaultKey", {
      description: `What ${Aws.STACK_NAME} seals stored secrets under`,
      alias: `alias/${Aws.STACK_NAME}-vault`,
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });

    // Functions are named in the API's definition, not referred to: their environment has the API's address.
    const api = this.makeApi(props);
    this.api = api;
    this.url =
      props.publicUrl ??
      (props.domain
        ? `https://${props.domain.name}`
        : `https://${api.restApiId}.execute-api.${Aws.REGION}.${Aws.URL_SUFFIX}/${STAGE}`);
    const made = FUNCTIONS.map((name) => [name, this.makeFunction(name, api, props)]);
    this.functions = Object.fromEntries(made) as Record<FunctionName, lambda.Function>;

    if (props.domain) this.makeDomain(api, props.domain);
    if (props.wafRateLimit) this.makeWebAcl(api, props.wafRateLimit);
    watch(this, {
      apiName: Aws.STACK_NAME,
      stageName: STAGE,
      tableName: this.table.tableName,
      functions: Object.fromEntries(
        FUNCTIONS.map((name) => [name, this.functions[name].functionName]),
      ) as Record<FunctionName, string>,
      deniedThreshold: props.deniedThreshold ?? 100,
      topic: props.alarmEmail ? this.makeTopic(props.alarmEmail) : undefined,
    });

    new CfnOutput(this, "Url", { description: "Where the service is reached", value: this.url });
    new CfnOutput(this, "TableName", {
      description: "The table, for `deputize bootstrap`",
      value: this.table.tableName,
    });
    new CfnOutput(this, "VaultKeyArn", {
      description: "The key of stored secrets, for `deputize bootstrap`",
      value: this.vaultKey.keyArn,
    });
  }

  /** What functions/core/src/table/key.rs says is in it. */
  private makeTable(props: DeputizeProps): dynamodb.Table {
    const { STRING } = dynamodb.AttributeType;
    const table = new dynamodb.Table(this, "Table", {
      partitionKey: { name: "pk", type: STRING },
      sortKey: { name: "sk", type: STRING },
      billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: "ttl",
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: props.deletionProtection ?? true,
      encryption: dynamodb.TableEncryption.AWS_MANAGED,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    for (const by of ["agent", "user", "server"]) {
      table.addGlobalSecondaryIndex({
        indexName: `audit_by_${by}`,
        partitionKey: { name: `audit_${by}`, type: STRING },
        sortKey: { name: "sk", type: STRING },
        projectionType: dynamodb.ProjectionType.KEYS_ONLY,
      });
    }
    return table;
  }

  /** A REST API, since HTTP APIs neither stream responses nor wait longer than 30 s. */
  private makeApi(props: DeputizeProps): apigateway.SpecRestApi {
    const invoked = (name: FunctionName) => {
      const alias = props.provisionedConcurrency && WAITED_FOR.includes(name) ? `:${STAGE}` : "";
      return `arn:${Aws.PARTITION}:lambda:${Aws.REGION}:${Aws.ACCOUNT_ID}:function:${Aws.STACK_NAME}-${name}${alias}`;
    };
    const api = new apigateway.SpecRestApi(this, "Api", {
      restApiName: Aws.STACK_NAME,
      apiDefinition: apigateway.ApiDefinition.fromInline(
        definition(Aws.STACK_NAME, Aws.REGION, Aws.PARTITION, invoked),
      ),
      endpointTypes: [apigateway.EndpointType.REGIONAL],
      disableExecuteApiEndpoint: props.domain !== undefined,
      cloudWatchRole: false,
      deployOptions: {
        stageName: STAGE,
        throttlingRateLimit: props.throttling?.rate ?? 1000,
        throttlingBurstLimit: props.throttling?.burst ?? 500,
        dataTraceEnabled: false,
      },
    });
    // An output of the gateway's own address, which a domain turns off.
    api.node.tryRemoveChild("Endpoint");
    return api;
  }

  private makeFunction(name: FunctionName, api: apigateway.SpecRestApi, props: DeputizeProps): lambda.Function {
    const functionName = `${Aws.STACK_NAME}-${name}`;
    const logGroup = new logs.LogGroup(this, `${title(name)}Log`, {
      logGroupName: `/aws/lambda/${functionName}`,
      retention: props.logRetention ?? logs.RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const role = new iam.Role(this, `${title(name)}Role`, {
      assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
      inlinePolicies: {
        [name]: permissions(name, {
          table: this.table.tableArn,
          key: this.vaultKey.keyArn,
          log: logGroup.logGroupArn,
        }),
      },
    });
    const zip = join(props.packages, `deputize-${name}`, "bootstrap.zip");
    const environment: Record<string, string> = {
      DEPUTIZE_URL: this.url,
      DEPUTIZE_TABLE: this.table.tableName,
      DEPUTIZE_TRUSTED_ISSUERS: props.trustedIssuers ? JSON.stringify(props.trustedIssuers) : "",
      DEPUTIZE_ALLOWED_ORIGINS: (props.allowedOrigins ?? []).join(","),
      DEPUTIZE_LOG: props.logLevel ?? "info",
      SSL_CERT_FILE: CERTIFICATES,
    };
    if (name !== "delegations") environment["DEPUTIZE_VAULT_KMS_KEY"] = this.vaultKey.keyArn;
    if (name === "grants" || name === "proxy") {
      environment["DEPUTIZE_ALLOW_PRIVATE_UPSTREAMS"] = String(props.allowPrivateUpstreams ?? false);
    }
    const made = new lambda.Function(this, `${title(name)}Function`, {
      functionName,
      description: DESCRIPTIONS[name],
      runtime: lambda.Runtime.PROVIDED_AL2023,
      handler: "bootstrap",
      code: lambda.Code.fromAsset(zip),
      architecture: props.architecture ?? lambda.Architecture.ARM_64,
      memorySize: props.memorySize ?? 512,
      timeout: name === "proxy" ? STREAMING_TIMEOUT : TIMEOUT,
      reservedConcurrentExecutions: props.reservedConcurrency || undefined,
      // Its policy is whole: nothing is to be added to it.
      role: role.withoutPolicyUpdates(),
      logGroup,
      environment,
    });
    let invoked = made.functionArn;
    if (props.provisionedConcurrency && WAITED_FOR.includes(name)) {
      const release = props.release ?? releaseOf(zip, props);
      const version = new lambda.CfnVersion(this, `${title(name)}Version`, {
        functionName: made.functionName,
        description: `release ${release}`,
      });
      version.applyRemovalPolicy(RemovalPolicy.RETAIN);
      const alias = new lambda.CfnAlias(this, `${title(name)}Alias`, {
        functionName: made.functionName,
        functionVersion: version.attrVersion,
        name: STAGE,
        provisionedConcurrencyConfig: { provisionedConcurrentExecutions: props.provisionedConcurrency },
      });
      invoked = alias.ref;
    }
    new lambda.CfnPermission(this, `${title(name)}Permission`, {
      functionName: invoked,
      action: "lambda:InvokeFunction",
      principal: "apigateway.amazonaws.com",
      sourceArn: `arn:${Aws.PARTITION}:execute-api:${Aws.REGION}:${Aws.ACCOUNT_ID}:${api.restApiId}/${STAGE}/*`,
    });
    return made;
  }

  private makeDomain(api: apigateway.SpecRestApi, domain: NonNullable<DeputizeProps["domain"]>) {
    const made = new apigateway.CfnDomainName(this, "Domain", {
      domainName: domain.name,
      regionalCertificateArn: domain.certificateArn,
      endpointConfiguration: { types: ["REGIONAL"] },
      securityPolicy: "TLS_1_2",
    });
    new apigateway.CfnBasePathMapping(this, "DomainMapping", {
      domainName: made.ref,
      restApiId: api.restApiId,
      stage: api.deploymentStage.stageName,
    });
    if (domain.hostedZoneId) {
      new route53.CfnRecordSet(this, "DomainRecord", {
        hostedZoneId: domain.hostedZoneId,
        name: domain.name,
        type: "A",
        aliasTarget: { dnsName: made.attrRegionalDomainName, hostedZoneId: made.attrRegionalHostedZoneId },
      });
    }
    new CfnOutput(this, "DomainTarget", {
      description: "What the domain's CNAME record leads to, if its DNS is not in HostedZoneId",
      value: made.attrRegionalDomainName,
    });
  }

  /** Addresses only. Rules that read bodies would take tools' arguments, which may be code, for attacks. */
  private makeWebAcl(api: apigateway.SpecRestApi, limit: number) {
    const visibility = (metricName: string) => ({
      metricName,
      cloudWatchMetricsEnabled: true,
      sampledRequestsEnabled: false,
    });
    const acl = new wafv2.CfnWebACL(this, "WebAcl", {
      scope: "REGIONAL",
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
    const stage = api.deploymentStage.stageName;
    new wafv2.CfnWebACLAssociation(this, "WebAclAssociation", {
      resourceArn: `arn:${Aws.PARTITION}:apigateway:${Aws.REGION}::/restapis/${api.restApiId}/stages/${stage}`,
      webAclArn: acl.attrArn,
    });
  }

  private makeTopic(email: string): sns.ITopic {
    const topic = new sns.CfnTopic(this, "AlarmTopic", { subscription: [{ protocol: "email", endpoint: email }] });
    new sns.CfnTopicPolicy(this, "AlarmTopicPolicy", {
      topics: [topic.ref],
      policyDocument: {
        Version: "2012-10-17",
        Statement: [
          {
            Sid: "Alarms",
            Effect: "Allow",
            Principal: { Service: "cloudwatch.amazonaws.com" },
            Action: "sns:Publish",
            Resource: topic.ref,
            Condition: { StringEquals: { "aws:SourceAccount": Stack.of(this).account } },
          },
          {
            Sid: "OnlyEncrypted",
            Effect: "Deny",
            Principal: "*",
            Action: "sns:Publish",
            Resource: topic.ref,
            Condition: { Bool: { "aws:SecureTransport": "false" } },
          },
        ],
      },
    });
    return sns.Topic.fromTopicArn(this, "Alarms", topic.ref);
  }
}

const DESCRIPTIONS: Record<FunctionName, string> = {
  token: "Issues, introspects and revokes agent tokens; the well-known documents",
  delegations: "Users let agents act for them, and take it back",
  grants: "Session grants, and connecting users to OAuth-protected servers",
  proxy: "Calls MCP servers, as far as delegation and policies allow",
  admin: "Users, agent accounts, servers, policies, signing keys, the audit trail",
};

/** A version of a function never changes, so that whatever changes makes another one. */
function releaseOf(zip: string, props: DeputizeProps): string {
  return createHash("sha256").update(readFileSync(zip)).update(JSON.stringify(props)).digest("hex").slice(0, 16);
}
