/** The matching order of config.listener.v3.FilterChainMatch, level by level. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { parseCidr } from '../../../model/ip.ts'
import { ANY_CONNECTION, type FilterChain, type FilterChainMatch } from '../../../model/listener.ts'
import { choose, collectInterest, type ChainFacts } from '../../../protocols/downstream/filter-chain.ts'
import { listener, tcpChain } from './data-path-rig.ts'

const chain = (name: string, match: Partial<FilterChainMatch> = {}, more: Partial<FilterChain> = {}): FilterChain =>
  tcpChain({ name, match: { ...ANY_CONNECTION, ...match }, ...more })
const range = (ip: string, bits: number) => parseCidr(ip, bits)!
const FACTS: ChainFacts = {
  destinationIp: '10.0.0.1',
  destinationPort: 443,
  sourceIp: '10.9.0.1',
  sourcePort: 40_000,
  transport: 'tls',
  serverName: 'a.b.example',
  alpn: ['h2', 'http/1.1'],
}

/** Each row: chains, and for some facts the name of the one that serves. */
const ROWS: Readonly<
  Record<string, { chains: FilterChain[]; serves: [facts: Partial<ChainFacts>, name: string | undefined][] }>
> = {
  'the port of the destination comes first, even where a name would say more': {
    chains: [chain('port', { destinationPort: 443 }), chain('name', { serverNames: ['a.b.example'] })],
    serves: [
      [{}, 'port'],
      [{ destinationPort: 80 }, 'name'],
      [{ destinationPort: 80, serverName: 'x' }, undefined],
    ],
  },
  'the longest prefix of the destination; what does not match behind it is not looked for in a shorter one': {
    chains: [
      chain('wide', { destinationRanges: [range('10.0.0.0', 8)] }),
      chain('narrow', { destinationRanges: [range('10.0.0.7', 24)], transportProtocol: 'tls' }),
    ],
    serves: [
      [{}, 'narrow'],
      [{ destinationIp: '10.1.0.1' }, 'wide'],
      [{ transport: 'raw_buffer' }, undefined],
    ],
  },
  'a server name: exactly, then the longest wildcard, then any; `*` is any': {
    chains: [
      chain('exact', { serverNames: ['a.b.example'] }),
      chain('long', { serverNames: ['*.b.example'] }),
      chain('short', { serverNames: ['*.example'] }),
      chain('any', { serverNames: ['*'] }),
    ],
    serves: [
      [{}, 'exact'],
      [{ serverName: 'c.b.example' }, 'long'],
      [{ serverName: 'd.c.b.example' }, 'long'],
      [{ serverName: 'b.example' }, 'short'],
      [{ serverName: 'example' }, 'any'],
      [{ serverName: '' }, 'any'],
    ],
  },
  'TLS or plain bytes': {
    chains: [chain('tls', { transportProtocol: 'tls' }), chain('plain', { transportProtocol: 'raw_buffer' })],
    serves: [
      [{}, 'tls'],
      [{ transport: 'raw_buffer' }, 'plain'],
    ],
  },
  "application protocols in the client's order": {
    chains: [
      chain('1.1', { applicationProtocols: ['http/1.1'] }),
      chain('2', { applicationProtocols: ['h2'] }),
      chain('other'),
    ],
    serves: [
      [{}, '2'],
      [{ alpn: ['http/1.1', 'h2'] }, '1.1'],
      [{ alpn: ['x'] }, 'other'],
      [{ alpn: [] }, 'other'],
    ],
  },
  'who dials directly, then from which machine': {
    chains: [
      chain('direct', { directSourceRanges: [range('10.9.0.0', 16)] }),
      chain('local', { sourceType: 'local' }),
      chain('external', { sourceType: 'external' }),
    ],
    serves: [
      [{}, 'direct'],
      [{ sourceIp: '127.0.0.1' }, 'local'],
      [{ sourceIp: '::ffff:127.0.0.1' }, 'local'],
      [{ sourceIp: '10.0.0.1' }, 'local'],
      [{ sourceIp: '10.8.0.1' }, 'external'],
    ],
  },
  'the longest prefix of the source, then its port': {
    chains: [
      chain('wide', { sourceRanges: [range('10.0.0.0', 8)] }),
      chain('narrow', { sourceRanges: [range('10.9.0.0', 16)], sourcePorts: [40_000] }),
      chain('other port', { sourceRanges: [range('10.9.0.0', 16)], sourcePorts: [40_001, 40_002] }),
    ],
    serves: [
      [{}, 'narrow'],
      [{ sourcePort: 40_002 }, 'other port'],
      [{ sourcePort: 1 }, undefined],
      [{ sourceIp: '10.8.0.1', sourcePort: 1 }, 'wide'],
      [{ sourceIp: '11.0.0.1' }, undefined],
    ],
  },
  'of two that are equal the first serves': { chains: [chain('first'), chain('second')], serves: [[{}, 'first']] },
  'of two that are equal a blocked one serves, which refuses': {
    chains: [chain('first'), chain('blocked', {}, { codec: { kind: 'blocked', reason: 'not understood' } })],
    serves: [[{}, 'blocked']],
  },
}

for (const [what, { chains, serves }] of Object.entries(ROWS)) {
  test(what, () => {
    for (const [facts, name] of serves) {
      assert.equal(choose(listener(chains), { ...FACTS, ...facts })?.name, name, JSON.stringify(facts))
      const withDefault = listener(chains, { defaultFilterChain: chain('default') })
      assert.equal(choose(withDefault, { ...FACTS, ...facts })?.name, name ?? 'default', JSON.stringify(facts))
    }
  })
}

test('what a listener must look for in the first bytes follows from its chains, and inspectors can be off for a port', () => {
  const named = listener([chain('c', { serverNames: ['a'] })])
  assert.deepEqual(collectInterest(named, 443), { tls: true, http: false, mqtt: false })
  const plain = listener([chain('c', { applicationProtocols: ['mqtt', 'http/1.1'] })])
  assert.deepEqual(collectInterest(plain, 443), { tls: false, http: false, mqtt: true })
  const only80 = { kind: 'destination-port', from: 80, to: 81 } as const
  const sniff = { tls: true, http: true, tlsOff: only80, httpOff: only80, timeoutMs: 0, onTimeout: 'close' } as const
  const inspected = listener([chain('c', { applicationProtocols: ['http/1.1'] })], { sniff })
  assert.deepEqual(collectInterest(inspected, 443), { tls: true, http: true, mqtt: false })
  assert.deepEqual(collectInterest(inspected, 80), { tls: false, http: false, mqtt: false })
})
