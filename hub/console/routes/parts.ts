/** What the routes of the console are made with. */
import type { FastifyRequest } from 'fastify'
import type { Clock } from '../../../core/os/clock.ts'
import { toPlainAddress } from '../../api/source-address.ts'
import type { AuditEvent } from '../../registry/audit.ts'
import type { Registry } from '../../registry/registry.ts'
import type { CreateToken, JoinClaims } from '../../tokens.ts'
import type { FleetDetails } from '../fleet/details.ts'
import type { FleetView } from '../fleet/view.ts'
import type { Logins } from '../logins.ts'
import { errorBody } from '../../api/http/schemas.ts'

export type TokenWish = Omit<CreateToken, 'roots' | 'ttlSec'> & { readonly ttlSec?: number | undefined }
export type ConsoleParts = {
  readonly registry: Registry
  readonly view: FleetView
  readonly details: FleetDetails
  readonly logins: Logins
  readonly clock: Clock
  readonly createToken: (p: TokenWish, tx: Registry) => Promise<JoinClaims & { readonly token: string }>
  /** Of the hub, for `meshlet join`. */
  readonly joinAddress: string
  readonly hub: { readonly version: string; readonly startedMs: number }
}

/** Every answer of a route may be an error instead. */
export const ERRORS = { '4xx': errorBody, '5xx': errorBody }

export function readAddress(request: FastifyRequest): string {
  return toPlainAddress(request.raw.socket.remoteAddress ?? '')
}

/** Writes down who did it, from where. */
export async function noteChange(
  { clock, view }: Pick<ConsoleParts, 'clock' | 'view'>,
  request: FastifyRequest,
  done: {
    /** In which it was done. */
    readonly tx: Registry
    readonly event: AuditEvent
    readonly subject: string
    readonly detail: string
    /** Of what it is about; empty: of none. */
    readonly namespace: string
  },
): Promise<void> {
  view.forget()
  const actor = request.operator!.session.operator
  const { tx, ...entry } = done
  await tx.audit.add({ ...entry, atMs: clock.wallMs(), actor, address: readAddress(request) })
}
