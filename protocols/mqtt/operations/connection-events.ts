/** Connects and disconnects: one line at info, with the reason in words, and a counter. */
import type { ErrorCode, MeshError } from '../../../core/errors.ts'
import type { Connection, Outcome } from '../../connection.ts'
import type { Connect } from '../codec/packet.ts'
import type { DisconnectReason } from '../counters.ts'
import { formatOwner, type Owner } from '../session/owner.ts'
import type { ConnectionFacts } from '../session/connection-facts.ts'
import type { Session } from '../session/session.ts'
import type { BrokerState } from '../state.ts'

export function tellConnected({ ctx }: BrokerState, session: Session, isResumed: boolean): void {
  const { clientId, connectedAs: connection, expirySec } = session
  if (!connection) return
  ctx.log.info(
    {
      evt: 'mqtt.connected',
      conn: connection.conn.id,
      clientId,
      ...whoIs(session.owner),
      address: connection.address,
      listener: connection.listener,
      protocol: connection.protocol,
      keepAliveSec: connection.keepAliveSec,
      cleanStart: connection.isCleanStart,
      sessionPresent: isResumed,
      sessionExpirySec: expirySec,
    },
    'client connected',
  )
}

/** @param how whether its client said DISCONNECT, and whether with its will */
export function tellDisconnected(
  { ctx, counters }: BrokerState,
  session: Pick<Session, 'clientId' | 'owner'>,
  connection: ConnectionFacts,
  { outcome, said }: { readonly outcome: Outcome; readonly said: 'nothing' | 'normal' | 'with-will' },
): void {
  const reason = reasonOfEnd(outcome.error, said)
  counters.disconnects[reason].value++
  ctx.log.info(
    {
      evt: 'mqtt.disconnected',
      conn: connection.conn.id,
      clientId: session.clientId,
      ...whoIs(session.owner),
      address: connection.address,
      reason,
      why: outcome.error?.message ?? WORDS[reason],
      ...(outcome.error ? { code: outcome.error.code } : {}),
      connectedSec: Math.round((ctx.clock.monotonicMs() - connection.sinceMs) / 1000),
      receivedBytes: connection.conn.receivedBytes,
      sentBytes: connection.conn.sentBytes,
    },
    'client disconnected',
  )
}

/** A client whose CONNECT was refused. */
export function tellRefused(
  { ctx }: BrokerState,
  conn: Connection,
  connect: Connect | undefined,
  err: MeshError,
): void {
  if (!connect) return
  ctx.log.info(
    {
      evt: 'mqtt.refused',
      conn: conn.id,
      clientId: connect.clientId,
      address: conn.remote.host,
      listener: conn.listener.name,
      why: err.message,
      code: err.code,
    },
    'client refused',
  )
}

function whoIs(owner: Owner | undefined): { readonly user?: string; readonly principal?: string } {
  if (!owner || owner.kind === 'anonymous') return {}
  return owner.kind === 'user' ? { user: owner.name } : { principal: formatOwner(owner) }
}

const WORDS: Partial<Record<DisconnectReason, string>> = {
  disconnect: 'the client said DISCONNECT',
  'disconnect-with-will': 'the client said DISCONNECT and wants its will to be published',
  closed: 'the client closed the connection without DISCONNECT',
}

const BY_CODE: Partial<Record<ErrorCode, DisconnectReason>> = {
  MESH_CLIENT_GONE: 'broken',
  MESH_MQTT_KEEP_ALIVE: 'keep-alive',
  MESH_MQTT_TAKEN_OVER: 'taken-over',
  MESH_MQTT_KICKED: 'kicked',
  MESH_MQTT_PROTOCOL: 'protocol',
  MESH_MQTT_PACKET_TOO_LARGE: 'too-large',
  MESH_MQTT_NOT_AUTHORIZED: 'not-authorized',
  MESH_PEER_NOT_ALLOWED: 'not-authorized',
  MESH_NO_FILTER_CHAIN: 'not-authorized',
  MESH_DRAINING: 'draining',
}
function reasonOfEnd(error: MeshError | undefined, said: 'nothing' | 'normal' | 'with-will'): DisconnectReason {
  if (error) return BY_CODE[error.code] ?? 'failed'
  return said === 'nothing' ? 'closed' : said === 'normal' ? 'disconnect' : 'disconnect-with-will'
}
