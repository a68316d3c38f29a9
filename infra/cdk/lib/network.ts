// A network of one's own: the subnets that the functions are in, and the endpoints by which they reach AWS from there.

import { Aws, aws_ec2 as ec2 } from "aws-cdk-lib";
import type { Construct } from "constructs";

/** Where the functions have their network. */
export interface Network {
  /** The subnets. They need a way to DynamoDB and KMS, and to whatever else is called. */
  readonly subnetIds: string[];
  /** The functions' security groups: at least one. */
  readonly securityGroupIds: string[];
  /** The endpoints that the stack makes. Default: none, since they exist, or there is a NAT gateway. */
  readonly endpoints?: Endpoints;
}

export interface Endpoints {
  readonly vpcId: string;
  /** The subnets' route tables, to make DynamoDB's gateway endpoint in. Default: no such endpoint. */
  readonly routeTableIds?: string[];
  /** Whether to make an interface endpoint for KMS in the subnets. Default: no. */
  readonly kms?: boolean;
}

/**
 * Their policies are open: whatever else is in the subnets uses them too. What the functions may do there, their roles
 * say.
 */
export function makeEndpoints(scope: Construct, network: Network, { vpcId, routeTableIds, kms }: Endpoints) {
  if (routeTableIds?.length) {
    new ec2.CfnVPCEndpoint(scope, "TableEndpoint", {
      vpcId,
      vpcEndpointType: "Gateway",
      serviceName: `com.amazonaws.${Aws.REGION}.dynamodb`,
      routeTableIds,
    });
  }
  if (!kms) return;
  const group = new ec2.CfnSecurityGroup(scope, "KeyEndpointSecurityGroup", {
    groupDescription: "From the functions of Deputize to KMS",
    vpcId,
    securityGroupIngress: [
      {
        description: "From the functions",
        ipProtocol: "tcp",
        fromPort: 443,
        toPort: 443,
        sourceSecurityGroupId: network.securityGroupIds[0],
      },
    ],
    // It begins no connection. Without a rule there would be one for everything.
    securityGroupEgress: [{ description: "Nowhere", ipProtocol: "-1", cidrIp: "127.0.0.1/32" }],
  });
  new ec2.CfnVPCEndpoint(scope, "KeyEndpoint", {
    vpcId,
    vpcEndpointType: "Interface",
    serviceName: `com.amazonaws.${Aws.REGION}.kms`,
    privateDnsEnabled: true,
    subnetIds: network.subnetIds,
    securityGroupIds: [group.attrGroupId],
  });
}
