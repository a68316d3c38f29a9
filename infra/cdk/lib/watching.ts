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

interface Watched {
  apiName: string;
  stageName: string;
  tableName: string;
  functions: Record<FunctionName, string>;
  deniedThreshold: number;
  topic?: sns.ITopic;
}

const FIVE_MINUTES = Duration.minutes(5);

export const title = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

export function watch(scope: Construct, watched: Watched) {
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
    if (watched.topic) {
      const action = new actions.SnsAction(watched.topic);
      made.addAlarmAction(action);
      made.addOkAction(action);
    }
  };
  const metric = (namespace: string, metricName: string, dimensionsMap: Record<string, string>, statistic = "Sum") =>
    new cloudwatch.Metric({ namespace, metricName, dimensionsMap, statistic, period: FIVE_MINUTES });

  for (const name of FUNCTIONS) {
    const of = { FunctionName: watched.functions[name] };
    const slow =
      name === "proxy"
        ? { seconds: 30, text: "MCP servers included (p99 over 30 s)" }
        : { seconds: 3, text: "p99 over 3 s" };
    alarm(
      `${title(name)}Errors`,
      `deputize-${name} failed without an answer (it crashed, ran out of memory, or timed out)`,
      metric("AWS/Lambda", "Errors", of),
    );
    alarm(
      `${title(name)}Throttles`,
      `deputize-${name} was refused an execution environment`,
      metric("AWS/Lambda", "Throttles", of),
    );
    alarm(
      `${title(name)}Latency`,
      `deputize-${name} is slow, ${slow.text}`,
      metric("AWS/Lambda", "Duration", of, "p99"),
      { threshold: slow.seconds * 1000, evaluationPeriods: 3 },
    );
    alarm(
      `${title(name)}Denied`,
      `deputize-${name} refused more requests than usual`,
      // Of the function's own, in the embedded metric format.
      metric("Deputize", "Denied", { Function: watched.functions[name] }),
      { threshold: watched.deniedThreshold },
    );
  }
  alarm(
    "ApiErrors",
    "API Gateway answered with 5xx",
    metric("AWS/ApiGateway", "5XXError", { ApiName: watched.apiName, Stage: watched.stageName }),
  );
  const ofTable = { TableName: watched.tableName };
  alarm("TableReadThrottles", "DynamoDB throttled reads", metric("AWS/DynamoDB", "ReadThrottleEvents", ofTable), {
    evaluationPeriods: 2,
  });
  alarm("TableWriteThrottles", "DynamoDB throttled writes", metric("AWS/DynamoDB", "WriteThrottleEvents", ofTable), {
    evaluationPeriods: 2,
  });
  const ofFunctions = (metricName: string) =>
    FUNCTIONS.map((name) => ["AWS/Lambda", metricName, "FunctionName", watched.functions[name]]);
  const told = (metricName: string) =>
    FUNCTIONS.map((name) => ["Deputize", metricName, "Function", watched.functions[name]]);
  const ofApi = (metricName: string) => [
    "AWS/ApiGateway",
    metricName,
    "ApiName",
    watched.apiName,
    "Stage",
    watched.stageName,
  ];
  const inTable = (metricName: string) => ["AWS/DynamoDB", metricName, "TableName", watched.tableName];
  const graphs: [string, string, string[][]][] = [
    ["Requests", "Sum", ofFunctions("Invocations")],
    ["Refused (403, 401)", "Sum", [...told("Denied"), ...told("Unauthorized")]],
    ["Duration, p99 (ms)", "p99", ofFunctions("Duration")],
    [
      "Failures and throttles",
      "Sum",
      [
        ofApi("5XXError"),
        ofApi("4XXError"),
        ...ofFunctions("Errors"),
        inTable("ReadThrottleEvents"),
        inTable("WriteThrottleEvents"),
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
    dashboardName: watched.apiName,
    dashboardBody: JSON.stringify({ widgets }),
  });
}
