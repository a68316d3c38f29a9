"""The configurations in which the two templates are compared: the default, and everything. They include values that
CloudFormation itself sets, such as the region, where these decide something."""

DEFAULT: dict[str, str] = {}

EVERYTHING = {
    # In this region, the edge is part of the stack.
    "AWS::Region": "us-east-1",
    "Architecture": "x86_64",
    "TrustedIssuers": '[{"issuer":"https://login.example.com","audiences":["deputize"]}]',
    "AllowedOrigins": "https://app.example.com,https://admin.example.com",
    "SharedGrants": "managers",
    "RetentionDays": "audit=30,grants=0",
    "Apps": "documents,admin",
    "AppHosts": "claude.ai,.example.com",
    "AppSchemes": "myapp",
    "RefreshGrace": "0",
    "BrowserSessionMinutes": "idle=15,total=480",
    "ClaimsMaxAgeDays": "7",
    "AgentsWithoutOwner": "stop",
    "MaxApiKeyDays": "90",
    "AuditLog": "ocsf",
    "AuditStreamArn": "arn:aws:firehose:us-east-1:123456789012:deliverystream/audit",
    "PrivateUpstreams": "10.20.0.0/16,.corp.example",
    "SubnetIds": "subnet-00000000000000001,subnet-00000000000000002",
    "SecurityGroupIds": "sg-00000000000000001,sg-00000000000000002",
    "VpcId": "vpc-00000000000000001",
    "RouteTableIds": "rtb-00000000000000001,rtb-00000000000000002",
    "KmsEndpoint": "true",
    "CaBundleLayer": "arn:aws:lambda:us-east-1:123456789012:layer:ca-bundle:1",
    "AccessLog": "true",
    "Tracing": "true",
    "LogsKey": "create",
    "DomainName": "deputize.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
    "HostedZoneId": "Z0000000000000000000",
    "AlarmEmail": "ops@example.com",
    "DeniedThreshold": "7",
    "LogLevel": "debug",
    "LogRetentionDays": "90",
    "MemorySize": "1024",
    "ThrottlingRate": "50",
    "ThrottlingBurst": "20",
    "ReservedConcurrency": "10",
    "ProxyConcurrency": "20",
    "SessionStreams": "off",
    "ProvisionedConcurrency": "3",
    "Release": "2026-11",
    "WafRateLimit": "2000",
    "DeletionProtection": "false",
}

WITHOUT_CLOUDFRONT = {
    name: value for name, value in EVERYTHING.items() if name != "AWS::Region"
} | {
    "CloudFront": "false",
    "CertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
}

WITH_THE_EDGE_OF_ANOTHER_STACK = {
    "EdgeFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:deputize-edge-EdgeFunction-000000000000:1",
    "WebAclArn": "arn:aws:wafv2:us-east-1:123456789012:global/webacl/deputize/00000000-0000-0000-0000-000000000000",
}

BEHIND_A_HOST_OF_ONES_OWN = {"PublicUrl": "https://agents.example.com/deputize"}

IN_A_NETWORK_OF_ONES_OWN = {
    "SubnetIds": "subnet-00000000000000001",
    "SecurityGroupIds": "sg-00000000000000001",
    "AccessLog": "true",
    "AlarmEmail": "ops@example.com",
    "LogsKey": "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000",
}

ALL = {
    "default": DEFAULT,
    "everything": EVERYTHING,
    "without CloudFront": WITHOUT_CLOUDFRONT,
    "with the edge of another stack": WITH_THE_EDGE_OF_ANOTHER_STACK,
    "behind a host of one's own": BEHIND_A_HOST_OF_ONES_OWN,
    "in a network of one's own": IN_A_NETWORK_OF_ONES_OWN,
}
