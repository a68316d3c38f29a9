// Alarms and the dashboard. What each alarm means, and what to do: infra/README.md.

import {
  Aws,
  Duration,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_sns as sns,
} from "aws-cdk-lib";
import { Construct } from "constructs";

import { FUNCTIONS, type FunctionName } from "./routes.js";

interface Monitored {
  apiName: string;
  stageName: string;
  tableName: string;
  functions: Record<FunctionName, string>;
  deniedThreshold: number;
  topic?: sns.ITopic;
}

/** The indexes of audit events. */
export const AUDITED = ["agent", "user", "server"] as const;

const FIVE_MINUTES = Duration.minutes(5);

export const title = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

export function monitor(scope: Construct, monitored: Monitored) {
  const alarm = (
    id: string,
    alarmDescription: string,
    metric: cloudwatch.IMetric,
    { threshold = 0, evaluationPeriods = 1 } = {},
  ) => {
    const made = new cloudwatch.Alarm(scope, id, {
      alarmDescription,
      metric,
      threshold,
      evaluationPeriods,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
    if (monitored.topic) {
      const action = new actions.SnsAction(monitored.topic);
      made.addAlarmAction(action);
      made.addOkAction(action);
    }
  };
  const metric = (namespace: string, metricName: string, dimensionsMap: Record<string, string>, statistic = "Sum") =>
    new cloudwatch.Metric({ namespace, metricName, dimensionsMap, statistic, period: FIVE_MINUTES });

  for (const name of FUNCTIONS) {
    const of = { FunctionName: monitored.functions[name] };
    const ours = { Function: monitored.functions[name] };
    // Lambda's duration would be that of streams, which last long.
    const slow =
      name === "proxy"
        ? {
            seconds: 30,
            text: "slow to begin its answers, including the time of MCP servers (p99 over 30 s)",
            metric: metric("Deputize", "TimeToAnswer", ours, "p99"),
          }
        : { seconds: 3, text: "slow, p99 over 3 s", metric: metric("AWS/Lambda", "Duration", of, "p99") };
    alarm(
      `${title(name)}Errors`,
      `deputize-${name} failed without an answer (it crashed, ran out of memory, or timed out)` +
        (name === "admin" ? ", or could not erase what was to be erased" : ""),
      metric("AWS/Lambda", "Errors", of),
    );
    alarm(
      `${title(name)}Throttles`,
      `deputize-${name} was refused an execution environment`,
      metric("AWS/Lambda", "Throttles", of),
    );
    alarm(`${title(name)}Latency`, `deputize-${name} is ${slow.text}`, slow.metric, {
      threshold: slow.seconds * 1000,
      evaluationPeriods: 3,
    });
    alarm(
      `${title(name)}Denied`,
      `deputize-${name} refused more requests than usual`,
      // The function's own metric, in the embedded metric format.
      metric("Deputize", "Denied", ours),
      { threshold: monitored.deniedThreshold },
    );
  }
  alarm(
    "ApiErrors",
    "API Gateway answered with 5xx, and no MCP server or authorization server caused it",
    new cloudwatch.MathExpression({
      expression: "all - FILL(calling, 0) - FILL(connecting, 0) - FILL(signing_in, 0)",
      label: "5xx of ours",
      period: FIVE_MINUTES,
      usingMetrics: {
        all: metric("AWS/ApiGateway", "5XXError", { ApiName: monitored.apiName, Stage: monitored.stageName }),
        calling: metric("Deputize", "UpstreamErrors", { Function: monitored.functions.proxy }),
        connecting: metric("Deputize", "UpstreamErrors", { Function: monitored.functions.grants }),
        signing_in: metric("Deputize", "UpstreamErrors", { Function: monitored.functions.console }),
      },
    }),
  );
  const ofTable = { TableName: monitored.tableName };
  alarm("TableReadThrottles", "DynamoDB throttled reads", metric("AWS/DynamoDB", "ReadThrottleEvents", ofTable), {
    evaluationPeriods: 2,
  });
  alarm("TableWriteThrottles", "DynamoDB throttled writes", metric("AWS/DynamoDB", "WriteThrottleEvents", ofTable), {
    evaluationPeriods: 2,
  });
  // The table's own metrics do not include its indexes.
  for (const by of AUDITED) {
    alarm(
      `AuditBy${title(by)}WriteThrottles`,
      `DynamoDB throttled writes to the index audit_by_${by}, and therefore also writes to the table`,
      metric("AWS/DynamoDB", "WriteThrottleEvents", { ...ofTable, GlobalSecondaryIndexName: `audit_by_${by}` }),
      { evaluationPeriods: 2 },
    );
  }
  const ofFunctions = (metricName: string) =>
    FUNCTIONS.map((name) => ["AWS/Lambda", metricName, "FunctionName", monitored.functions[name]]);
  const told = (metricName: string, by: readonly FunctionName[] = FUNCTIONS) =>
    by.map((name) => ["Deputize", metricName, "Function", monitored.functions[name]]);
  const ofApi = (metricName: string) => [
    "AWS/ApiGateway",
    metricName,
    "ApiName",
    monitored.apiName,
    "Stage",
    monitored.stageName,
  ];
  const inTable = (metricName: string) => ["AWS/DynamoDB", metricName, "TableName", monitored.tableName];
  const graphs: [string, string, string[][]][] = [
    ["Requests", "Sum", ofFunctions("Invocations")],
    ["Refused (403, 401)", "Sum", [...told("Denied"), ...told("Unauthorized")]],
    ["Time to answer, p99 (ms)", "p99", told("TimeToAnswer")],
    [
      "Failures and throttles",
      "Sum",
      [
        ofApi("5XXError"),
        ofApi("4XXError"),
        ...ofFunctions("Errors"),
        ...told("UpstreamErrors", ["grants", "proxy", "console"]),
        inTable("ReadThrottleEvents"),
        inTable("WriteThrottleEvents"),
        ...AUDITED.map((by) => [...inTable("WriteThrottleEvents"), "GlobalSecondaryIndexName", `audit_by_${by}`]),
      ],
    ],
    ["Table units", "Sum", [inTable("ConsumedReadCapacityUnits"), inTable("ConsumedWriteCapacityUnits")]],
  ];
  const widgets = graphs.map(([graph, stat, metrics], at) => ({
    type: "metric",
    x: 12 * (at % 2),
    y: 6 * Math.floor(at / 2),
    width: 12,
    height: 6,
    properties: { title: graph, region: Aws.REGION, stat, period: 300, metrics },
  }));
  new cloudwatch.CfnDashboard(scope, "Dashboard", {
    dashboardName: monitored.apiName,
    dashboardBody: JSON.stringify({ widgets }),
  });
}
