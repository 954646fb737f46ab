import { test } from 'node:test'
import assert from 'node:assert/strict'
import { TYPE_URLS } from '../../../model/snapshot.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { sample } from '../../helpers/control-plane/resources.ts'
import { testCa } from '../../helpers/test-ca.ts'

const config = (...pems: string[]): Uint8Array =>
  sample({ '@type': TYPE_URLS.proxyConfig, ca_certificates_pem: pems }).bytes

test('more than a hundred roots, or one that is none, are refused with their place', () => {
  const issues = (...pems: string[]): unknown => {
    const d = decode('proxyConfig', config(...pems))
    return d.ok ? 'taken' : d.issues
  }
  const root = testCa().rootsPem
  assert.equal(issues(root), 'taken')
  assert.equal(issues(), 'taken')
  assert.deepEqual(issues(root, 'x'), [{ path: 'ca_certificates_pem[1]', problem: 'is no certificate' }])
  assert.deepEqual(issues(...Array.from({ length: 101 }, () => root)), [
    { path: 'ca_certificates_pem', problem: 'holds 101 certificates; at most 100 are taken' },
  ])
})

test('what is no revocation list is refused with its place, and so are many', () => {
  const lists = (...pems: string[]): unknown => {
    const d = decode(
      'proxyConfig',
      sample({ '@type': TYPE_URLS.proxyConfig, certificate_revocation_lists_pem: pems }).bytes,
    )
    return d.ok ? d.value.revocationListsPem.length : d.issues
  }
  assert.equal(lists(), 0)
  assert.deepEqual(lists('x'), [{ path: 'certificate_revocation_lists_pem[0]', problem: 'is no revocation list' }])
  assert.deepEqual(lists(...Array.from({ length: 17 }, () => 'x')), [
    { path: 'certificate_revocation_lists_pem', problem: 'holds 17 lists; at most 16 are taken' },
  ])
})
