import assert from 'node:assert/strict'
import { test } from 'node:test'
import { findEvents } from '../../../hub/reports/find-events.ts'
import { joinEvents } from '../../../hub/reports/join-events.ts'
import type { DeviceEvent } from '../../../hub/registry/device-events.ts'
import type { Report } from '../../../model/fleet/report.ts'
import { REPORT } from '../../helpers/control-plane/report.ts'

const found = (over: Partial<Report>, before: Report | undefined = REPORT): string[] =>
  findEvents(before, { ...REPORT, ...over }).map(({ event, reason }) => `${event}: ${reason}`)

test('a first report says what is in force and wrong, and one like the one before says nothing', () => {
  assert.deepEqual(findEvents(undefined, REPORT), [{ event: 'revision', reason: '0011223344556677 is in force' }])
  assert.deepEqual(found({}), [])
  assert.deepEqual(found({ quantities: { ...REPORT.quantities, requests: 1 } }), [])
})

test('what has changed is told with its reason', () => {
  assert.deepEqual(found({ run: 1, version: '1.0.0' }), ['started: anew, version 0.9.0 → 1.0.0'])
  assert.deepEqual(found({ revision: 'r2' }), ['revision: r2 is in force'])
  const refused = [{ kind: 'cluster', name: 'c', reason: 'no type' }]
  assert.deepEqual(found({ refused }), ['config-refused: cluster c: no type'])
  assert.deepEqual(found({}, { ...REPORT, refused }), ['config-mended: nothing is refused'])
  assert.deepEqual(found({ refused }, { ...REPORT, refused }), [])
  assert.deepEqual(found({ problems: [{ code: 'MESH_X', text: 'full' }] }), ['problem: MESH_X: full'])
  const problems = [{ code: 'MESH_X', text: 'full for 3 s' }]
  assert.deepEqual(found({ problems: [{ code: 'MESH_X', text: 'full for 9 s' }] }, { ...REPORT, problems }), [])
  assert.deepEqual(found({}, { ...REPORT, problems }), ['problem-over: MESH_X'])
  assert.equal(found({ clockTrusted: false })[0]!.split(':')[0], 'clock-wrong')
})

test('fifty equal lines are one', () => {
  const event = (device: string, reason = 'the hub restarts'): DeviceEvent => ({
    atMs: 1,
    device,
    event: 'connected',
    reason,
  })
  const many = Array.from({ length: 50 }, (_, i) => event(`gw-${i}`))
  assert.deepEqual(joinEvents(many), [
    {
      atMs: 1,
      event: 'connected',
      reason: 'the hub restarts',
      devices: ['gw-0', 'gw-1', 'gw-2'],
      deviceCount: 50,
      count: 50,
    },
  ])
  const again = Array.from({ length: 50 }, () => event('gw-7'))
  assert.deepEqual(
    joinEvents(again).map(({ devices, count }) => [devices, count]),
    [[['gw-7'], 50]],
  )
  assert.equal(joinEvents([event('a'), event('b'), event('c', 'other')]).length, 3)
})
