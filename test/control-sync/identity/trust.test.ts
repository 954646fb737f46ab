import { test } from 'node:test'
import assert from 'node:assert/strict'
import { createLog } from '../../../core/log.ts'
import { parseCertificates } from '../../../core/pki/x509.ts'
import { Trust } from '../../../control-sync/identity/trust.ts'
import { CrashFs } from '../../helpers/disk/crash-disk.ts'
import { certificate, crl } from '../../helpers/odd-certificates.ts'
import { systemClock } from '../../../core/os/clock.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { openCa, type Ca } from '../../../hub/ca/ca.ts'
import { signCrl } from '../../../hub/ca/crl.ts'
import { temporaryFolder } from '../../helpers/temporary-folder.ts'
import { testCa } from '../../helpers/test-ca.ts'

const log = createLog('silent')
const [old, next] = [testCa('mesh.test'), testCa('mesh.test')]
const rootsIn = (pem: string): string[] => parseCertificates(pem).map((c) => c.fingerprint256)
const of = (...cas: { rootsPem: string }[]): string[] => cas.flatMap((c) => rootsIn(c.rootsPem))
function trust(files: Record<string, string>): { made: () => Trust; fs: CrashFs } {
  const fs = new CrashFs()
  fs.disk.makeFolder('/t', 0o700)
  for (const [name, text] of Object.entries(files)) fs.disk.replace(`/t/${name}`, text, 0o600)
  return {
    fs,
    made: () =>
      new Trust({
        disk: fs.disk,
        log,
        rootsFile: 'roots.pem' in files ? '/t/roots.pem' : undefined,
        crlFile: '/t/ca-crl.pem',
        crlMayBeMissing: true,
      }),
  }
}

const roots = (caCertificatesPem: readonly string[]) => ({ caCertificatesPem, revocationListsPem: [] })

test('an exchange of roots in two steps: both count while it lasts, whoever signed the certificate at hand, and the old one no more at its end', () => {
  const { made } = trust({})
  const t = made()
  const [before, after] = [old.issue('a', 'b'), next.issue('a', 'b')]
  assert.equal(t.complete(before), before, 'nothing to add is the same object')
  assert.deepEqual(t.setSent(roots([old.rootsPem, next.rootsPem])), [])
  assert.deepEqual(rootsIn(t.complete(before).rootsPem), of(old, next))
  assert.deepEqual(rootsIn(t.complete(after).rootsPem).sort(), of(old, next).sort())
  assert.equal(t.complete(before), t.complete(before), 'equal trust is the same object, so that contexts stay')
  t.setSent(roots([next.rootsPem]))
  assert.deepEqual(rootsIn(t.complete(after).rootsPem), of(next))
})
test('what is no root is left out and named; the rest counts', () => {
  const t = trust({}).made()
  const leaf = old.issue('a', 'b').chainPem
  const refused = t.setSent(roots(['nonsense', leaf, next.rootsPem, `${next.rootsPem}${leaf}`]))
  assert.deepEqual(
    refused.map((r) => r.slice(0, 3)),
    ['0: ', '1: ', '3: '],
  )
  assert.deepEqual(rootsIn(t.complete(old.issue('a', 'b')).rootsPem), of(old, next))
  assert.equal(t.setSent(roots(Array.from({ length: 300 }, () => next.rootsPem))).length, 1, 'bounded')
})
test('a file of roots is read again, and what cannot be read does not take away what was there', () => {
  const { made, fs } = trust({ 'roots.pem': next.rootsPem })
  const t = made()
  const own = old.issue('a', 'b')
  assert.deepEqual(rootsIn(t.complete(own).rootsPem), of(old, next))
  assert.equal(t.reread(), 'same')
  fs.disk.replace('/t/roots.pem', 'half a fi', 0o600)
  assert.equal(t.reread(), 'same')
  assert.deepEqual(
    t.problems.map((p) => p.code),
    ['MESH_CONFIG_INVALID'],
  )
  assert.deepEqual(rootsIn(t.complete(own).rootsPem), of(old, next))
  const third = testCa()
  fs.disk.replace('/t/roots.pem', third.rootsPem, 0o600)
  assert.equal(t.reread(), 'changed')
  assert.deepEqual([rootsIn(t.complete(own).rootsPem), t.problems], [of(old, third), []])
})
test('revocation lists appear, are replaced, and never fall away with their file', () => {
  const { made, fs } = trust({})
  const t = made()
  const own = old.issue('a', 'b')
  const root = certificate({ name: 'root', ca: 'ca', keyUsage: 0x06 })
  const [first, second] = [crl({ issuer: root, revoked: [] }), crl({ issuer: root, revoked: [root] })]
  assert.equal(t.complete(own).crlPem, undefined)
  fs.disk.replace('/t/ca-crl.pem', first, 0o600)
  assert.equal(t.reread(), 'changed')
  assert.equal(t.complete(own).crlPem, first)
  fs.disk.replace('/t/ca-crl.pem', second.slice(0, 99), 0o600)
  assert.equal(t.reread(), 'same')
  fs.disk.remove('/t/ca-crl.pem')
  assert.equal(t.reread(), 'same')
  assert.match(t.problems[0]!.message, /identity\.crl: .* there is no such file/)
  assert.equal(t.complete(own).crlPem, first)
  fs.disk.replace('/t/ca-crl.pem', second, 0o600)
  assert.equal(t.reread(), 'changed')
  assert.deepEqual([t.complete(own).crlPem, t.problems], [second, []])
})
test('at start a file that cannot be used is a mistake', () => {
  assert.throws(trust({ 'roots.pem': 'x' }).made, {
    code: 'MESH_CONFIG_INVALID',
    message: /identity\.extraRoots: .*roots\.pem cannot be used/,
  })
  assert.throws(trust({ 'ca-crl.pem': 'x' }).made, { code: 'MESH_CONFIG_INVALID', message: /identity\.crl/ })
})
test('files that others may write are not read: at a start it is refused, later what was read counts', () => {
  const { made, fs } = trust({ 'roots.pem': next.rootsPem })
  const t = made()
  fs.disk.replace('/t/roots.pem', old.rootsPem, 0o664)
  assert.equal(t.reread(), 'same')
  assert.match(t.problems.map((p) => p.message).join(), /identity\.extraRoots: \/t\/roots\.pem .*chmod go-w/)
  assert.deepEqual(rootsIn(t.complete(old.issue('a', 'b')).rootsPem), of(old, next))
  assert.throws(made, { code: 'MESH_CONFIG_INVALID' })
  fs.disk.replace('/t/roots.pem', next.rootsPem, 0o644)
  assert.ok(made())
})

test('revocation lists that the control plane sends count when a root of the mesh has signed them, and only those', (t) => {
  const folder = temporaryFolder(t)
  const clock = systemClock
  const [ca, other] = ['ours', 'theirs'].map((name) =>
    openCa({ folder: `${folder}/${name}`, disk: systemDisk, clock, trustDomain: 'demo.mesh' }),
  ) as [Ca, Ca]
  const list = (by: Ca, ...serials: string[]): string => signCrl(by.root, { serials, thisUpdateMs: clock.wallMs() })
  const identity = { ...old.issue('a', 'b'), rootsPem: ca.rootsPem }
  const its = trust({}).made()
  const send = (...revocationListsPem: string[]): ReadonlySet<string> | undefined => {
    its.setSent({ caCertificatesPem: [], revocationListsPem })
    return its.complete(identity).revoked
  }
  assert.equal(send(), undefined)
  assert.deepEqual([...send(list(ca, '41', '52ff'))!], ['41', '52ff'])
  assert.equal(send(list(other, '41')), undefined, 'by a stranger')
  assert.deepEqual([...send(list(other, '41'), list(ca, '42'))!], ['42'])
  assert.equal(send(list(ca)), undefined, 'nobody is revoked')
  assert.equal(send(list(ca, '41')) === its.complete(identity).revoked, true, 'the same object until it changes')
})
