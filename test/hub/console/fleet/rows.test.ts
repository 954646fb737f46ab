import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Operator } from '../../../../hub/console/access.ts'
import { summarizeFleet } from '../../../../hub/console/fleet/overview.ts'
import { assembleRows, type Sources } from '../../../../hub/console/fleet/rows.ts'
import { selectRows } from '../../../../hub/console/fleet/search.ts'
import { findChanges } from '../../../../hub/console/fleet/view.ts'
import type { Session } from '../../../../hub/registry/console-sessions.ts'

const NOW = 1_700_000_000_000
const HOUR = 3_600_000
const node = {
  name: 'gw-1',
  nodeId: 'id',
  spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway',
  joinedMs: NOW - HOUR,
  lastSeenMs: NOW,
  lastIp: '10.0.0.1',
  connectedMs: NOW - 60_000,
  inForce: 'abcdef0123456789',
  inForceMs: NOW,
  refused: null,
  serial: 's',
  notAfterMs: NOW + 20 * HOUR,
}
const device = {
  name: 'gw-1',
  keyId: 'k',
  namespace: 'edge',
  serviceAccount: 'gateway',
  jti: null,
  labels: { site: 'north' },
  address: '10.0.0.9',
  counter: 1,
  chain: '',
  previousChain: '',
  nonce: '',
  resync: false,
  state: 'active' as const,
  joinedMs: NOW,
  renewedMs: NOW,
  notAfterMs: NOW + 20 * HOUR,
  clonedMs: null,
  cloneAddresses: null,
  revokedMs: null,
}
const waits = { ...device, name: 'gw-2', why: 'x', askedMs: NOW }
const none: Sources = { connected: [], enrolled: [], waiting: [], aliveMs: NOW }
const rowOf = (sources: Partial<Sources>) => assembleRows({ ...none, ...sources }, NOW).get('gw-1')!
const everybody = { sees: () => true }

test('a device is told by all that the registry has of it', () => {
  const row = rowOf({ connected: [node], enrolled: [device] })
  assert.deepEqual(
    [row.state, row.address, row.labels, row.namespace, row.sinceMs, row.wrong],
    ['connected', '10.0.0.1', { site: 'north' }, 'edge', NOW - 60_000, []],
  )
  assert.equal(rowOf({ connected: [node] }).namespace, 'edge', 'without a key of its own')
  assert.equal(rowOf({ enrolled: [device] }).state, 'joined')
  assert.equal(rowOf({ connected: [{ ...node, spiffeUri: 'odd' }] }).namespace, '')
  assert.equal(assembleRows({ ...none, waiting: [waits] }, NOW).get('gw-2')?.state, 'pending')
  assert.equal(
    rowOf({ connected: [node], enrolled: [device], waiting: [{ ...waits, name: 'gw-1' }] }).state,
    'connected',
  )
})

test('when no hub says that it lives, nobody is called connected', () => {
  for (const aliveMs of [undefined, NOW - HOUR, NOW + HOUR])
    assert.equal(rowOf({ connected: [node], enrolled: [device], aliveMs }).state, 'unknown')
})

for (const [what, sources, expected] of [
  ['silent', { connected: [{ ...node, connectedMs: null, lastSeenMs: NOW - HOUR }] }, /Silent for over ten minutes/],
  ['refusing', { connected: [{ ...node, refused: 'x' }] }, /Refused newer/],
  ['ended', { connected: [{ ...node, notAfterMs: NOW }] }, /certificate has ended/],
  ['cloned', { enrolled: [{ ...device, clonedMs: NOW }] }, /Two copies/],
  ['suspended', { enrolled: [{ ...device, state: 'suspended' as const }] }, /Kept out/],
] as const)
  test(`a device that is ${what} is listed among what is wrong`, () => {
    const rows = [...assembleRows({ ...none, ...sources }, NOW).values()]
    assert.match(rows[0]!.wrong.join(' '), expected)
    assert.equal(summarizeFleet(rows, NOW).wrongTotal, 1)
  })

test('a device that was revoked is not wrong for being away', () => {
  const row = rowOf({
    connected: [{ ...node, connectedMs: null, lastSeenMs: 1 }],
    enrolled: [{ ...device, state: 'revoked' }],
  })
  assert.deepEqual([row.state, row.wrong], ['revoked', []])
})

test('a search means names, addresses, labels and revisions, all of its words, and only what one may see', () => {
  const rows = [...assembleRows({ ...none, connected: [node], enrolled: [device], waiting: [waits] }, NOW).values()]
  const found = (search: string, more = {}) => selectRows(rows, { search, ...more }, everybody).map(({ name }) => name)
  assert.deepEqual(found(''), ['gw-1', 'gw-2'])
  assert.deepEqual(found('GW-1'), ['gw-1'])
  assert.deepEqual(found('10.0.0.1 site=north'), ['gw-1'])
  assert.deepEqual(found('abcdef01'), ['gw-1'])
  assert.deepEqual(found('(.*)+$'), [], 'no pattern')
  assert.deepEqual(found('', { state: 'pending' }), ['gw-2'])
  const lab = new Operator({ grants: [{ namespace: 'lab', role: 'admin' }] } as unknown as Session)
  assert.deepEqual(selectRows(rows, { search: '' }, lab), [])
})

test('what changed is told; a device that moved to another namespace is gone for those of the one before', () => {
  const before = assembleRows({ ...none, connected: [node], enrolled: [device] }, NOW)
  const same = assembleRows({ ...none, connected: [node], enrolled: [device] }, NOW)
  assert.deepEqual(findChanges(before, same), { changed: [], removed: [] })
  const moved = assembleRows({ ...none, enrolled: [{ ...device, namespace: 'lab' }] }, NOW)
  const { changed, removed } = findChanges(before, moved)
  assert.deepEqual([changed[0]?.namespace, removed[0]?.namespace], ['lab', 'edge'])
})
