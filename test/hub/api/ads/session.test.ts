import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { MeshError } from '../../../../core/errors.ts'
import { DeltaSession, type DeltaRequest, type DeltaResponse } from '../../../../hub/api/ads/session.ts'
import { SotwSession } from '../../../../hub/api/ads/sotw.ts'
import { hashContent, ENDPOINT, makeResourceSet, type ResourceSet } from '../../../../hub/source/resources.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { set, SHORT, shown, version } from '../sets.ts'

type Kind = keyof typeof SHORT
const request = (kind: Kind, more: Partial<DeltaRequest> = {}): DeltaRequest => ({
  typeUrl: SHORT[kind],
  subscribe: [],
  unsubscribe: [],
  known: {},
  nonce: '',
  error: undefined,
  ...more,
})
const all = (responses: readonly DeltaResponse[]): string[] => responses.map(shown)
function started(resources: ResourceSet, ...requests: DeltaRequest[]): DeltaSession {
  const session = new DeltaSession()
  for (const r of requests) session.request(r, resources)
  return session
}

test('a first request without names is a wildcard and gets everything of its type', () => {
  const session = new DeltaSession()
  assert.deepEqual(all(session.request(request('c'), set('c:a=1 c:b=1 l:in=1')).responses), ['c +a,b'])
  assert.deepEqual(
    all(session.request(request('x'), set('x:a=1')).responses),
    ['x +a'],
    'types that the hub does not know pass through',
  )
})
test('types that are asked for by name give nothing without names (istio IsWildcardTypeURL), but the first request is answered', () => {
  assert.deepEqual(all(new DeltaSession().request(request('e'), set('e:a=1')).responses), ['e'])
})
test('names: what exists is sent, what does not is named as removed, so that the client need not wait', () => {
  assert.deepEqual(
    all(new DeltaSession().request(request('r', { subscribe: ['a', 'missing'] }), set('r:a=1 r:b=1')).responses),
    ['r +a -missing'],
  )
})
test('what is named as missing is not named again, and is sent when it appears', () => {
  const session = started(set(''), request('e', { subscribe: ['a'] }))
  assert.deepEqual(all(session.push(set(''))), [])
  assert.deepEqual(all(session.push(set('e:a=1'))), ['e +a'])
  assert.deepEqual(all(session.push(set(''))), ['e -a'])
  assert.deepEqual(all(session.push(set(''))), [])
})

test('a reconnect with initial_resource_versions moves only what changed, and lists what is gone', () => {
  const now = set('c:same=1 c:new=1 c:changed=2')
  const known = { same: version('1'), changed: version('1'), gone: version('1') }
  assert.deepEqual(all(new DeltaSession().request(request('c', { known }), now).responses), ['c +new,changed -gone'])
  assert.deepEqual(
    all(
      new DeltaSession().request(
        request('e', { known: { a: version('1'), z: version('1') }, subscribe: ['a'] }),
        set('e:a=1'),
      ).responses,
    ),
    ['e -z'],
  )
})
test('an unchanged reconnect is answered with an empty response, not with silence', () => {
  const { responses } = new DeltaSession().request(request('c', { known: { a: version('1') } }), set('c:a=1'))
  assert.deepEqual(all(responses), ['c'])
  assert.equal(responses[0]!.systemVersion, set('c:a=1').version)
})
test('names that the client has are watched although it does not subscribe to them again (as istiod)', () => {
  const session = started(set('e:a=1'), request('e', { known: { a: version('1') } }))
  assert.deepEqual(all(session.push(set('e:a=2'))), ['e +a'])
})

test('an ACK is silent; a NACK is told and repeats nothing until the resource changes', () => {
  const session = new DeltaSession()
  const [first] = session.request(request('l'), set('l:in=1')).responses
  assert.deepEqual(session.request(request('l', { nonce: first!.nonce }), set('l:in=1')), {
    outcome: 'ack',
    responses: [],
  })
  const [second] = session.push(set('l:in=2'))
  assert.deepEqual(session.request(request('l', { nonce: second!.nonce, error: 'bad' }), set('l:in=2')), {
    outcome: 'nack',
    responses: [],
  })
  assert.deepEqual(all(session.push(set('l:in=2'))), [])
  assert.deepEqual(all(session.push(set('l:in=3'))), ['l +in'])
})
test('two responses on their way are acknowledged each; a nonce that was never sent or of another type is stale', () => {
  const session = started(set('l:in=1'), request('l'))
  const [a] = session.push(set('l:in=2'))
  const [b] = session.push(set('l:in=3'))
  const say = (nonce: string, kind: Kind = 'l'): string =>
    session.request(request(kind, { nonce }), set('l:in=3')).outcome
  assert.deepEqual(
    [say(a!.nonce), say(b!.nonce), say(b!.nonce), say('77'), say(a!.nonce, 'c')],
    ['ack', 'ack', 'stale', 'stale', 'stale'],
  )
})
test('a change of subscription counts also with an old nonce (xDS protocol: it is not tied to a response)', () => {
  const session = started(set('e:a=1 e:b=1'), request('e', { subscribe: ['a'] }))
  assert.deepEqual(
    all(session.request(request('e', { subscribe: ['b'], nonce: 'old' }), set('e:a=1 e:b=1')).responses),
    ['e +b'],
  )
})

test('asking again for a name sends it again: the client has dropped it', () => {
  const session = started(set('e:a=1'), request('e', { subscribe: ['a'] }))
  assert.deepEqual(all(session.request(request('e', { subscribe: ['a'] }), set('e:a=1')).responses), ['e +a'])
  assert.deepEqual(all(session.request(request('e', { subscribe: ['z'] }), set('e:a=1')).responses), ['e -z'])
  assert.deepEqual(all(session.request(request('e', { subscribe: ['z'] }), set('e:a=1')).responses), ['e -z'])
})
test('after unsubscribing, changes and removals of the name are silence', () => {
  const session = started(set('e:a=1 e:b=1'), request('e', { subscribe: ['a', 'b'] }))
  assert.deepEqual(session.request(request('e', { unsubscribe: ['a'] }), set('e:a=1 e:b=1')).responses, [])
  assert.deepEqual(all(session.push(set('e:a=2 e:b=1'))), [])
  assert.deepEqual(all(session.push(set('e:b=1'))), [])
})
test('a name that is unsubscribed but covered by the wildcard is sent as it is now', () => {
  const session = started(set('c:a=1'), request('c', { subscribe: ['*', 'a'] }))
  assert.deepEqual(all(session.request(request('c', { unsubscribe: ['a'] }), set('c:a=1')).responses), ['c +a'])
})
test("unsubscribing from * leaves the names; * with un-* starts with nothing (Istio's on-demand start)", () => {
  const session = started(set('c:a=1 c:b=1'), request('c', { subscribe: ['*', 'a'] }))
  session.request(request('c', { unsubscribe: ['*'] }), set('c:a=1 c:b=1'))
  assert.deepEqual(all(session.push(set('c:a=2 c:b=2'))), ['c +a'])
  assert.deepEqual(
    all(new DeltaSession().request(request('c', { subscribe: ['*'], unsubscribe: ['*'] }), set('c:a=1')).responses),
    ['c'],
  )
})

test('a push is in the order that breaks nothing: CDS, EDS, LDS, RDS and the rest, then removals backwards', () => {
  const session = started(
    set('c:a=1 e:a=1 l:a=1 r:a=1 x:a=1'),
    request('x'),
    request('r', { subscribe: ['a', 'b'] }),
    request('l'),
    request('c'),
    request('e', { subscribe: ['a', 'b'] }),
  )
  assert.deepEqual(all(session.push(set('c:b=1 e:b=1 l:b=1 r:b=1 x:b=1'))), [
    'c +b',
    'e +b',
    'l +b',
    'r +b',
    'x +b',
    'x -a',
    'r -a',
    'l -a',
    'e -a',
    'c -a',
  ])
})
test('a changed cluster brings its unchanged endpoints again: Envoy warms it until they come', () => {
  const session = started(set('c:a=1 c:b=1 e:a=1 e:b=1'), request('c'), request('e', { subscribe: ['a', 'b'] }))
  assert.deepEqual(all(session.push(set('c:a=2 c:b=1 e:a=1 e:b=1'))), ['c +a', 'e +a'])
})
test('what did not change is not pushed', () => {
  const session = started(set('c:a=1 l:in=1'), request('c'), request('l'))
  assert.deepEqual(all(session.push(set('c:a=1 l:in=1'))), [])
})

test('while a resource may be missing by mistake nothing is removed; afterwards what is gone is told', () => {
  const uncertain = (text: string): ResourceSet => ({ ...set(text), removals: 'later' })
  const session = started(set('l:in=1 l:out=1'), request('l'))
  assert.deepEqual(all(session.push(uncertain('l:out=2'))), ['l +out'])
  assert.deepEqual(
    all(new DeltaSession().request(request('l', { known: { in: version('1') } }), uncertain('l:out=2')).responses),
    ['l +out'],
  )
  assert.deepEqual(all(session.push(set('l:out=2'))), ['l -in'])
})

test('large answers go out in several responses, all of them complete', () => {
  const big = makeResourceSet(
    Array.from({ length: 50 }, (_, i) => ({
      name: `n${i}`,
      typeUrl: SHORT.c,
      version: hashContent(String(i)),
      value: Buffer.alloc(100_000),
    })),
  )
  const { responses } = new DeltaSession().request(request('c'), big)
  assert.ok(responses.length >= 3)
  assert.ok(responses.every((r) => r.resources.reduce((bytes, one) => bytes + one.value.length, 0) <= 2 * 1024 * 1024))
  assert.equal(new Set(responses.flatMap((r) => r.resources.map((one) => one.name))).size, 50)
  assert.equal(new Set(responses.map((r) => r.nonce)).size, responses.length)
})

test('a stream may not ask without end', () => {
  const refused = (work: () => unknown): void =>
    assert.throws(work, (err) => (err as MeshError).code === 'MESH_CONTROL_PROTOCOL')
  const session = new DeltaSession()
  refused(() =>
    session.request(request('e', { subscribe: Array.from({ length: 100_001 }, (_, i) => `n${i}`) }), set('')),
  )
  refused(() => session.request(request('e', { subscribe: ['x'.repeat(3_000)] }), set('')))
  refused(() => {
    for (let i = 0; i < 70; i++) session.request({ ...request('c'), typeUrl: `t${i}` }, set(''))
  })
  refused(() => session.request({ ...request('c'), typeUrl: '' }, set('')))
})

test('what names take is counted: short ones have a cost of their own, and what is given up gives back', () => {
  const session = new DeltaSession()
  const ask = (subscribe: string[], unsubscribe: string[] = [], known: Record<string, string> = {}): number => {
    session.request(
      { typeUrl: ENDPOINT, subscribe, unsubscribe, known, nonce: '', error: undefined },
      makeResourceSet([]),
    )
    return session.subscribedBytes
  }
  assert.equal(ask(['a', 'bc']), 2 * 128 + 3)
  assert.equal(ask(['a', 'd']), 3 * 128 + 4)
  assert.equal(ask([], ['a', 'nothing']), 2 * 128 + 3)
  const sotw = new SotwSession()
  sotw.request({ typeUrl: ENDPOINT, names: ['a', 'bc'], nonce: '', error: undefined }, makeResourceSet([]))
  assert.equal(sotw.subscribedBytes, 2 * 128 + 3)
})

test('whatever a client asks, in the end it has exactly what it watches (random requests and changes)', () => {
  const random = seededRandom(11)
  const some = (): string[] => ['a', 'b', 'c', 'd'].filter(() => random.float() < 0.4)
  const randomSet = (): ResourceSet =>
    set(
      ['c', 'e'].flatMap((kind) => some().map((name) => `${kind}:${name}=${Math.floor(random.float() * 3)}`)).join(' '),
    )
  for (let run = 0; run < 300; run++) {
    let now = randomSet()
    const session = new DeltaSession()
    const has = new Map<string, string>()
    const watched = new Set<string>()
    const take = (responses: readonly DeltaResponse[]): void => {
      for (const r of responses) {
        for (const one of r.resources) has.set(one.name, one.version)
        for (const name of r.removed) has.delete(name)
      }
    }
    const known = Object.fromEntries(some().map((name) => [name, version(String(Math.floor(random.float() * 3)))]))
    for (const [name, v] of Object.entries(known)) {
      has.set(name, v)
      watched.add(name)
    }
    let first: Partial<DeltaRequest> = { known }
    for (let step = 0; step < 12; step++) {
      if (step > 0 && random.float() < 0.5) {
        now = randomSet()
        take(session.push(now))
        continue
      }
      const [subscribe, unsubscribe] = [some(), step ? some() : []]
      for (const name of subscribe) watched.add(name)
      for (const name of unsubscribe) {
        watched.delete(name)
        has.delete(name)
      }
      take(session.request(request('e', { subscribe, unsubscribe, ...first }), now).responses)
      first = {}
    }
    take(session.push(now))
    const want = [...(now.types.get(SHORT.e) ?? new Map<string, { name: string; version: string }>()).values()]
      .filter((r) => watched.has(r.name))
      .map((r) => `${r.name}=${r.version}`)
    assert.deepEqual([...has].map(([name, v]) => `${name}=${v}`).sort(), want.sort(), `run ${run}`)
  }
})
