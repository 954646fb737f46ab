import { test } from 'node:test'
import assert from 'node:assert/strict'
import { silentLog } from '../../../core/log.ts'
import type { Disk } from '../../../core/os/disk.ts'
import type { Identity } from '../../../model/identity.ts'
import { IdentityFolder } from '../../../control-sync/identity/folder.ts'
import { TimeFloor } from '../../../control-sync/identity/time-floor.ts'
import { Trust } from '../../../control-sync/identity/trust.ts'
import { SimClock } from '../../helpers/sim-clock.ts'
import { testCa } from '../../helpers/test-ca.ts'

const ca = testCa()

function rig(first?: Identity) {
  const files = new Map<string, string>()
  const put = (identity: Identity): void => {
    files.set('/id/cert-chain.pem', identity.chainPem)
    files.set('/id/key.pem', identity.keyPem)
    files.set('/id/root-cert.pem', identity.rootsPem)
  }
  if (first) put(first)
  const disk = {
    read: (file: string) => {
      const text = files.get(file)
      if (text === 'EACCES') throw Object.assign(new Error('EACCES'), { code: 'EACCES' })
      return text === undefined ? undefined : Buffer.from(text)
    },
    makeFolder: () => undefined,
    replace: () => undefined,
  } as unknown as Disk
  const clock = new SimClock(Date.now())
  const log = silentLog
  const folder = new IdentityFolder({
    disk,
    clock,
    log,
    folder: '/id',
    earliestWallMs: undefined,
    trust: new Trust({ disk, log, rootsFile: undefined, crlFile: undefined, crlMayBeMissing: true }),
    floor: new TimeFloor({ disk, clock, log, stateFolder: '/state', builtAtMs: undefined }),
  })
  folder.start()
  return { files, put, clock, folder, codes: () => folder.problems().map((p) => p.code) }
}

test('what is in the folder at the start is the identity', async () => {
  const identity = ca.issue('edge', 'gateway')
  using folder = rig(identity).folder
  assert.equal(folder.current()?.serial, identity.serial)
  await folder.certified
  assert.deepEqual(folder.problems(), [])
})

test('an empty folder is waited for: whoever fills it is seen within five seconds', async () => {
  const { folder: made, put, clock, codes } = rig()
  using folder = made
  assert.equal(folder.current(), undefined)
  assert.deepEqual(codes(), ['MESH_CONFIG_INVALID'])
  const identity = ca.issue('edge', 'gateway')
  put(identity)
  await clock.advance(5_000)
  assert.equal(folder.current()?.serial, identity.serial)
  assert.deepEqual(codes(), [])
  await folder.certified
})

test('a new certificate is told once; the same files again are not', async () => {
  const { folder: made, put, clock } = rig(ca.issue('edge', 'gateway'))
  using folder = made
  const told: string[] = []
  using _watch = folder.watch((next) => {
    told.push(next.serial)
  })
  const next = ca.issue('edge', 'gateway')
  put(next)
  await clock.advance(5_000)
  put(next)
  await clock.advance(10_000)
  assert.deepEqual(told, [next.serial])
})

for (const [name, spoil] of [
  ['half written: the key is of another certificate', (f) => f.set('/id/key.pem', ca.issue('edge', 'other').keyPem)],
  ['a file is gone', (f) => f.delete('/id/root-cert.pem')],
  ['a file may not be read', (f) => f.set('/id/cert-chain.pem', 'EACCES')],
  ['no certificate', (f) => f.set('/id/cert-chain.pem', 'hello')],
] as const satisfies readonly (readonly [string, (files: Map<string, string>) => unknown])[])
  test(`${name}: the certificate at hand serves on, and that is a problem until it is mended`, async () => {
    const identity = ca.issue('edge', 'gateway')
    const { folder: made, files, put, clock, codes } = rig(identity)
    using folder = made
    spoil(files)
    await clock.advance(5_000)
    assert.equal(folder.current()?.serial, identity.serial)
    assert.equal(codes().length, 1)
    put(identity)
    await clock.advance(5_000)
    assert.deepEqual(codes(), [])
  })

test('disposed, it looks no more', async () => {
  const { folder, clock } = rig()
  folder[Symbol.dispose]()
  assert.equal(clock.pendingTimers, 0)
})
