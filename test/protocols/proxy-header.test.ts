import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseProxyHeader } from '../../protocols/downstream/proxy-protocol.ts'
import { encodeProxyHeader } from '../../protocols/proxy-header.ts'

const to = { host: '10.0.0.1', port: 1883 }
const at = (host: string) => ({ host, port: 54_321 })

test('version 1: a line as the standard has it', () => {
  const line = (from: string, dest = to.host): string =>
    encodeProxyHeader(1, { source: at(from), destination: { ...to, host: dest } }).toString('latin1')
  assert.equal(line('192.0.2.1'), 'PROXY TCP4 192.0.2.1 10.0.0.1 54321 1883\r\n')
  assert.equal(line('2001:db8::7', '::1'), 'PROXY TCP6 2001:db8::7 ::1 54321 1883\r\n', 'as Envoy writes them')
  assert.equal(line('192.0.2.1', '::1'), 'PROXY TCP6 ::ffff:192.0.2.1 ::1 54321 1883\r\n')
  assert.equal(line('/run/meshlet/mqtt.sock'), 'PROXY UNKNOWN\r\n')
  assert.ok(line('f'.repeat(4).concat(':ffff'.repeat(7)), 'ffff'.concat(':ffff'.repeat(7))).length <= 107, '§2.1')
})

test('version 2: bytes as the standard has them', () => {
  assert.equal(
    encodeProxyHeader(2, { source: at('192.0.2.1'), destination: to }).toString('hex'),
    '0d0a0d0a000d0a515549540a' + '2111000c' + 'c0000201' + '0a000001' + 'd431' + '075b',
  )
  assert.equal(
    encodeProxyHeader(2, { source: at(''), destination: to }).toString('hex'),
    '0d0a0d0a000d0a515549540a' + '20000000',
  )
})

for (const version of [1, 2] as const)
  test(`version ${version}: what is written is read, whatever the families`, () => {
    for (const host of ['192.0.2.1', '2001:db8::7', '::1', '127.0.0.6'])
      for (const dest of ['10.0.0.1', '2001:db8::1']) {
        const header = encodeProxyHeader(version, { source: at(host), destination: at(dest) })
        assert.deepEqual(parseProxyHeader(header), { source: at(host), destination: at(dest), bytes: header.length })
      }
  })

test('version 2 says that the client has come with TLS, and whose certificate was verified', () => {
  const tlsOf = (certificate: { commonName: string | undefined } | undefined) => {
    const tls = { version: 'TLSv1.3', serverName: 'broker.example', certificate }
    const header = encodeProxyHeader(2, { source: at('192.0.2.1'), destination: to, tls })
    assert.ok(header.includes('broker.example') && header.includes('TLSv1.3'))
    const read = parseProxyHeader(header)
    return typeof read === 'object' && 'tls' in read ? read.tls : 'none'
  }
  assert.deepEqual(tlsOf({ commonName: 'pümp-1' }), { commonName: 'pümp-1' })
  assert.deepEqual(tlsOf({ commonName: undefined }), { commonName: undefined })
  assert.deepEqual(tlsOf(undefined), { commonName: undefined })
  assert.deepEqual(tlsOf({ commonName: 'x'.repeat(256) }), { commonName: undefined }, 'too long to be anybody')
})
