import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parsePlace, summarizeFleet } from '../../../../hub/console/fleet/overview.ts'
import type { DeviceRow } from '../../../../hub/console/schemas.ts'

const row = (name: string, labels: Record<string, string>, more: Partial<DeviceRow> = {}): DeviceRow => ({
  name,
  namespace: 'edge',
  serviceAccount: 'gw',
  labels,
  state: 'connected',
  sinceMs: 1,
  address: '',
  revision: null,
  refused: null,
  notAfterMs: null,
  cloned: false,
  wrong: [],
  ...more,
})

test('a site is where its devices say on average; devices without a site stand by their place', () => {
  const { sites } = summarizeFleet(
    [
      row('a', { site: 'north', lat: '50', lon: '10' }),
      row('b', { site: 'north', lat: '52', lon: '12E' }),
      row('c', { site: 'north' }),
      row('d', { lat: '33.9S', lon: '18.4' }, { wrong: ['x'] }),
      row('e', { site: 'south' }),
      row('f', {}),
    ],
    1,
  )
  assert.deepEqual(
    sites.map(({ name, total, lat, lon }) => [name, total, lat, lon]),
    [
      ['33.9S,18.4', 1, -33.9, 18.4],
      ['north', 3, 51, 11],
      ['south', 1, null, null],
    ],
  )
})

test('a place that is none on this earth is none', () => {
  for (const [lat, lon] of [
    ['91', '0'],
    ['0', '181'],
    ['1e9', '0'],
    ['', '0'],
    ['NaN', '0'],
    ['0x1', '0'],
    ['10E', '10'],
    ['10', '10N'],
  ])
    assert.equal(parsePlace({ labels: { lat: lat!, lon: lon! } }), undefined, `${lat} ${lon}`)
  assert.deepEqual(parsePlace({ labels: { lat: '0', lon: '180W' } }), { lat: 0, lon: -180 })
})

test('certificates that end soon and devices that are silent are counted, those of revoked ones are not', () => {
  const DAY_MS = 86_400_000
  const nowMs = 100 * DAY_MS
  const ends = (ms: number, state: DeviceRow['state'] = 'connected') =>
    row(`x${ms}${state}`, {}, { state, notAfterMs: ms })
  const fleet = summarizeFleet(
    [
      ends(nowMs - 1),
      ends(nowMs + 1_000),
      ends(nowMs + 3 * DAY_MS),
      ends(nowMs + 30 * DAY_MS),
      ends(nowMs + 1, 'revoked'),
      row('gone', {}, { state: 'gone', sinceMs: nowMs - 11 * 60_000 }),
    ],
    nowMs,
  )
  assert.deepEqual(fleet.ending, { ended: 1, day: 1, week: 2 })
  assert.equal(fleet.silent, 1)
})
