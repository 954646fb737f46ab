/** What goes over a hub's relay beside configuration. */
import * as z from 'zod'
import { COMMANDS } from '../../../model/fleet/command.ts'
import { REPORT_LIMITS } from '../../../model/fleet/report.ts'
import { hostPort } from './fields.ts'

const connectPort = () =>
  z.union(
    [
      z
        .int()
        .min(1)
        .max(65_535)
        .transform((port) => `127.0.0.1:${port}`),
      hostPort(),
    ],
    'must be a port of this machine, or HOST:PORT',
  )

export const overRelay = () => ({
  /** What the hub may ask of this device. */
  commands: z.array(z.enum(COMMANDS)).default(['status']),
  /** Ports that the hub may reach through the relay: of this machine, or HOST:PORT. */
  connect: z.strictObject({ ports: z.array(connectPort()).max(32).default([]) }).prefault({}),
  /** Shortest time between two reports of how this device is; 0 = none are sent. */
  reportMs: z.number().int().min(0).max(86_400_000).default(15_000),
  /** Services, and MQTT queues, that a report names at most; 0 = it names none. */
  reportRows: z.number().int().min(0).max(REPORT_LIMITS.rows).default(32),
})
