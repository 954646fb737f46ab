/** What is decided about a device, whoever asks for it: from the console, beside the hub, from another machine. */
import type { AuditEvent } from '../registry/audit.ts'
import type { Role } from '../registry/console-sessions.ts'
import type { Registry } from '../registry/registry.ts'
import { approveDevice, denyDevice, forgetDevice, revokeDevice } from './operator.ts'

export type Verb = 'approve' | 'deny' | 'revoke' | 'forget'
export type Decision = {
  readonly summary: string
  readonly role: Role
  readonly event: AuditEvent
  /** @returns what happened */
  readonly decide: (
    tx: Registry,
    name: string,
    p: { readonly nowMs: number; readonly keyId?: string | undefined },
  ) => Promise<string>
}

/** Of `forget`: there was nothing to free. */
export const NOBODY_HAD_IT = 'nobody had it'

export const DECISIONS: Readonly<Record<Verb, Decision>> = {
  approve: {
    summary: 'Lets in who waits, is revoked, or was found twice',
    role: 'operator',
    event: 'device.approved',
    decide: (tx, name, { nowMs, keyId }) => approveDevice(tx, name, nowMs, keyId),
  },
  deny: {
    summary: 'Does not let in who waits; whoever has the name keeps it',
    role: 'operator',
    event: 'device.denied',
    decide: async (tx, name) => `key ${await denyDevice(tx, name)}`,
  },
  revoke: {
    summary: 'Its certificates are refused, its streams end, its key opens nothing',
    role: 'operator',
    event: 'device.revoked',
    decide: async (tx, name, { nowMs }) => `${await revokeDevice(tx, name, nowMs)} certificate(s)`,
  },
  forget: {
    summary: 'Frees the name for whoever has a token for it',
    role: 'admin',
    event: 'device.forgotten',
    decide: async (tx, name, { nowMs }) => ((await forgetDevice(tx, name, nowMs)) ? '' : NOBODY_HAD_IT),
  },
}
export const VERBS = Object.keys(DECISIONS) as readonly Verb[]
