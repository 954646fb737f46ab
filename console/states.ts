import type { DeviceState } from '../hub/console/schemas.ts'

/** In the order of a list to choose from. */
export const DEVICE_STATES = [
  'connected',
  'gone',
  'joined',
  'pending',
  'suspended',
  'revoked',
  'unknown',
] as const satisfies readonly DeviceState[]
