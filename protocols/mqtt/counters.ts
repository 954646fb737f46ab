/** The broker's numbers, taken once. */
import type { Cell, HistogramCell, Metrics } from '../../core/metrics.ts'
import type { Packet, Qos } from './codec/packet.ts'

const DROP_REASONS = [
  'slow-reader',
  'queue-full',
  'expired',
  'too-large',
  'spool',
  'not-authorized',
  'retained-limit',
  'memory',
  'no-member',
] as const
export type DropReason = (typeof DROP_REASONS)[number]
const DISCONNECT_REASONS = [
  'disconnect',
  'disconnect-with-will',
  'closed',
  'broken',
  'keep-alive',
  'taken-over',
  'kicked',
  'protocol',
  'too-large',
  'not-authorized',
  'draining',
  'failed',
] as const
export type DisconnectReason = (typeof DISCONNECT_REASONS)[number]
/** PUBLISH has counters of its own, by QoS. */
export type ControlType = Exclude<Packet['type'], 'publish' | 'unsupported-connect'>
export type ControlCounters = Readonly<Record<ControlType, Cell>>
/** `payload`: of PUBLISH packets. */
export type ByteCounters = { readonly all: Cell; readonly payload: Cell }
export type Counters = {
  readonly sockets: Cell
  readonly disconnects: Readonly<Record<DisconnectReason, Cell>>
  readonly controlsReceived: ControlCounters
  readonly controlsSent: ControlCounters
  readonly bytesReceived: ByteCounters
  readonly bytesSent: ByteCounters
  readonly sessionsExpired: Cell
  readonly commitWait: HistogramCell
  readonly connects: Cell
  readonly refusedConnects: Cell
  readonly takeovers: Cell
  readonly foreignIds: Cell
  readonly revoked: Cell
  readonly refusedSubscriptions: Readonly<Record<'not-authorized' | 'quota' | 'too-deep', Cell>>
  readonly received: readonly [Cell, Cell, Cell]
  readonly sent: readonly [Cell, Cell, Cell]
  readonly refused: (reason: 'quota' | 'storage' | 'not-authorized') => Cell
  readonly dropped: Readonly<Record<DropReason, Cell>>
  readonly spoolWaits: Cell
  readonly receiverWaits: Cell
  readonly handedOver: Cell
  readonly gaveWay: Readonly<Record<'unused' | 'share', Cell>>
}

const CONTROLS: readonly ControlType[] = [
  'connect',
  'connack',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
  'subscribe',
  'suback',
  'unsubscribe',
  'unsuback',
  'pingreq',
  'pingresp',
  'disconnect',
  'auth',
]
const COMMIT_BOUNDS_SEC = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

export function createCounters(metrics: Metrics): Counters {
  const connects = metrics
    .counter('mesh_mqtt_connects_total', 'CONNECT packets by what became of them.', ['outcome'])
    .cells(['accepted', 'refused'])
  return {
    sockets: metrics.counter('mesh_mqtt_sockets_total', 'Connections that came to MQTT listeners.').cell({}),
    connects: connects.accepted,
    refusedConnects: connects.refused,
    ...messageCounters(metrics),
    ...packetCounters(metrics),
    ...sessionCounters(metrics),
  }
}

type PacketCounters = Pick<Counters, 'controlsReceived' | 'controlsSent' | 'bytesReceived' | 'bytesSent' | 'commitWait'>
function packetCounters(metrics: Metrics): PacketCounters {
  return {
    controlsReceived: metrics
      .counter(
        'mesh_mqtt_packets_received_total',
        'Packets from clients but PUBLISH, by type; PUBLISH is in mesh_mqtt_messages_received_total.',
        ['type'],
      )
      .cells(CONTROLS),
    controlsSent: metrics
      .counter(
        'mesh_mqtt_packets_sent_total',
        'Packets to clients but PUBLISH, by type; PUBLISH is in mesh_mqtt_messages_sent_total.',
        ['type'],
      )
      .cells(CONTROLS),
    bytesReceived: metrics
      .counter(
        'mesh_mqtt_bytes_received_total',
        'Bytes from clients: all of them, and those of the payloads of PUBLISH.',
        ['part'],
      )
      .cells(['all', 'payload']),
    bytesSent: metrics
      .counter('mesh_mqtt_bytes_sent_total', 'Bytes to clients: all of them, and those of the payloads of PUBLISH.', [
        'part',
      ])
      .cells(['all', 'payload']),
    commitWait: metrics
      .histogram(
        'mesh_mqtt_commit_wait_seconds',
        'From a PUBLISH that has to be durable to its commit; one observation for all of a client in one transaction.',
        COMMIT_BOUNDS_SEC,
      )
      .cell({}),
  }
}

function messageCounters(
  metrics: Metrics,
): Pick<Counters, 'received' | 'sent' | 'refused' | 'dropped' | 'spoolWaits' | 'receiverWaits' | 'handedOver'> {
  const received = metrics.counter('mesh_mqtt_messages_received_total', 'PUBLISH packets from clients.', ['qos'])
  const sent = metrics.counter('mesh_mqtt_messages_sent_total', 'PUBLISH packets to clients, repetitions included.', [
    'qos',
  ])
  const refused = metrics.counter(
    'mesh_mqtt_publishes_refused_total',
    'PUBLISH packets that were refused and not acknowledged as received.',
    ['reason'],
  )
  const byQos = (family: typeof sent): [Cell, Cell, Cell] =>
    [0, 1, 2].map((qos) => family.cell({ qos: String(qos as Qos) })) as [Cell, Cell, Cell]
  return {
    received: byQos(received),
    sent: byQos(sent),
    refused: (reason) => refused.cell({ reason }),
    dropped: metrics
      .counter('mesh_mqtt_messages_dropped_total', 'Messages that one receiver did not get, by reason.', ['reason'])
      .cells(DROP_REASONS),
    handedOver: metrics
      .counter(
        'mesh_mqtt_shared_handed_over_total',
        'Messages of a shared subscription that went to another member because the session of the first has ended.',
      )
      .cell({}),
    receiverWaits: metrics
      .counter(
        'mesh_mqtt_receiver_waits_total',
        'Times a client was not read from for a moment because memory was short and its messages waited for receivers.',
      )
      .cell({}),
    spoolWaits: metrics
      .counter('mesh_mqtt_spool_waits_total', 'Times a client was not read from because the spool had no room.')
      .cell({}),
  }
}

type SessionCounters = Pick<
  Counters,
  'takeovers' | 'foreignIds' | 'revoked' | 'refusedSubscriptions' | 'gaveWay' | 'disconnects' | 'sessionsExpired'
>
function sessionCounters(metrics: Metrics): SessionCounters {
  return {
    disconnects: metrics
      .counter(
        'mesh_mqtt_disconnects_total',
        'Connections of MQTT clients that ended after their CONNECT, by reason.',
        ['reason'],
      )
      .cells(DISCONNECT_REASONS),
    sessionsExpired: metrics
      .counter('mesh_mqtt_sessions_expired_total', 'Kept sessions that ended because their expiry was over.')
      .cell({}),
    takeovers: metrics
      .counter('mesh_mqtt_takeovers_total', 'Connections that ended because their client id connected again.')
      .cell({}),
    foreignIds: metrics
      .counter(
        'mesh_mqtt_foreign_client_ids_total',
        'CONNECT packets that were refused because the session of their client id belongs to another.',
      )
      .cell({}),
    refusedSubscriptions: metrics
      .counter('mesh_mqtt_subscriptions_refused_total', 'Filters of SUBSCRIBE packets that were refused, by reason.', [
        'reason',
      ])
      .cells(['not-authorized', 'quota', 'too-deep']),
    revoked: metrics
      .counter(
        'mesh_mqtt_subscriptions_revoked_total',
        'Subscriptions that ended because the rules do not allow them any more.',
      )
      .cell({}),
    gaveWay: metrics
      .counter(
        'mesh_mqtt_sessions_gave_way_total',
        'Kept sessions that ended because there were as many as there may be: unused ones, or those of the largest share.',
        ['why'],
      )
      .cells(['unused', 'share']),
  }
}
