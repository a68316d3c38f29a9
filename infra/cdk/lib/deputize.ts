// Deputize on AWS as a construct: the same stack as infra/sam/template.yaml. tests/infra compares the two.

import {
  Aws,
  CfnCondition,
  CfnOutput,
  CfnRule,
  Duration,
  Fn,
  RemovalPolicy,
  Stack,
  aws_apigateway as apigateway,
  aws_cloudfront as cloudfront,
  aws_dynamodb as dynamodb,
  aws_events as events,
  aws_iam as iam,
  aws_kms as kms,
  aws_lambda as lambda,
  aws_logs as logs,
  aws_route53 as route53,
  aws_secretsmanager as secretsmanager,
  aws_sns as sns,
  aws_wafv2 as wafv2,
} from "aws-cdk-lib";
import { Construct } from "constructs";
import { join } from "node:path";

import { type Edge, makeEdgeFunction, makeWebAcl } from "./edge.js";
import { type Network, makeEndpoints } from "./network.js";
import { permissions } from "./permissions.js";
import { FUNCTIONS, type FunctionName, definition } from "./routes.js";
import { AUDITED, monitor, title } from "./monitoring.js";

/** An issuer of users' JWTs. `functions/core/src/issuers.rs` says what each field means. */
export interface TrustedIssuer {
  issuer: string;
  tenants?: string[];
  jwks_uri?: string;
  audiences?: string[];
  client_ids?: string[];
  any_audience?: boolean;
  link_by_email?: boolean | "new" | "any";
  email_claim?: "email" | "emails" | "preferred_username" | "upn";
  email_domains?: string[];
  provision?: boolean;
  sign_in?: {
    client_id: string;
    id?: string;
    name?: string;
    [more: string]: unknown;
  };
  groups_claim?: string | string[];
  role_claim?: { claim: string | string[]; values: Record<string, "admin" | "user"> };
}

export interface DeputizeProps {
  /** The folder with `deputize-token/bootstrap.zip` and the others, made by `infra/build`. */
  readonly packages: string;
  /** The architecture for which they were built. Default: `arm64`. */
  readonly architecture?: lambda.Architecture;
  /** The OpenID Connect issuers whose JWTs prove users. */
  readonly trustedIssuers?: TrustedIssuer[];
  /** Origins of web pages that may call the service. */
  readonly allowedOrigins?: string[];
  /** Who shares session grants with new agent accounts: anyone with a session, or an account's owner and admins. Default: `anyone`. */
  readonly sharedGrants?: "anyone" | "managers";
  /** For how many days the table keeps ended items; 0 for ever. Default: audit 400, all others 90. */
  readonly retentionDays?: { audit?: number; api_keys?: number; delegations?: number; grants?: number };
  /** Which apps may ask users to let them act as them. Default: all three kinds. */
  readonly apps?: ("documents" | "registration" | "admin")[] | "none";
  /** The hosts that such apps may be from, such as `claude.ai` and `.example.com`. Default: any. */
  readonly appHosts?: string[];
  /** Private-use schemes of redirect URIs without a dot that are permitted besides those of known apps. */
  readonly appSchemes?: string[];
  /** How many seconds a refresh token stays good once the one that came after it has been used. Default: 60. */
  readonly refreshGrace?: number;
  /** How many minutes a person's session in a browser lasts without use, and in all. Default: 30 and 720. */
  readonly browserSessionMinutes?: { idle?: number; total?: number };
  /** How many days the groups and the role count that an issuer's token gave a user. Default: 30. */
  readonly claimsMaxAgeDays?: number;
  /** What becomes of an agent account when all of its owners are deactivated. Default: `run`. */
  readonly agentsWithoutOwner?: "run" | "stop";
  /** How many days a new API key can last. Default: no bound. */
  readonly maxApiKeyDays?: number;
  /** Whether each audit event is also a line in the functions' logs, in OCSF. Default: if there is a stream for them. */
  readonly auditLog?: "ocsf";
  /** The ARN of a stream of Amazon Data Firehose to which the audit events are delivered, in OCSF. Default: none. */
  readonly auditStreamArn?: string;
  /**
   * The private networks and host names where MCP servers and their authorization servers may be, such as
   * `10.20.0.0/16` and `.corp.example`. Default: none.
   */
  readonly privateUpstreams?: string[];
  /** The subnets in which the functions have their network. Default: Lambda's own network. */
  readonly network?: Network;
  /**
   * The ARN of a version of a layer with `ca-bundle.pem`: certificate authorities of your own, whose servers are
   * trusted too. Default: none.
   */
  readonly caBundleLayer?: string;
  /** Whether API Gateway logs each request. Needs the account's CloudWatch role for API Gateway. Default: no. */
  readonly accessLog?: boolean;
  /** Whether X-Ray traces requests through API Gateway and the functions. Default: no. */
  readonly tracing?: boolean;
  /**
   * The ARN of a KMS key for the logs and the alarms' topic, or `create` for one of the stack's own. Default: keys of
   * AWS's own.
   */
  readonly logsKey?: string;
  /**
   * Whether CloudFront is in front. It gives the service a host at whose root it is, and lets MCP clients find out
   * how to get a token. Default: yes.
   */
  readonly cloudFront?: boolean;
  /**
   * Outside of us-east-1: what CloudFront needs from there, the outputs of an `EdgeStack`. Default: no web ACL, and
   * 401 answers without `WWW-Authenticate`. In us-east-1 the construct makes both itself.
   */
  readonly edge?: Edge;
  /**
   * The service's domain, and its certificate (in us-east-1; without CloudFront, in this region). Default: the
   * address that AWS gives.
   */
  readonly domain?: { name: string; certificateArn: string; hostedZoneId?: string };
  /** The service's address, if a host of yours is in front of it. */
  readonly publicUrl?: string;
  /** The address that is notified when an alarm goes off. */
  readonly alarmEmail?: string;
  /** How many requests a function refuses in 5 minutes before its alarm goes off. Default: 100. */
  readonly deniedThreshold?: number;
  /** Default: `info`. */
  readonly logLevel?: "error" | "warn" | "info" | "debug";
  /** Default: 30 days. */
  readonly logRetention?: logs.RetentionDays;
  /** Memory of each function in MB. Default: 512. */
  readonly memorySize?: number;
  /** How many requests API Gateway lets in, per second and at the same time. Default: 1000 and 500. */
  readonly throttling?: { rate: number; burst: number };
  /**
   * How many executions each function except the proxy reserves and cannot exceed. Default: the account's common
   * pool.
   */
  readonly reservedConcurrency?: number;
  /**
   * How many executions the proxy reserves and cannot exceed, so that its streams leave enough for the other
   * functions; 0 for the account's common pool. The account must have 100 more. Default: 400.
   */
  readonly proxyConcurrency?: number;
  /**
   * How many seconds a stream of messages that an MCP server sends on its own lasts, up to 840. An abandoned one is
   * billed to its end. Default: 120.
   */
  readonly sessionStreams?: number | "off";
  /** How many execution environments of the token function and the proxy are kept ready. Default: none. */
  readonly provisionedConcurrency?: number;
  /** A text in the description of the functions for which agents wait. Default: `1`. */
  readonly release?: string;
  /**
   * How many requests in 5 minutes make a web ACL block an address. With CloudFront outside of us-east-1, the
   * `EdgeStack` sets it. Default: no web ACL.
   */
  readonly wafRateLimit?: number;
  /** Whether the table refuses to be deleted. Default: yes. */
  readonly deletionProtection?: boolean;
}

const STAGE = "live";
/** The functions for which agents wait. */
const WAITED_FOR: readonly FunctionName[] = ["token", "proxy"];
/** API Gateway waits 29 s for an answer that it does not stream. A cold start needs a part of that. */
const TIMEOUT = Duration.seconds(25);
/** Amazon Linux's certificates in one file. Otherwise all files of their folder are read as well, at each start. */
const CERTIFICATES = "/etc/pki/tls/certs/ca-bundle.crt";
/** In a layer, which Lambda puts into /opt. */
const CA_BUNDLE = "/opt/ca-bundle.pem";
/**
 * What API Gateway logs. No query, which may hold a code, and no text of a caller's. Lambda logs the invocation's id, and
 * the functions the trace's.
 */
const ACCESS_LOG = JSON.stringify({
  requestId: "$context.requestId",
  invocation: "$context.awsEndpointRequestId",
  trace: "$context.xrayTraceId",
  time: "$context.requestTime",
  ip: "$context.identity.sourceIp",
  method: "$context.httpMethod",
  route: "$context.resourcePath",
  status: "$context.status",
  bytes: "$context.responseLength",
  milliseconds: "$context.responseLatency",
  error: "$context.error.responseType",
  waf: "$context.wafResponseCode",
});
/** Route 53's zone of all CloudFront distributions. */
const ZONE_OF_ALL_DISTRIBUTIONS = "Z2FDTNDATAQYW2";
const STREAMING_TIMEOUT = Duration.minutes(15);

export class Deputize extends Construct {
  readonly url: string;
  readonly table: dynamodb.Table;
  readonly vaultKey: kms.Key;
  readonly api: apigateway.SpecRestApi;
  readonly functions: Record<FunctionName, lambda.Function>;
  /** CloudFront's distribution, unless it is turned off, and the secret that it shows to the API. */
  readonly distribution?: cloudfront.CfnDistribution;
  readonly distributionSecret?: secretsmanager.CfnSecret;
  private readonly isBehindCloudFront: boolean;
  private readonly logsKeyArn?: string;

  constructor(scope: Construct, id: string, props: DeputizeProps) {
    super(scope, id);
    this.isBehindCloudFront = props.cloudFront ?? true;
    this.table = this.makeTable(props);
    this.vaultKey = new kms.Key(this, "VaultKey", {
      description: `The key under which ${Aws.STACK_NAME} seals stored secrets`,
      alias: `alias/${Aws.STACK_NAME}-vault`,
      enableKeyRotation: true,
      removalPolicy: RemovalPolicy.RETAIN,
    });

    this.logsKeyArn = props.logsKey === "create" ? this.makeLogsKey() : props.logsKey;
    if (props.network?.endpoints) makeEndpoints(this, props.network, props.network.endpoints);

    // The API's definition names the functions and does not refer to them, since their environment has the API's
    // address.
    const api = this.makeApi(props);
    this.api = api;
    const gateway = `${api.restApiId}.execute-api.${Aws.REGION}.${Aws.URL_SUFFIX}`;
    if (this.isBehindCloudFront) {
      this.distributionSecret = this.makeDistributionsSecret();
      this.distribution = this.makeDistribution(api, gateway, this.distributionSecret, props);
    }
    this.url =
      props.publicUrl ??
      (props.domain
        ? `https://${props.domain.name}`
        : this.distribution
          ? `https://${this.distribution.attrDomainName}`
          : `https://${gateway}/${STAGE}`);
    const made = FUNCTIONS.map((name) => [name, this.makeFunction(name, api, props)]);
    this.functions = Object.fromEntries(made) as Record<FunctionName, lambda.Function>;
    this.eraseEachHour(this.functions.admin);

    if (props.auditStreamArn) this.deliverEvents(props.auditStreamArn);
    if (props.domain) this.makeDomain(api, props.domain);
    if (props.wafRateLimit && !this.distribution) this.makeGatewaysWebAcl(api, props.wafRateLimit);
    monitor(this, {
      apiName: Aws.STACK_NAME,
      stageName: STAGE,
      tableName: this.table.tableName,
      functions: Object.fromEntries(
        FUNCTIONS.map((name) => [name, this.functions[name].functionName]),
      ) as Record<FunctionName, string>,
      deniedThreshold: props.deniedThreshold ?? 100,
      topic: props.alarmEmail ? this.makeTopic(props.alarmEmail) : undefined,
    });

    new CfnOutput(this, "Url", { description: "The service's address", value: this.url });
    new CfnOutput(this, "TableName", {
      description: "The table, for `deputize bootstrap`",
      value: this.table.tableName,
    });
    new CfnOutput(this, "VaultKeyArn", {
      description: "The key under which stored secrets are sealed, for `deputize bootstrap`",
      value: this.vaultKey.keyArn,
    });
  }

  /** functions/core/src/table/key.rs lists its items. */
  private makeTable(props: DeputizeProps): dynamodb.Table {
    const { STRING } = dynamodb.AttributeType;
    const table = new dynamodb.Table(this, "Table", {
      partitionKey: { name: "pk", type: STRING },
      sortKey: { name: "sk", type: STRING },
      billingMode: dynamodb.BillingMode.PAY_PER_REQUEST,
      timeToLiveAttribute: "ttl",
      pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
      deletionProtection: props.deletionProtection ?? true,
      removalPolicy: RemovalPolicy.RETAIN,
    });
    for (const by of AUDITED) {
      table.addGlobalSecondaryIndex({
        indexName: `audit_by_${by}`,
        partitionKey: { name: `audit_${by}`, type: STRING },
        sortKey: { name: "sk", type: STRING },
        projectionType: dynamodb.ProjectionType.KEYS_ONLY,
      });
    }
    return table;
  }

  /** A REST API: HTTP APIs neither stream responses nor wait longer than 30 s. */
  private makeApi(props: DeputizeProps): apigateway.SpecRestApi {
    const invoked = (name: FunctionName) => {
      const alias = props.provisionedConcurrency && WAITED_FOR.includes(name) ? `:${STAGE}` : "";
      return `${functionArn(name)}${alias}`;
    };
    const log = props.accessLog ? this.makeLog("GatewayLog", `/aws/apigateway/${Aws.STACK_NAME}`, props) : undefined;
    const api = new apigateway.SpecRestApi(this, "Api", {
      restApiName: Aws.STACK_NAME,
      apiDefinition: apigateway.ApiDefinition.fromInline(
        definition(Aws.STACK_NAME, Aws.REGION, Aws.PARTITION, invoked, this.isBehindCloudFront),
      ),
      endpointTypes: [apigateway.EndpointType.REGIONAL],
      disableExecuteApiEndpoint: props.domain !== undefined && !this.isBehindCloudFront,
      cloudWatchRole: false,
      deployOptions: {
        stageName: STAGE,
        throttlingRateLimit: props.throttling?.rate ?? 1000,
        throttlingBurstLimit: props.throttling?.burst ?? 500,
        dataTraceEnabled: false,
        tracingEnabled: props.tracing ?? false,
        accessLogDestination: log && new apigateway.LogGroupLogDestination(log),
        accessLogFormat: log && apigateway.AccessLogFormat.custom(ACCESS_LOG),
      },
    });
    // An output with the gateway's own address, which a domain turns off.
    api.node.tryRemoveChild("Endpoint");
    return api;
  }

  private makeFunction(name: FunctionName, api: apigateway.SpecRestApi, props: DeputizeProps): lambda.Function {
    const functionName = `${Aws.STACK_NAME}-${name}`;
    const logGroup = this.makeLog(`${title(name)}Log`, `/aws/lambda/${functionName}`, props);
    const role = new iam.Role(this, `${title(name)}Role`, {
      assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
      inlinePolicies: {
        [name]: permissions(name, {
          table: this.table.tableArn,
          key: this.vaultKey.keyArn,
          log: logGroup.logGroupArn,
          ...(props.network && { connects: functionArn(name) }),
          traces: props.tracing ?? false,
        }),
      },
    });
    const zip = join(props.packages, `deputize-${name}`, "bootstrap.zip");
    const environment: Record<string, string> = {
      DEPUTIZE_URL: this.url,
      DEPUTIZE_CALLER_ADDRESS: this.isBehindCloudFront ? "cloudfront" : "gateway",
      DEPUTIZE_TABLE: this.table.tableName,
      DEPUTIZE_TRUSTED_ISSUERS: props.trustedIssuers ? JSON.stringify(props.trustedIssuers) : "",
      DEPUTIZE_ALLOWED_ORIGINS: (props.allowedOrigins ?? []).join(","),
      DEPUTIZE_LOG: props.logLevel ?? "info",
      DEPUTIZE_RETENTION_DAYS: assigned(props.retentionDays),
      DEPUTIZE_CLAIMS_MAX_AGE_DAYS: String(props.claimsMaxAgeDays ?? 30),
      DEPUTIZE_AUDIT_LOG: props.auditLog ?? (props.auditStreamArn ? "ocsf" : ""),
      SSL_CERT_FILE: CERTIFICATES,
      DEPUTIZE_CA_BUNDLE: props.caBundleLayer ? CA_BUNDLE : "",
    };
    if (name !== "delegations") environment["DEPUTIZE_VAULT_KMS_KEY"] = this.vaultKey.keyArn;
    if (name === "grants" || name === "proxy" || name === "console") {
      environment["DEPUTIZE_PRIVATE_UPSTREAMS"] = (props.privateUpstreams ?? []).join(",");
    }
    if (name === "token" || name === "console") {
      environment["DEPUTIZE_APPS"] = props.apps === "none" ? "none" : (props.apps ?? []).join(",");
      environment["DEPUTIZE_APP_HOSTS"] = (props.appHosts ?? []).join(",");
      environment["DEPUTIZE_APP_SCHEMES"] = (props.appSchemes ?? []).join(",");
    }
    if (name === "token" || name === "proxy") {
      environment["DEPUTIZE_AGENTS_WITHOUT_OWNER"] = props.agentsWithoutOwner ?? "run";
    }
    if (name === "token") environment["DEPUTIZE_REFRESH_GRACE"] = String(props.refreshGrace ?? 60);
    if (name === "admin" || name === "console") {
      environment["DEPUTIZE_BROWSER_SESSION_MINUTES"] = assigned(props.browserSessionMinutes);
    }
    if (name === "proxy") environment["DEPUTIZE_SESSION_STREAMS"] = String(props.sessionStreams ?? 120);
    if (name === "admin") {
      environment["DEPUTIZE_SHARED_GRANTS"] = props.sharedGrants ?? "anyone";
      environment["DEPUTIZE_MAX_API_KEY_DAYS"] = props.maxApiKeyDays ? String(props.maxApiKeyDays) : "";
    }
    const made = new lambda.Function(this, `${title(name)}Function`, {
      functionName,
      description: DESCRIPTIONS[name] + (WAITED_FOR.includes(name) ? ` (release ${props.release ?? "1"})` : ""),
      runtime: lambda.Runtime.PROVIDED_AL2023,
      handler: "bootstrap",
      code: lambda.Code.fromAsset(zip),
      architecture: props.architecture ?? lambda.Architecture.ARM_64,
      memorySize: props.memorySize ?? 512,
      timeout: name === "proxy" ? STREAMING_TIMEOUT : TIMEOUT,
      reservedConcurrentExecutions:
        (name === "proxy" ? (props.proxyConcurrency ?? 400) : props.reservedConcurrency) || undefined,
      // Its policy is complete: CDK must not add to it.
      role: role.withoutPolicyUpdates(),
      logGroup,
      environment,
      layers: props.caBundleLayer
        ? [lambda.LayerVersion.fromLayerVersionArn(this, `${title(name)}CaBundle`, props.caBundleLayer)]
        : undefined,
      tracing: props.tracing ? lambda.Tracing.ACTIVE : lambda.Tracing.PASS_THROUGH,
      currentVersionOptions: { removalPolicy: RemovalPolicy.RETAIN },
    });
    if (props.network) {
      const { subnetIds, securityGroupIds } = props.network;
      // Of every function: each asks issuers for their keys, and an issuer may be in the network too.
      (made.node.defaultChild as lambda.CfnFunction).vpcConfig = { subnetIds, securityGroupIds };
    }
    const permit = (id: string, invoked: string) =>
      new lambda.CfnPermission(this, `${title(name)}${id}`, {
        functionName: invoked,
        action: "lambda:InvokeFunction",
        principal: "apigateway.amazonaws.com",
        sourceArn: `arn:${Aws.PARTITION}:execute-api:${Aws.REGION}:${Aws.ACCOUNT_ID}:${api.restApiId}/${STAGE}/*`,
      });
    permit("Permission", made.functionArn);
    if (props.provisionedConcurrency && WAITED_FOR.includes(name)) {
      const alias = new lambda.CfnAlias(this, `${title(name)}Alias`, {
        functionName: made.functionName,
        // A new one whenever the package or the configuration changes, and only then.
        functionVersion: made.currentVersion.version,
        name: STAGE,
        provisionedConcurrencyConfig: { provisionedConcurrentExecutions: props.provisionedConcurrency },
      });
      // In addition to the function's permission, so that both can be invoked during a switch from one to the other.
      permit("AliasPermission", alias.ref);
    }
    return made;
  }

  /**
   * With an event that no request can be (functions/service/src/lambda/scheduled.rs). A rule needs no role, as a schedule
   * of EventBridge Scheduler's would.
   */
  private eraseEachHour(admin: lambda.Function) {
    const rule = new events.CfnRule(this, "AdminSchedule", {
      description: "Erases what was deleted in Deputize, and can be restored no more",
      scheduleExpression: "rate(1 hour)",
      state: "ENABLED",
      targets: [{ id: "erase", arn: admin.functionArn, input: JSON.stringify({ scheduled: "erase" }) }],
    });
    new lambda.CfnPermission(this, "AdminSchedulePermission", {
      functionName: admin.functionArn,
      action: "lambda:InvokeFunction",
      principal: "events.amazonaws.com",
      sourceArn: rule.attrArn,
    });
  }

  /** The audit events among the functions' logs, to a stream of Firehose's. No other line has `class_uid`. */
  private deliverEvents(destinationArn: string) {
    const role = new iam.Role(this, "AuditStreamRole", {
      assumedBy: new iam.ServicePrincipal("logs.amazonaws.com", {
        conditions: {
          StringLike: { "aws:SourceArn": `arn:${Aws.PARTITION}:logs:${Aws.REGION}:${Aws.ACCOUNT_ID}:*` },
        },
      }),
      inlinePolicies: {
        deliver: new iam.PolicyDocument({
          statements: [
            new iam.PolicyStatement({
              actions: ["firehose:PutRecord", "firehose:PutRecordBatch"],
              resources: [destinationArn],
            }),
          ],
        }),
      },
    });
    for (const name of FUNCTIONS) {
      new logs.CfnSubscriptionFilter(this, `${title(name)}AuditFilter`, {
        logGroupName: (this.node.findChild(`${title(name)}Log`) as logs.LogGroup).logGroupName,
        filterPattern: "{ $.class_uid > 0 }",
        destinationArn,
        roleArn: role.roleArn,
      });
    }
  }

  private makeLog(id: string, logGroupName: string, props: DeputizeProps): logs.LogGroup {
    const log = new logs.LogGroup(this, id, {
      logGroupName,
      retention: props.logRetention ?? logs.RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    (log.node.defaultChild as logs.CfnLogGroup).kmsKeyId = this.logsKeyArn;
    return log;
  }

  /** What is encrypted under it stays readable as long as it is there. */
  private makeLogsKey(): string {
    const logGroup = (name: string) =>
      `arn:${Aws.PARTITION}:logs:${Aws.REGION}:${Aws.ACCOUNT_ID}:log-group:${name}`;
    const key = new kms.CfnKey(this, "LogKey", {
      description: `What the logs and alarms of ${Aws.STACK_NAME} are encrypted under`,
      enableKeyRotation: true,
      keyPolicy: {
        Version: "2012-10-17",
        Statement: [
          {
            Effect: "Allow",
            Principal: { AWS: `arn:${Aws.PARTITION}:iam::${Aws.ACCOUNT_ID}:root` },
            Action: "kms:*",
            Resource: "*",
          },
          {
            Sid: "Logs",
            Effect: "Allow",
            Principal: { Service: `logs.${Aws.REGION}.${Aws.URL_SUFFIX}` },
            Action: ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
            Resource: "*",
            Condition: {
              ArnLike: {
                "kms:EncryptionContext:aws:logs:arn": [
                  logGroup(`/aws/lambda/${Aws.STACK_NAME}-*`),
                  logGroup(`/aws/apigateway/${Aws.STACK_NAME}`),
                ],
              },
            },
          },
          {
            Sid: "Alarms",
            Effect: "Allow",
            Principal: { Service: "cloudwatch.amazonaws.com" },
            Action: ["kms:Decrypt", "kms:GenerateDataKey*"],
            Resource: "*",
            Condition: { StringEquals: { "aws:SourceAccount": Aws.ACCOUNT_ID } },
          },
        ],
      },
    });
    key.applyRemovalPolicy(RemovalPolicy.RETAIN);
    return key.attrArn;
  }

  /**
   * Proves to the gateway that a request came through the distribution. So no caller can go around a web ACL, and the
   * caller's address from CloudFront can be trusted.
   */
  private makeDistributionsSecret(): secretsmanager.CfnSecret {
    return new secretsmanager.CfnSecret(this, "DistributionSecret", {
      description: `The secret that CloudFront presents to the API of ${Aws.STACK_NAME}`,
      generateSecretString: { passwordLength: 64, excludePunctuation: true },
    });
  }

  /**
   * A host whose root is the service, without buying a domain. MCP clients find the documents below `/.well-known`
   * there. It caches nothing and passes everything on; streams as they come.
   */
  private makeDistribution(
    api: apigateway.SpecRestApi,
    gateway: string,
    secret: secretsmanager.CfnSecret,
    props: DeputizeProps,
  ): cloudfront.CfnDistribution {
    // Edge functions and CloudFront's web ACLs exist only in this region.
    const isHere = new CfnCondition(this, "IsEdgeHere", { expression: Fn.conditionEquals(Aws.REGION, "us-east-1") });
    const made = makeEdgeFunction(this);
    for (const resource of made.resources) resource.cfnOptions.condition = isHere;
    const acl = props.wafRateLimit ? makeWebAcl(this, "CLOUDFRONT", props.wafRateLimit) : undefined;
    if (acl) {
      acl.cfnOptions.condition = isHere;
      new CfnRule(this, "AWebAclOfCloudFrontsIsInUsEast1", {
        assertions: [
          {
            assert: Fn.conditionEquals(Aws.REGION, "us-east-1"),
            assertDescription: "In this region wafRateLimit is for an EdgeStack, whose output is for edge.webAclArn",
          },
        ],
      });
    }
    const ofHere = (value: unknown, otherwise: unknown) =>
      Fn.conditionIf(isHere.logicalId, value, otherwise || Aws.NO_VALUE);
    // Within a condition, CloudFormation's own names are needed.
    const runs = (version: string) => [{ EventType: "origin-response", LambdaFunctionARN: version }];

    const shown = `{{resolve:secretsmanager:${secret.ref}}}`;
    const key = new apigateway.CfnApiKey(this, "DistributionKey", {
      name: `${Aws.STACK_NAME}-cloudfront`,
      enabled: true,
      value: shown,
    });
    // An API accepts a key only as part of a plan.
    const plan = new apigateway.CfnUsagePlan(this, "DistributionPlan", {
      usagePlanName: `${Aws.STACK_NAME}-cloudfront`,
      apiStages: [{ apiId: api.restApiId, stage: api.deploymentStage.stageName }],
    });
    new apigateway.CfnUsagePlanKey(this, "DistributionPlanKey", {
      keyId: key.ref,
      keyType: "API_KEY",
      usagePlanId: plan.ref,
    });

    return new cloudfront.CfnDistribution(this, "Distribution", {
      distributionConfig: {
        enabled: true,
        comment: Aws.STACK_NAME,
        httpVersion: "http2and3",
        // Policies can refer to callers' addresses, which so far were always IPv4.
        ipv6Enabled: false,
        aliases: props.domain && [props.domain.name],
        viewerCertificate: props.domain && {
          acmCertificateArn: props.domain.certificateArn,
          sslSupportMethod: "sni-only",
          minimumProtocolVersion: "TLSv1.2_2021",
        },
        webAclId: acl ? ofHere(acl.attrArn, props.edge?.webAclArn).toString() : props.edge?.webAclArn,
        origins: [
          {
            id: "api",
            domainName: gateway,
            originPath: `/${STAGE}`,
            // The longest time that CloudFront can wait for the first byte, and for each later one.
            customOriginConfig: {
              originProtocolPolicy: "https-only",
              originSslProtocols: ["TLSv1.2"],
              originReadTimeout: 120,
            },
            originCustomHeaders: [{ headerName: "x-api-key", headerValue: shown }],
          },
        ],
        defaultCacheBehavior: {
          targetOriginId: "api",
          viewerProtocolPolicy: "https-only",
          allowedMethods: ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
          cachePolicyId: cloudfront.CachePolicy.CACHING_DISABLED.cachePolicyId,
          originRequestPolicyId: cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER.originRequestPolicyId,
          compress: false,
          lambdaFunctionAssociations: ofHere(
            runs(made.versionArn),
            props.edge?.functionArn && runs(props.edge.functionArn),
          ),
        },
      },
    });
  }

  private makeDomain(api: apigateway.SpecRestApi, domain: NonNullable<DeputizeProps["domain"]>) {
    const target = this.distribution
      ? { dnsName: this.distribution.attrDomainName, hostedZoneId: ZONE_OF_ALL_DISTRIBUTIONS }
      : this.makeGatewaysDomain(api, domain);
    if (domain.hostedZoneId) {
      new route53.CfnRecordSet(this, "DomainRecord", {
        hostedZoneId: domain.hostedZoneId,
        name: domain.name,
        type: "A",
        aliasTarget: target,
      });
    }
    new CfnOutput(this, "DomainTarget", {
      description: "The target of the domain's CNAME record, if its DNS is not in HostedZoneId",
      value: target.dnsName,
    });
  }

  private makeGatewaysDomain(api: apigateway.SpecRestApi, domain: NonNullable<DeputizeProps["domain"]>) {
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
    return { dnsName: made.attrRegionalDomainName, hostedZoneId: made.attrRegionalHostedZoneId };
  }

  private makeGatewaysWebAcl(api: apigateway.SpecRestApi, limit: number) {
    const acl = makeWebAcl(this, "REGIONAL", limit);
    const stage = api.deploymentStage.stageName;
    new wafv2.CfnWebACLAssociation(this, "WebAclAssociation", {
      resourceArn: `arn:${Aws.PARTITION}:apigateway:${Aws.REGION}::/restapis/${api.restApiId}/stages/${stage}`,
      webAclArn: acl.attrArn,
    });
  }

  private makeTopic(email: string): sns.ITopic {
    const topic = new sns.CfnTopic(this, "AlarmTopic", {
      subscription: [{ protocol: "email", endpoint: email }],
      kmsMasterKeyId: this.logsKeyArn,
    });
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

/** `audit=400,grants=90`: numbers with names, as the functions read them. */
function assigned(numbers: Record<string, number | undefined> = {}): string {
  const set = Object.entries(numbers).filter(([, number]) => number !== undefined);
  return set.map(([name, number]) => `${name}=${number}`).join(",");
}

function functionArn(name: FunctionName): string {
  return `arn:${Aws.PARTITION}:lambda:${Aws.REGION}:${Aws.ACCOUNT_ID}:function:${Aws.STACK_NAME}-${name}`;
}

const DESCRIPTIONS: Record<FunctionName, string> = {
  token: "Issues, introspects and revokes agent tokens; serves the well-known documents",
  delegations: "Lets users delegate to agents, and revoke that",
  grants: "Session grants, and connecting users to OAuth-protected servers",
  proxy: "Calls MCP servers, as far as delegation and policies allow",
  admin: "Users, agent accounts, servers, policies, signing keys, the audit trail",
  console: "Signs people in, and shows them what they allow and have allowed",
};
