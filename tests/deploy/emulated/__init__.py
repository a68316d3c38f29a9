"""An emulated AWS with a Deputize in it, deployed from the template.

| module | holds |
| --- | --- |
| `emulator` | `ministack`, and clients of it |
| `adaptation` | what the emulator cannot do with the template |
| `guard` | IAM before DynamoDB and KMS, which the emulator has not |
| `stack` | the stack: created, configured, bootstrapped |
| `organization` | the demo organization in it, made over the management API |
| `deployment` | all of it, and as new again for each test |
"""
