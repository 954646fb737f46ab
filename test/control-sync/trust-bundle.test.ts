import { test } from 'node:test'
import assert from 'node:assert/strict'
import { Current } from '../../agent/core/current.ts'
import { silentLog } from '../../agent/core/log.ts'
import { Metrics } from '../../agent/core/metrics.ts'
import { TYPE_URLS } from '../../agent/model/snapshot.ts'
import { EMPTY_TABLES, type Tables } from '../../agent/model/tables.ts'
import { Applier } from '../../control-sync/apply.ts'
import { decode } from '../../control-sync/decode/decode.ts'
import { trustBundleOf } from '../../control-sync/trust-bundle.ts'
import { sample } from '../helpers/resources.ts'
import { SimClock } from '../helpers/sim-clock.ts'
import { testCa } from '../helpers/test-ca.ts'

const config = (...pems: string[]): Uint8Array => sample({ '@type': TYPE_URLS.proxyConfig, ca_certificates_pem: pems }).bytes

test('the roots that the control plane sends, the same array while nothing changes, and a word when they do', async () => {
  const tables = new Current<Tables>(EMPTY_TABLES)
  const applier = new Applier({ node: 'n', tables, saver: undefined, clock: new SimClock(), log: silentLog, metrics: new Metrics() })
  const bundle = trustBundleOf(() => applier.snapshot, tables)
  const said: number[] = []
  const watching = bundle.watch((roots) => { said.push(roots.length) })
  assert.deepEqual(bundle.current(), [])
  const [a, b] = [testCa().rootsPem, testCa().rootsPem]
  const put = (...pems: string[]): Promise<unknown> => applier.apply([{ kind: 'proxyConfig', put: [{ name: '', version: '', value: config(...pems) }], removed: [] }])
  await put(a)
  const first = bundle.current()
  assert.deepEqual(first, [a])
  await put(a)
  assert.equal(bundle.current(), first)
  await put(a, b)
  await put(a, b, 'no certificate')
  assert.deepEqual(bundle.current(), [a, b], 'a refused bundle leaves the last good one')
  await applier.apply([{ kind: 'proxyConfig', put: [], removed: [''] }])
  assert.deepEqual([bundle.current(), said], [[], [1, 2, 0]])
  watching[Symbol.dispose]()
  await put(a)
  assert.equal(said.length, 3)
})
test('more than a hundred roots, or one that is none, are refused with their place', () => {
  const issues = (...pems: string[]): unknown => { const d = decode('proxyConfig', config(...pems)); return d.ok ? 'taken' : d.issues }
  const root = testCa().rootsPem
  assert.equal(issues(root), 'taken')
  assert.equal(issues(), 'taken')
  assert.deepEqual(issues(root, 'x'), [{ path: 'ca_certificates_pem[1]', problem: 'is no certificate' }])
  assert.deepEqual(issues(...Array.from({ length: 101 }, () => root)), [{ path: 'ca_certificates_pem', problem: 'holds 101 certificates; at most 100 are taken' }])
})
