/** All tasks, in the order of the table. */
import { ambient } from './rows/ambient.ts'
import { authorization } from './rows/authorization.ts'
import { egress } from './rows/egress.ts'
import { gatewayApi } from './rows/gateway-api.ts'
import { gatewayEgress } from './rows/gateway-egress.ts'
import { gatewayPolicies } from './rows/gateway-policies.ts'
import { gateways } from './rows/gateways.ts'
import { mtls } from './rows/mtls.ts'
import { networking } from './rows/networking.ts'
import { operations } from './rows/operations.ts'
import { pages } from './rows/pages.ts'
import { resilience } from './rows/resilience.ts'
import { routing } from './rows/routing.ts'
import { observability } from './rows/telemetry.ts'
import { tokens } from './rows/tokens.ts'
import { tracing } from './rows/tracing.ts'
import type { Task } from './task.ts'

export const TASKS: readonly Task[] = [
  ...routing,
  ...resilience,
  ...egress,
  ...gateways,
  ...gatewayEgress,
  ...gatewayPolicies,
  ...gatewayApi,
  ...mtls,
  ...authorization,
  ...tokens,
  ...observability,
  ...tracing,
  ...networking,
  ...ambient,
  ...operations,
  ...pages,
]
