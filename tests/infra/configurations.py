"""The configurations in which the two templates are compared: as it is by default, and with everything."""

DEFAULT: dict[str, str] = {}

EVERYTHING = {
    "Architecture": "x86_64",
    "TrustedIssuers": '[{"issuer":"https://login.example.com","audiences":["deputize"]}]',
    "AllowedOrigins": "https://app.example.com,https://admin.example.com",
    "AllowPrivateUpstreams": "true",
    "DomainName": "deputize.example.com",
    "CertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000",
    "HostedZoneId": "Z0000000000000000000",
    "AlarmEmail": "ops@example.com",
    "DeniedThreshold": "7",
    "LogLevel": "debug",
    "LogRetentionDays": "90",
    "MemorySize": "1024",
    "ThrottlingRate": "50",
    "ThrottlingBurst": "20",
    "ReservedConcurrency": "10",
    "ProvisionedConcurrency": "3",
    "Release": "2026-11",
    "WafRateLimit": "2000",
    "DeletionProtection": "false",
}

BEHIND_A_HOST_OF_ONES_OWN = {"PublicUrl": "https://agents.example.com/deputize"}

ALL = {"default": DEFAULT, "everything": EVERYTHING, "behind a host of one's own": BEHIND_A_HOST_OF_ONES_OWN}
