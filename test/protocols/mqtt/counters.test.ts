import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Metrics } from '../../../core/metrics.ts'
import { createCounters } from '../../../protocols/mqtt/counters.ts'

test('each counter stands under its own name and label', () => {
  const metrics = new Metrics()
  const counters = createCounters(metrics)
  const total = (name: string, labels: Record<string, string> = {}): number =>
    metrics.total(`mesh_mqtt_${name}`, labels)
  counters.connects.value += 1
  counters.refusedConnects.value += 2
  counters.takeovers.value += 3
  counters.foreignIds.value += 4
  counters.revoked.value += 5
  counters.spoolWaits.value += 6
  for (const qos of [0, 1, 2] as const) {
    counters.received[qos].value += 10 + qos
    counters.sent[qos].value += 20 + qos
  }
  counters.refused('quota').value += 7
  counters.dropped['slow-reader'].value += 8
  counters.dropped.memory.value += 9
  counters.gaveWay.unused.value += 10
  counters.gaveWay.share.value += 11
  assert.deepEqual(
    [
      total('connects_total', { outcome: 'accepted' }),
      total('connects_total', { outcome: 'refused' }),
      total('takeovers_total'),
      total('foreign_client_ids_total'),
      total('subscriptions_revoked_total'),
      total('spool_waits_total'),
      ...['0', '1', '2'].flatMap((qos) => [
        total('messages_received_total', { qos }),
        total('messages_sent_total', { qos }),
      ]),
      total('publishes_refused_total', { reason: 'quota' }),
      total('messages_dropped_total', { reason: 'slow-reader' }),
      total('messages_dropped_total', { reason: 'memory' }),
      total('sessions_gave_way_total', { why: 'unused' }),
      total('sessions_gave_way_total', { why: 'share' }),
    ],
    [1, 2, 3, 4, 5, 6, 10, 20, 11, 21, 12, 22, 7, 8, 9, 10, 11],
  )
})
