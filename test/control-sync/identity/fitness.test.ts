import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseSpiffeId, type Identity } from '../../../model/identity.ts'
import { findOtherWorkload, rejectReplacement } from '../../../control-sync/identity/fitness.ts'

const [MINUTE, HOUR] = [60_000, 3_600_000]
const NOW = Date.parse('2026-01-01T12:00:00Z')
const OURS = 'spiffe://cluster.local/ns/edge/sa/gateway'
const OTHER = 'spiffe://cluster.local/ns/edge/sa/other'
/** From and until, in hours from now. */
const of = (from: number, until: number, uri = OURS): Identity => ({
  spiffeId: parseSpiffeId(uri)!,
  keyPem: '',
  chainPem: '',
  rootsPem: '',
  serial: '',
  notBeforeMs: NOW + from * HOUR,
  notAfterMs: NOW + until * HOUR,
})

for (const { name, next, present, want } of [
  { name: 'the first one, whatever it is', next: of(-1, 1, OTHER), present: undefined, want: undefined },
  { name: 'a renewal', next: of(0, 24), present: of(-12, 12), want: undefined },
  {
    name: 'one that is shorter, because the CA gives no longer ones any more',
    next: of(0, 1),
    present: of(-12, 12),
    want: undefined,
  },
  {
    name: 'one that was over when it came, beside one that is valid',
    next: of(-11, -1),
    present: of(-12, 12),
    want: 'MESH_CERTIFICATE_OLD',
  },
  {
    name: "one that is older and over sooner: the CA's clock is behind",
    next: of(-20, 4),
    present: of(-12, 12),
    want: 'MESH_CERTIFICATE_OLD',
  },
  {
    name: 'one of another server of the CA, whose clock is a minute behind',
    next: of(-MINUTE / HOUR, 24 - MINUTE / HOUR),
    present: of(0, 24),
    want: undefined,
  },
  { name: 'one that is older and valid for longer', next: of(-20, 20), present: of(-12, 12), want: undefined },
  {
    name: 'one that is over beside one that is over, too: the clock may be wrong',
    next: of(-25, -1),
    present: of(-48, -24),
    want: undefined,
  },
  { name: 'another workload', next: of(0, 24, OTHER), present: of(-12, 12), want: 'MESH_CERTIFICATE_OTHER' },
  {
    name: 'another workload, beside one that has expired',
    next: of(0, 24, OTHER),
    present: of(-48, -24),
    want: 'MESH_CERTIFICATE_OTHER',
  },
  {
    name: 'another workload in the place of another',
    next: of(0, 24, OTHER),
    present: of(-12, 12, 'spiffe://cluster.local/ns/edge/sa/third'),
    want: undefined,
  },
  { name: 'our workload in the place of another', next: of(0, 24), present: of(-12, 12, OTHER), want: undefined },
  {
    name: "another trust domain, which is the CA's to say",
    next: of(0, 24, 'spiffe://new.example/ns/edge/sa/gateway'),
    present: of(-12, 12),
    want: undefined,
  },
] as const)
  test(`in the place of the certificate at hand: ${name}`, () => {
    assert.equal(rejectReplacement(next, present, { spiffeUri: OURS, nowMs: NOW })?.code, want)
  })

test('which workload: namespace and service account count, whatever they look like', () => {
  assert.equal(findOtherWorkload(of(0, 1), OURS), undefined)
  assert.match(
    findOtherWorkload(of(0, 1, OTHER), OURS)!.message,
    /^the certificate is of spiffe:\/\/cluster\.local\/ns\/edge\/sa\/other, and agent\.yaml says ns\/edge\/sa\/gateway$/,
  )
  assert.equal(
    findOtherWorkload(of(0, 1, 'spiffe://cluster.local/ns/edge2/sa/gateway'), OURS)?.code,
    'MESH_CERTIFICATE_OTHER',
  )
})
