/** One class of errors and one catalogue of codes, for everything that meshlet refuses or fails at. */
import { CONNECT } from './errors/connect.ts'
import { CONTROL_PLANE } from './errors/control-plane.ts'
import { HUB } from './errors/hub.ts'
import { IDENTITY } from './errors/identity.ts'
import { MACHINE } from './errors/machine.ts'
import { MQTT } from './errors/mqtt.ts'
import { MQTT_USERS } from './errors/mqtt-users.ts'
import { STORAGE } from './errors/storage.ts'
import { TRAFFIC } from './errors/traffic.ts'
import { UPSTREAM } from './errors/upstream.ts'
import type { Row } from './errors/row.ts'

export type { RetryClass, Row } from './errors/row.ts'

/** Every refusal of meshlet, once, in the order of docs/errors.md. Codes are never reused. */
export const CATALOGUE = {
  ...TRAFFIC,
  ...UPSTREAM,
  ...IDENTITY,
  ...CONTROL_PLANE,
  ...MACHINE,
  ...STORAGE,
  ...MQTT,
  ...MQTT_USERS,
  ...HUB,
  ...CONNECT,
  MESH_INTERNAL: {
    origin: 'internal',
    retry: 'never',
    http: 500,
    flag: '-',
    remedy: 'This is a defect of meshlet; please report it with the log line.',
  },
} as const satisfies Record<string, Row>
export type ErrorCode = keyof typeof CATALOGUE

/** The only error class that leaves a module. Match on `code`, never on `message`. */
export class MeshError extends Error {
  override readonly name = 'MeshError'
  readonly code: ErrorCode
  /** Of a policy, the one that refused (MESH_PEER_NOT_ALLOWED). */
  readonly rule: string | undefined
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; rule?: string }) {
    super(message, options)
    this.code = code
    this.rule = options?.rule
  }
  get row(): Row {
    return CATALOGUE[this.code]
  }
}

/** Anything thrown, as a MeshError: one of ours stays as it is, the rest becomes MESH_INTERNAL with its cause. */
export function toMeshError(thrown: unknown): MeshError {
  if (thrown instanceof MeshError) return thrown
  return new MeshError('MESH_INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown })
}

/** One sentence for a person: code, what, and what to do; after a list what to do stands on a line of its own. */
export function formatSentence(err: MeshError): string {
  return `${err.code}: ${err.message.replace(/\.$/, '')}${err.message.includes('\n') ? '\n' : '. '}${err.row.remedy}`
}
