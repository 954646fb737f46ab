/** The numbers of Sparkplug routes, taken once. */
import type { Cell, Metrics } from '../../../core/metrics.ts'
import type { Heard } from './primary-host.ts'
import type { Unread } from './payload.ts'
import type { RebirthReason } from './rebirths.ts'

export type SparkplugCounters = {
  readonly historical: Cell
  /** Why a payload was not looked at. */
  readonly unread: Readonly<Record<Unread, Cell>>
  readonly gaps: Cell
  readonly forgotten: Cell
  readonly rebirths: Readonly<Record<RebirthReason, Cell>>
  readonly states: Readonly<Record<Heard, Cell>>
}

export function registerSparkplugCounters(metrics: Metrics): SparkplugCounters {
  return {
    historical: metrics
      .counter('mesh_mqtt_sparkplug_historical_total', 'Data messages that were sent with is_historical.')
      .cell({}),
    unread: {
      unreadable: metrics
        .counter(
          'mesh_mqtt_sparkplug_unreadable_total',
          'Payloads under topics of Sparkplug that are none of its payloads; they are sent as they are.',
        )
        .cell({}),
      'too-large': metrics
        .counter(
          'mesh_mqtt_sparkplug_inflated_too_large_total',
          'Compressed payloads that are larger than sparkplug.maxInflatedBytes; they are sent as they are.',
        )
        .cell({}),
    },
    gaps: metrics
      .counter(
        'mesh_mqtt_sparkplug_gaps_total',
        'Messages of Edge Nodes in front of which sequence numbers are missing.',
      )
      .cell({}),
    forgotten: metrics
      .counter(
        'mesh_mqtt_sparkplug_forgotten_total',
        'Edge Nodes whose sequence numbers are not looked after, or that are not asked for their birth, because there are too many.',
      )
      .cell({}),
    rebirths: metrics
      .counter(
        'mesh_mqtt_sparkplug_rebirths_total',
        'Rebirth Requests to Edge Nodes, by reason: a full queue gave up messages, a sequence number is missing, the Primary Host Application went or came, stored messages were sent.',
        ['reason'],
      )
      .cells(['gap', 'sequence', 'host', 'replay']),
    states: metrics
      .counter(
        'mesh_mqtt_sparkplug_states_total',
        'STATE messages of Primary Host Applications, by what they were good for: online, offline, stale (older than the last), invalid.',
        ['state'],
      )
      .cells(['online', 'offline', 'stale', 'invalid']),
  }
}
