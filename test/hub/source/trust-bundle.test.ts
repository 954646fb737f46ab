import { after, test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import { decode } from '../../../control-sync/decode/decode.ts'
import { Metrics } from '../../../core/metrics.ts'
import { silentLog } from '../../../core/log.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { parseCrls } from '../../../core/pki/x509.ts'
import { openCa } from '../../../hub/ca/ca.ts'
import { addRoot } from '../../../hub/ca/root-files.ts'
import { listKeyHashes } from '../../../hub/ca/key-hash.ts'
import { openRegistry } from '../../../hub/registry/registry.ts'
import { makeResourceSet, selectType, type ResourceSet } from '../../../hub/source/resources.ts'
import { RevocationLists } from '../../../hub/source/revocation-lists.ts'
import { TrustBundle } from '../../../hub/source/trust-bundle.ts'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'

const set = makeResourceSet([{ name: 'a', typeUrl: TYPE_URLS.cluster, version: '1', value: new Uint8Array() }])

async function made(t: { after(fn: () => void): void }) {
  const [registry, clock, metrics] = [openRegistry(':memory:'), new SimClock(), new Metrics()]
  const folder = temporaryFolder(t)
  const ca = openCa({ folder, disk: systemDisk, clock, trustDomain: 'demo.mesh' })
  const directory = { watch: () => ({ current: () => set, ready: undefined, [Symbol.dispose]: () => {} }) }
  const told: string[] = []
  const log = {
    ...silentLog,
    error: ({ evt }: { evt?: string }) => void told.push(evt ?? ''),
  } as unknown as typeof silentLog
  const bundle = await TrustBundle.open(directory, {
    ca,
    registry,
    clock,
    log,
    metrics,
    maxSerials: 3,
    rootsChanged: () => {},
  })
  const add = (serial: string, lifeMs = 10_000): Promise<void> =>
    registry.addCertificate({
      serial,
      spiffeUri: 'spiffe://demo.mesh/ns/edge/sa/gateway',
      jti: null,
      device: 'key:k1',
      ip: '',
      issuedMs: clock.wallMs(),
      notAfterMs: clock.wallMs() + lifeMs,
    })
  const listOf = (of: ResourceSet): string[] => {
    const [raw] = selectType(of, TYPE_URLS.proxyConfig).values()
    if (!raw) return []
    const decoded = decode('proxyConfig', raw.value)
    assert.ok(decoded.ok)
    return decoded.value.revocationListsPem.flatMap((pem) => {
      const [crl] = parseCrls(pem)
      assert.ok(crl!.isSignedBy(ca.root.certificate.publicKey))
      assert.equal(crl!.nextUpdateMs, ca.root.notAfterMs, 'a hub that is away does not make it void')
      return [...crl!.revoked]
    })
  }
  return { registry, clock, metrics, bundle, add, listOf, ca, folder, told }
}

test('nothing is added until somebody is revoked; then every node has the list within half a second, once', async (t) => {
  const { registry, clock, bundle, add, listOf } = await made(t)
  const seen: string[][] = []
  using watched = bundle.watch('gw-1', (next) => void seen.push(listOf(next)))
  using gone = bundle.watch('gw-2', () => assert.fail('it has gone'))
  gone[Symbol.dispose]()
  assert.equal(watched.current(), set)
  await add('41aa')
  await add('42bb')
  await registry.enrollments.revokeCertificates('key:k1', clock.wallMs(), '42bb')
  await clock.advance(500)
  assert.deepEqual(seen, [['41aa']])
  assert.deepEqual(listOf(watched.current()), ['41aa'])
  assert.equal(watched.current(), watched.current())
  await clock.advance(5_000)
  assert.equal(seen.length, 1, 'nothing new is not told')
  await registry.enrollments.revokeCertificates('key:k1', clock.wallMs())
  await clock.advance(500)
  assert.deepEqual(seen[1]!.sort(), ['41aa', '42bb'])
})

test('who has ended is not listed any more', async (t) => {
  const { registry, clock, bundle, add, listOf } = await made(t)
  using watched = bundle.watch('gw-1', () => {})
  await add('41', 1_000)
  await add('42', 60_000)
  await registry.enrollments.revokeCertificates('key:k1', clock.wallMs())
  await clock.advance(500)
  assert.deepEqual(listOf(watched.current()).sort(), ['41', '42'])
  await clock.advance(1_000)
  await add('43', 60_000)
  await registry.enrollments.revokeCertificates('key:k1', clock.wallMs())
  await clock.advance(500)
  assert.deepEqual(listOf(watched.current()).sort(), ['42', '43'])
})

test('a list that is full has those that end last, and says how many are left out', async (t) => {
  const { registry, clock, metrics, bundle, add, listOf } = await made(t)
  using watched = bundle.watch('gw-1', () => {})
  for (const [serial, lifeMs] of Object.entries({ '41': 1_000, '42': 9_000, '43': 8_000, '44': 7_000, '45': 2_000 }))
    await add(serial, lifeMs)
  await registry.enrollments.revokeCertificates('key:k1', clock.wallMs())
  await clock.advance(500)
  assert.deepEqual(listOf(watched.current()).toSorted(), ['42', '43', '44'])
  assert.equal(metrics.total('mesh_hub_revoked_left_out'), 2)
})

test('roots that were rotated at another hub are told once, and taken when its folder is copied here', async (t) => {
  const { registry, clock, ca, folder, told } = await made(t)
  const [own] = listKeyHashes(ca.roots)
  await registry.writeAuthority('ca', [own!])
  await clock.advance(2_000)
  assert.deepEqual(told, [])
  const there = temporaryFolder(t)
  fs.cpSync(folder, there, { recursive: true })
  const second = addRoot({
    folder: there,
    disk: systemDisk,
    trustDomain: 'demo.mesh',
    notBeforeMs: clock.wallMs(),
    nowMs: clock.wallMs(),
  })
  await registry.writeAuthority('ca', [own!, ...listKeyHashes([second])])
  await clock.advance(5_000)
  assert.deepEqual(told, ['hub.roots-behind'])
  fs.cpSync(there, folder, { recursive: true })
  await clock.advance(1_000)
  assert.equal(ca.roots.length, 2, 'without a word in the registry')
})

test('two hundred thousand are told, and one more is one more list to sign', () => {
  const ca = openCa({
    folder: temporaryFolder({ after }),
    disk: systemDisk,
    clock: new SimClock(),
    trustDomain: 'demo.mesh',
  })
  const serials = Array.from({ length: 200_000 }, (_, i) => `41${(i * 2_654_435_761).toString(16).padStart(14, '0')}`)
  const lists = new RevocationLists()
  const first = lists.sign([ca.root], serials, 1_000_000)
  assert.equal(first.length, 64)
  const told = new Set(first.flatMap(parseCrls).flatMap(({ revoked }) => [...revoked]))
  assert.equal(told.size, 200_000)
  assert.ok(serials.every((serial) => told.has(serial)))
  const next = lists.sign([ca.root], [...serials, '41ffffffffffffff'], 2_000_000)
  assert.equal(next.filter((pem, at) => pem !== first[at]).length, 1)
})
