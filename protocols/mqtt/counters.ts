/** The broker's numbers, taken once. */
import type { Cell, Metrics } from '../../core/metrics.ts'
import type { Qos } from './codec/packet.ts'

export type DropReason =
  | 'slow-reader'
  | 'queue-full'
  | 'expired'
  | 'too-large'
  | 'spool'
  | 'not-authorized'
  | 'retained-limit'
  | 'memory'
  | 'no-member'
export type Counters = {
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
  readonly handedOver: Cell
  readonly gaveWay: Readonly<Record<'unused' | 'share', Cell>>
}

const REASONS: readonly DropReason[] = [
  'slow-reader',
  'queue-full',
  'expired',
  'too-large',
  'spool',
  'not-authorized',
  'retained-limit',
  'memory',
  'no-member',
]

export function createCounters(metrics: Metrics): Counters {
  const connects = metrics.counter('mesh_mqtt_connects_total', 'CONNECT packets by what became of them.', ['outcome'])
  return {
    connects: connects.cell({ outcome: 'accepted' }),
    refusedConnects: connects.cell({ outcome: 'refused' }),
    ...messageCounters(metrics),
    ...sessionCounters(metrics),
  }
}

function messageCounters(
  metrics: Metrics,
): Pick<Counters, 'received' | 'sent' | 'refused' | 'dropped' | 'spoolWaits' | 'handedOver'> {
  const received = metrics.counter('mesh_mqtt_messages_received_total', 'PUBLISH packets from clients.', ['qos'])
  const sent = metrics.counter('mesh_mqtt_messages_sent_total', 'PUBLISH packets to clients, repetitions included.', [
    'qos',
  ])
  const refused = metrics.counter(
    'mesh_mqtt_publishes_refused_total',
    'PUBLISH packets that were refused and not acknowledged as received.',
    ['reason'],
  )
  const dropped = metrics.counter(
    'mesh_mqtt_messages_dropped_total',
    'Messages that one receiver did not get, by reason.',
    ['reason'],
  )
  const byQos = (family: typeof sent): [Cell, Cell, Cell] =>
    [0, 1, 2].map((qos) => family.cell({ qos: String(qos as Qos) })) as [Cell, Cell, Cell]
  return {
    received: byQos(received),
    sent: byQos(sent),
    refused: (reason) => refused.cell({ reason }),
    dropped: Object.fromEntries(REASONS.map((reason) => [reason, dropped.cell({ reason })])) as Record<
      DropReason,
      Cell
    >,
    handedOver: metrics
      .counter(
        'mesh_mqtt_shared_handed_over_total',
        'Messages of a shared subscription that went to another member because the session of the first has ended.',
      )
      .cell({}),
    spoolWaits: metrics
      .counter('mesh_mqtt_spool_waits_total', 'Times a client was not read from because the spool had no room.')
      .cell({}),
  }
}

function sessionCounters(
  metrics: Metrics,
): Pick<Counters, 'takeovers' | 'foreignIds' | 'revoked' | 'refusedSubscriptions' | 'gaveWay'> {
  const refused = metrics.counter(
    'mesh_mqtt_subscriptions_refused_total',
    'Filters of SUBSCRIBE packets that were refused, by reason.',
    ['reason'],
  )
  const gaveWay = metrics.counter(
    'mesh_mqtt_sessions_gave_way_total',
    'Kept sessions that ended because there were as many as there may be: unused ones, or those of the largest share.',
    ['why'],
  )
  return {
    takeovers: metrics
      .counter('mesh_mqtt_takeovers_total', 'Connections that ended because their client id connected again.')
      .cell({}),
    foreignIds: metrics
      .counter(
        'mesh_mqtt_foreign_client_ids_total',
        'CONNECT packets that were refused because the session of their client id belongs to another.',
      )
      .cell({}),
    refusedSubscriptions: {
      'not-authorized': refused.cell({ reason: 'not-authorized' }),
      quota: refused.cell({ reason: 'quota' }),
      'too-deep': refused.cell({ reason: 'too-deep' }),
    },
    revoked: metrics
      .counter(
        'mesh_mqtt_subscriptions_revoked_total',
        'Subscriptions that ended because the rules do not allow them any more.',
      )
      .cell({}),
    gaveWay: { unused: gaveWay.cell({ why: 'unused' }), share: gaveWay.cell({ why: 'share' }) },
  }
}
