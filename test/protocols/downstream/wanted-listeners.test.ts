import { test } from 'node:test'
import assert from 'node:assert/strict'
import { loadConfig } from '../../../agent/config/load.ts'
import { createListeners } from '../../../agent/config/listeners.ts'
import { systemDisk } from '../../../core/os/disk.ts'
import { ANY_CONNECTION, type Codec, type Listener } from '../../../model/listener.ts'
import { EMPTY_TABLES, type Tables } from '../../../model/tables.ts'
import { decode } from '../../../control-sync/decode/decode.ts'
import { findShadowedListeners, selectListeners } from '../../../protocols/downstream/wanted-listeners.ts'
import { golden } from '../../helpers/control-plane/resources.ts'

const own = (yaml: string): readonly Listener[] => {
  const loaded = loadConfig(`directory: /none\nlisteners: [${yaml}]\n`)
  assert.ok(loaded.ok)
  return createListeners(loaded.config, { disk: systemDisk, findPskKey: () => undefined })
}
const PUSHED = '127.0.0.1_15080'
/** What istiod sends to a node with HTTP_PROXY_PORT 15080, decoded. */
const pushed = (): Tables => ({
  ...EMPTY_TABLES,
  listeners: new Map(
    golden('istiod-mode-none')
      .filter((s) => s.kind === 'listener')
      .map(({ name, bytes }) => {
        const decoded = decode('listener', bytes)
        assert.ok(decoded.ok)
        return [name, decoded.value]
      }),
  ),
})

test('the explicit proxy of agent.yaml takes over what istiod sends for the same port: one port, with the pushed filters', () => {
  const tables = pushed()
  const wanted = selectListeners(tables, own('{name: http-proxy, kind: http_proxy, port: 15080}'))
  assert.equal(wanted.has(PUSHED), false)
  const {
    defaultFilterChain,
    filterChains: [chain],
    name,
    port,
  } = wanted.get('http-proxy')!
  assert.deepEqual([name, port, defaultFilterChain], ['http-proxy', 15_080, undefined])
  assert.ok(
    chain?.codec.kind === 'http' && chain.codec.http.filters.some((f) => f.kind === 'fault'),
    'fault injection, which agent.yaml cannot name',
  )
  assert.ok(tables.listeners.has(PUSHED), 'the tables themselves are untouched')
})
test("a pushed explicit proxy that is blocked refuses under the name of agent.yaml's, which would serve without what could not be taken", () => {
  const tables = pushed()
  const blocked: Listener = {
    ...tables.listeners.get(PUSHED)!,
    filterChains: tables.listeners
      .get(PUSHED)!
      .filterChains.map((c) => ({ ...c, codec: { kind: 'blocked', reason: 'x' } })),
  }
  const wanted = selectListeners(
    { ...tables, listeners: new Map([...tables.listeners, [PUSHED, blocked]]) },
    own('{name: http-proxy, kind: http_proxy, port: 15080}'),
  )
  assert.deepEqual(
    [wanted.has(PUSHED), wanted.get('http-proxy')?.filterChains.map((c) => c.codec.kind)],
    [false, ['blocked']],
  )
})
test('unchanged tables give the same object, so that no connection is asked anew', () => {
  const [tables, listeners] = [pushed(), own('{name: http-proxy, kind: http_proxy, port: 15080}')]
  assert.equal(
    selectListeners({ ...tables, generation: 2 }, listeners).get('http-proxy'),
    selectListeners(tables, listeners).get('http-proxy'),
  )
})
test('another port, other routes or another kind stay what agent.yaml says', () => {
  for (const yaml of [
    '{name: x, kind: http_proxy, port: 15081}',
    '{name: x, kind: http_proxy, port: 15080, routes: mine}',
    '{name: x, kind: mqtt, port: 15080}',
  ]) {
    const listeners = own(yaml)
    const wanted = selectListeners(pushed(), listeners)
    assert.equal(wanted.get('x'), listeners[0], yaml)
    assert.ok(wanted.has(PUSHED), yaml)
  }
})
test("a pushed listener of the name of agent.yaml's gives way, and is known to; one that is taken over, or has a name of its own, is not among those", () => {
  const [tables, explicit] = [pushed(), own('{name: http-proxy, kind: http_proxy, port: 15080}')]
  assert.deepEqual(findShadowedListeners(tables, explicit), [])
  assert.deepEqual(
    findShadowedListeners(
      {
        ...tables,
        listeners: new Map([
          ...tables.listeners,
          ['http-proxy', { ...tables.listeners.get(PUSHED)!, name: 'http-proxy' }],
        ]),
      },
      own('{name: other, kind: mqtt, port: 1883}'),
    ),
    [],
  )
  const pushedToo: Listener = { ...tables.listeners.get(PUSHED)!, name: 'mine', port: 9 }
  const more = { ...tables, listeners: new Map([...tables.listeners, ['mine', pushedToo]]) }
  assert.deepEqual(findShadowedListeners(more, own('{name: mine, kind: mqtt, port: 1883}')), [pushedToo])
  assert.equal(selectListeners(more, own('{name: mine, kind: mqtt, port: 1883}')).get('mine')?.port, 1883)
})
test('a listener that opens no port of its own is not wanted', () => {
  const tables = pushed()
  const listeners = new Map([...tables.listeners].map(([name, l]) => [name, { ...l, bindToPort: false }]))
  assert.deepEqual([...selectListeners({ ...tables, listeners }, []).keys()], [])
})

test("istiod's listener for tunnels takes over that of agent.yaml on the same address, blocked or not; elsewhere agent.yaml's serves", () => {
  const [mine] = own('{name: tunnels, kind: hbone}')
  assert.ok(mine)
  const pushedAs = (codec: Codec, port = 15_008): Tables => {
    const chain = { name: '', match: ANY_CONNECTION, tls: undefined, policies: [], codec }
    const one: Listener = {
      ...mine,
      name: 'connect_terminate',
      port,
      source: 'xds',
      filterChains: [chain],
      defaultFilterChain: undefined,
    }
    return { ...EMPTY_TABLES, listeners: new Map([[one.name, one]]) }
  }
  const codecOf = (tables: Tables): Codec | undefined => {
    const wanted = selectListeners(tables, [mine])
    const found = wanted.get('tunnels')
    return found?.filterChains[0]?.codec ?? found?.defaultFilterChain?.codec
  }
  const terminate: Codec = { kind: 'hbone', hbone: { cluster: 'main_internal' } }
  const blocked: Codec = { kind: 'blocked', reason: 'r' }
  assert.deepEqual(codecOf(pushedAs(terminate)), terminate)
  assert.deepEqual(codecOf(pushedAs(blocked)), blocked)
  assert.deepEqual(codecOf(pushedAs(terminate, 15_009)), { kind: 'hbone', hbone: { cluster: undefined } })
  assert.equal(selectListeners(pushedAs(terminate), [mine]).has('connect_terminate'), false)
})
