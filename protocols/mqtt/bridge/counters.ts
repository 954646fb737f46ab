/** The bridge's numbers, taken once. */
import type { Cell, Metrics } from '../../../core/metrics.ts'

export type BridgeCounters = {
  readonly sent: Cell
  readonly received: Cell
  readonly setAside: Cell
  readonly refusedSubscriptions: Cell
  readonly receiverWaits: Cell
  readonly connects: Readonly<Record<'connected' | 'refused' | 'failed', Cell>>
  readonly dropped: Readonly<
    Record<'expired' | 'too-large' | 'refused' | 'unrouted' | 'not-taken' | 'set-aside' | 'loop', Cell>
  >
}

export function registerBridgeCounters(metrics: Metrics): BridgeCounters {
  return {
    sent: metrics
      .counter('mesh_mqtt_bridge_sent_total', 'PUBLISH packets to upstream brokers, repetitions included.')
      .cell({}),
    received: metrics
      .counter('mesh_mqtt_bridge_received_total', 'PUBLISH packets from upstream brokers, repetitions included.')
      .cell({}),
    setAside: metrics
      .counter(
        'mesh_mqtt_bridge_set_aside_total',
        'Messages that an upstream broker does not take and that are set aside, so that the others go on.',
      )
      .cell({}),
    refusedSubscriptions: metrics
      .counter(
        'mesh_mqtt_bridge_subscriptions_refused_total',
        'Subscriptions of routes down that an upstream broker does not grant; they are asked for again each minute.',
      )
      .cell({}),
    receiverWaits: metrics
      .counter(
        'mesh_mqtt_bridge_receiver_waits_total',
        'Times an upstream broker was not read from for a moment because memory was short and its messages waited for receivers.',
      )
      .cell({}),
    connects: metrics
      .counter('mesh_mqtt_bridge_connects_total', 'Connections to upstream brokers by what became of them.', [
        'outcome',
      ])
      .cells(['connected', 'refused', 'failed']),
    dropped: metrics
      .counter(
        'mesh_mqtt_bridge_dropped_total',
        'Messages between here and an upstream broker that were given up for good, by reason.',
        ['reason'],
      )
      .cells(['expired', 'too-large', 'refused', 'unrouted', 'not-taken', 'loop', 'set-aside']),
  }
}
